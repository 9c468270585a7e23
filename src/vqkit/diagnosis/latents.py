"""The latents of a saved model on a folder of sound, images or video, one item at a time."""

import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.data.unreadable import readable
from vqkit.modality import IMAGE, VIDEO
from vqkit.models.input_checks import home
from vqkit.models.loading import load_tokenizer
from vqkit.types import need

__all__ = ["item_latents", "open_model"]

_SECONDS = 10.0  # of each clip
_PIXELS = 512  # of each side of an image
_FRAMES = 16  # of each video


def open_model(name: str) -> Any:
    """The codec or tokenizer in a folder of ``save_pretrained``, or a codec that ships, by its name.

    Raises:
        ValueError: It is no such model.
    """
    return load_tokenizer(name)


def item_latents(model: Any, source: Path, seed: int = 0) -> Iterator[Tensor]:
    """Latents (1, *spatial, dim) of items in a random order; what cannot be read is left out with a warning.

    Args:
        model: Model of `open_model`.
        source: Folder, file or manifest.
        seed: Seed of the order.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: It holds nothing that the model takes.
    """
    place = home(model)
    readers = {IMAGE: _images, VIDEO: _videos}
    items, read = readers.get(model.modality, _sounds)(model, source)
    items = random.Random(seed).sample(items, len(items))
    with torch.no_grad():
        for _, signal in readable(items, lambda item: item.path, read):
            yield model.analyze(signal[None].to(place)).float()


def _sounds(model: Any, source: Path) -> tuple[list[Any], Any]:
    data = import_module("vqkit.data")

    def read(clip: Any) -> Tensor:
        wave: Tensor = data.AudioClips([clip], model.sample_rate, model.channels, _SECONDS)[0]
        return wave

    return data.list_clips(source), read


def _videos(model: Any, source: Path) -> tuple[list[Any], Any]:
    need("av", "audio")
    data = import_module("vqkit.data.video")

    def read(item: Any) -> Tensor:
        clip: Tensor = data.middle_frames(item.path, _FRAMES, model.channels)
        return clip

    return data.list_videos(source), read


def _images(model: Any, source: Path) -> tuple[list[Any], Any]:
    need("PIL", "image")
    data = import_module("vqkit.data")
    pixels = import_module("vqkit.data.image.sets.packed").collection_pixels
    size = model.backbone.image_size

    def read(item: Any) -> Tensor:
        image: Tensor
        if size is not None:
            image = data.Images([item], size, model.channels, unreadable="raise")[0].image
            return image
        if item.index is not None:
            image = pixels(item.path).image(item.index, model.channels)
            return image
        image = data.read_image(item.path, model.channels)
        top, left = (max(0, side - _PIXELS) // 2 for side in image.shape[-2:])
        return image[:, top : top + _PIXELS, left : left + _PIXELS]

    return data.list_images(source), read
