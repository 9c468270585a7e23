"""Signals of a data set to fit a prior to, in a fixed random order and up to a limit: minutes of sound or video, megapixels of images."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from vqkit.data import MAX_MEGAPIXELS, AudioClips, Clip, ImageItem, Images, read_image
from vqkit.data.image.sets.packed import collection_pixels
from vqkit.data.unreadable import readable
from vqkit.data.video import VideoItem, middle_frames

__all__ = ["image_signals", "sound_signals", "video_signals"]

_CLIP_SECONDS = 60.0
_FRAMES = 32  # of each video
_SIDE_PIXELS = 1024  # of a photograph its middle is taken, at most so large: many images say more than few


def sound_signals(codec: Any, clips: Sequence[Clip], minutes: float) -> Iterator[Tensor]:
    """Yield ``minutes`` minutes of sound, at most one minute of each clip; a clip that cannot be read is left out with a warning.

    Args:
        codec: a codec; it says which rate and channels the clips get.
        clips: clips to choose from.
        minutes: total duration.
    """
    left = minutes * 60

    def read(clip: Clip) -> Tensor:
        return AudioClips([clip], codec.sample_rate, codec.channels, min(_CLIP_SECONDS, left))[0]

    for _, wav in readable(random.Random(0).sample(clips, len(clips)), lambda clip: clip.path, read):
        yield wav
        left -= wav.shape[-1] / codec.sample_rate
        if left <= 0:
            return


def image_signals(
    tokenizer: Any, items: Sequence[ImageItem], megapixels: float, largest: float = MAX_MEGAPIXELS
) -> Iterator[Tensor]:
    """Yield ``megapixels`` megapixels of images; a large image is cropped to its middle.

    Args:
        tokenizer: an image tokenizer; it says which channels and which size the images get.
        items: images to choose from.
        megapixels: total size, in 10^6 pixels.
        largest: refuse an image whose header says more, in 10^6 pixels.

    Raises:
        ValueError: an image cannot be read.
    """
    left = megapixels * 1e6
    for item in random.Random(0).sample(items, len(items)):
        if left <= 0:
            return
        image = _image(tokenizer, item, largest)
        left -= image[0].numel()
        yield image


def video_signals(tokenizer: Any, items: Sequence[VideoItem], minutes: float) -> Iterator[Tensor]:
    """Yield ``minutes`` minutes of video at the tokenizer's frame rate, some frames of each; an unreadable one is left out with a warning.

    Args:
        tokenizer: a tokenizer of video; it says which channels the clips get, and its frame rate.
        items: videos to choose from.
        minutes: total duration.
    """
    left = minutes * 60 * tokenizer.frame_rate

    def read(item: VideoItem) -> Tensor:
        return middle_frames(item.path, _FRAMES, tokenizer.channels)

    for _, clip in readable(random.Random(0).sample(items, len(items)), lambda item: item.path, read):
        yield clip
        left -= clip.shape[1]
        if left <= 0:
            return


def _image(tokenizer: Any, item: ImageItem, largest: float) -> Tensor:
    if tokenizer.backbone.image_size is not None:
        size = tokenizer.backbone.image_size
        return Images([item], size, tokenizer.channels, unreadable="raise", max_megapixels=largest)[0].image
    if item.index is not None:
        return collection_pixels(item.path, largest).image(item.index, tokenizer.channels)
    image = read_image(item.path, tokenizer.channels, largest)
    top, left = (max(0, side - _SIDE_PIXELS) // 2 for side in image.shape[-2:])
    return image[:, top : top + _SIDE_PIXELS, left : left + _SIDE_PIXELS]
