"""Files → tensors: formats, units and shapes are dealt with here, once."""

from vqkit.data.audio.augment import AudioAugmentation
from vqkit.data.audio.blocks import AudioBlocks
from vqkit.data.audio.clips import Clip, list_clips, sample_folder
from vqkit.data.audio.crops import AudioCrops
from vqkit.data.audio.file import AudioInfo, Waveform, audio_info, read_audio
from vqkit.data.audio.wav_stream import WavStream
from vqkit.data.audio.whole_clips import AudioBatch, AudioClips, collate_clips
from vqkit.data.audio.writer import WRITTEN_SUFFIXES, AudioWriter, write_audio
from vqkit.data.content import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vqkit.data.fingerprint import fingerprint
from vqkit.data.image.dataset import Images, LabelledImage
from vqkit.data.image.file import (
    MAX_MEGAPIXELS,
    ReadImage,
    decode_image,
    read_image,
    read_image_with_notes,
)
from vqkit.data.image.items import ImageItem, list_images
from vqkit.data.image.shuffled import ShuffledImages
from vqkit.data.image.writer import WRITTEN_IMAGE_SUFFIXES, write_image
from vqkit.data.items import Item, SplitError, hashed_splits
from vqkit.data.listing import list_items
from vqkit.moved import keep_old_names

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

_AUDIO = "clips crops fbank wav_stream whole_clips batch_augment containers"
_READERS = {
    "sound_reader": "sound",
    "link_reader": "link",
    "av_reader": "av",
    "pcm_reader": "pcm",
    "soundfile_reader": "libsndfile",
}
_FORMATS = "png tiff tiff_samples tiff_tags netpbm boxes modes stored colour"
keep_old_names(
    __name__,
    {
        **{name: f"vqkit.data.audio.{name}" for name in _AUDIO.split()},
        **{f"audio_{name}": f"vqkit.data.audio.{name}" for name in ["augment", "blocks", "cache", "file", "writer"]},
        **{name: f"vqkit.data.audio.readers.{new}" for name, new in _READERS.items()},
        **{name: f"vqkit.data.audio.readers.{name}" for name in ["pieces", "findings", "sample_check"]},
        "sample_limit": "vqkit.data.audio.readers.sample_check",
        **{f"image_{name}": f"vqkit.data.image.{name}" for name in ["file", "pixels", "writer", "items"]},
        **{f"image_{name}": f"vqkit.data.image.formats.{name}" for name in _FORMATS.split()},
        **{f"image_{name}": f"vqkit.data.image.sets.{name}" for name in ["arrow", "cifar", "idx", "npz"]},
        "images": "vqkit.data.image.dataset",
        "image_formats": "vqkit.data.image.sets.packed",
        "shuffled_images": "vqkit.data.image.shuffled",
    },
)
