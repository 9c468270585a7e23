"""Files → tensors: formats, units and shapes are dealt with here, once."""

from vqkit.data.audio_blocks import AudioBlocks
from vqkit.data.audio_file import AudioInfo, Waveform, audio_info, read_audio
from vqkit.data.audio_writer import WRITTEN_SUFFIXES, AudioWriter, write_audio
from vqkit.data.clips import AUDIO_SUFFIXES, Clip, list_clips, sample_folder
from vqkit.data.crops import AudioCrops
from vqkit.data.fingerprint import fingerprint
from vqkit.data.wav_stream import WavStream
from vqkit.data.whole_clips import AudioBatch, AudioClips, collate_clips

__all__ = [
    "AUDIO_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "AudioBatch",
    "AudioBlocks",
    "AudioClips",
    "AudioCrops",
    "AudioInfo",
    "AudioWriter",
    "Clip",
    "WavStream",
    "Waveform",
    "audio_info",
    "collate_clips",
    "fingerprint",
    "list_clips",
    "read_audio",
    "sample_folder",
    "write_audio",
]
