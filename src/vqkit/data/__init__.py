"""Files → tensors: formats, units and shapes are dealt with here, once."""

from vqkit.data.audio_file import AudioInfo, Waveform, audio_info, read_audio
from vqkit.data.audio_writer import write_audio
from vqkit.data.clips import AUDIO_SUFFIXES, Clip, list_clips, sample_folder
from vqkit.data.crops import AudioCrops
from vqkit.data.fingerprint import fingerprint
from vqkit.data.whole_clips import AudioBatch, AudioClips, collate_clips

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioBatch",
    "AudioClips",
    "AudioCrops",
    "AudioInfo",
    "Clip",
    "Waveform",
    "audio_info",
    "collate_clips",
    "fingerprint",
    "list_clips",
    "read_audio",
    "sample_folder",
    "write_audio",
]
