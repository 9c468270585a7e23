"""Reading labelled items as a `Bridle` takes them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.data import Images
from vqkit.data.audio.file import read_clip
from vqkit.data.video import middle_clip
from vqkit.models.bridle import Bridle
from vqkit.models.bridle.front import AudioFront

__all__ = ["ItemReader", "padded"]

_SILENT = 1e-6  # amplitude below which a clip is silent


class ItemReader:
    """Reads an item as a tensor: mono sound (1, samples), an image or a video at the model's size.

    Args:
        bridle: the model that the items are for.
        items: all that will be asked for.
        max_seconds: longest duration of sound; longer clips are cut at their end.
        stride: stride of the frames of video.
    """

    def __init__(self, bridle: Bridle, items: Sequence[Any], max_seconds: float = 30.0, stride: int = 4) -> None:
        self.bridle, self.max_seconds, self.stride = bridle, max_seconds, stride
        if bridle.modality == "image":
            height, width = bridle.size
            self._images = Images(items, (height, width), bridle.channels, unreadable="raise")
            self._places = {item: place for place, item in enumerate(items)}

    def __call__(self, item: Any) -> Tensor:
        """The item.

        Raises:
            FileNotFoundError, ValueError: it cannot be read, or is sound that is silent, shorter than a patch or far outside ±1.
        """
        bridle = self.bridle
        if bridle.modality == "video":
            frames, height, width = bridle.size
            clip = middle_clip(item.path, frames, self.stride, (height, width))
            return clip if bridle.channels == 3 else clip.mean(0, keepdim=True)
        if bridle.modality == "image":
            return self._images[self._places[item]].image
        wave = read_clip(item.path, bridle.sample_rate, 1, seconds=self.max_seconds)
        assert isinstance(bridle.front, AudioFront)
        shortest, rate = bridle.front.shortest_samples, bridle.sample_rate
        if wave.shape[-1] < shortest:
            raise ValueError(f"{wave.shape[-1] / rate:.3f} s is shorter than a patch, {shortest / rate:.3f} s")
        if float(wave.abs().max()) < _SILENT:
            raise ValueError("it is silent")
        return wave


def padded(items: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Items as a batch; sound of different lengths is padded with zeros, and comes with its lengths."""
    if items[0].ndim > 2:
        return torch.stack(items), None
    lengths = torch.tensor([item.shape[-1] for item in items])
    longest = int(lengths.max())
    return torch.stack([F.pad(item, (0, longest - item.shape[-1])) for item in items]), lengths
