"""Files → tensors: formats, units and shapes are dealt with here, once."""

from vqkit.data.audio_augment import AudioAugmentation
from vqkit.data.audio_blocks import AudioBlocks
from vqkit.data.audio_file import AudioInfo, Waveform, audio_info, read_audio
from vqkit.data.audio_writer import WRITTEN_SUFFIXES, AudioWriter, write_audio
from vqkit.data.clips import Clip, list_clips, sample_folder
from vqkit.data.content import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vqkit.data.crops import AudioCrops
from vqkit.data.fingerprint import fingerprint
from vqkit.data.image_file import (
    MAX_MEGAPIXELS,
    ReadImage,
    decode_image,
    read_image,
    read_image_with_notes,
)
from vqkit.data.image_items import ImageItem, list_images
from vqkit.data.image_writer import WRITTEN_IMAGE_SUFFIXES, write_image
from vqkit.data.images import Images, LabelledImage
from vqkit.data.items import Item, SplitError, hashed_splits
from vqkit.data.listing import list_items
from vqkit.data.shuffled_images import ShuffledImages
from vqkit.data.wav_stream import WavStream
from vqkit.data.whole_clips import AudioBatch, AudioClips, collate_clips

__all__ = [
    "AUDIO_SUFFIXES",
    "IMAGE_SUFFIXES",
    "MAX_MEGAPIXELS",
    "VIDEO_SUFFIXES",
    "WRITTEN_IMAGE_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "AudioAugmentation",
    "AudioBatch",
    "AudioBlocks",
    "AudioClips",
    "AudioCrops",
    "AudioInfo",
    "AudioWriter",
    "Clip",
    "ImageItem",
    "Images",
    "Item",
    "LabelledImage",
    "ReadImage",
    "ShuffledImages",
    "SplitError",
    "WavStream",
    "Waveform",
    "audio_info",
    "collate_clips",
    "decode_image",
    "fingerprint",
    "hashed_splits",
    "list_clips",
    "list_images",
    "list_items",
    "read_audio",
    "read_image",
    "read_image_with_notes",
    "sample_folder",
    "write_audio",
    "write_image",
]
