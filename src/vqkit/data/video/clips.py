"""Clips of videos at one size, for training and evaluation."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from vqkit.data.unreadable import READ_ERRORS, named
from vqkit.data.video.items import VideoItem
from vqkit.data.video.reader import read_frames
from vqkit.types import Float

__all__ = ["VideoClips", "middle_clip", "middle_frames"]

_SCALES = (1.0, 0.875, 0.75, 0.66)  # heights and widths of a crop, as shares of the smaller side
_MOST_DISTORTION = 1  # height and width of a crop are at most so many scales apart


class VideoClips(Dataset[Tensor]):
    """A map-style data set of clips; item ``index`` depends on the videos, the seed and ``index`` only.

    Every video is equally likely. Videos that cannot be read are named in a warning, counted in `skipped`, and replaced by others.

    Args:
        items: items from `list_videos`.
        frames: number of frames of a clip.
        stride: frames of the file from one to the next.
        size: height and width of a clip.
        length: number of items; None takes every video once, in order.
        crop: ``"multi-scale"`` cuts a box of random size at a random place and mirrors half of the clips, ``"center"`` takes the middle.
        seed: seed, at least 0.

    Raises:
        ValueError: no videos, or an argument out of range.

    References:
        Wang et al., "Temporal segment networks" (2016), arXiv:1608.00859, section 3.3 (multi-scale crops); Tong et al., "VideoMAE" (2022),
        arXiv:2203.12602.
    """

    def __init__(
        self,
        items: Sequence[VideoItem],
        *,
        frames: int,
        stride: int,
        size: tuple[int, int],
        length: int | None = None,
        crop: Literal["multi-scale", "center"] = "center",
        seed: int = 0,
    ) -> None:
        if not items:
            raise ValueError("items is empty, at least one is needed")
        if crop not in ("multi-scale", "center"):
            raise ValueError(f"crop is {crop!r}, allowed are 'multi-scale' and 'center'")
        if min(frames, stride, *size) < 1 or seed < 0 or (length is not None and length < 1):
            raise ValueError(
                f"frames, stride, size and length must be positive and seed at least 0, got {frames}, {stride}, {size}, {length}, {seed}"
            )
        self.items, self.frames, self.stride, self.size = list(items), frames, stride, size
        self.length, self.crop, self.seed = length, crop, seed
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.items) if self.length is None else self.length

    def __getitem__(self, index: int) -> Float[Tensor, "3 frames height width"]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        random = np.random.default_rng((self.seed, index))
        order = [index, *random.permutation(len(self.items)).tolist()]
        if self.length is not None:
            order = order[1:]
        position = random.random() if self.crop == "multi-scale" else 0.5
        for place in order:
            clip = self._attempt(place, position)
            if clip is not None:
                return self._cut(clip, random)
        raise ValueError(f"no video can be used, skipped {named(self.skipped, len(self.items))}")

    def _attempt(self, place: int, position: float) -> Tensor | None:
        path = self.items[place].path
        if str(path) in self.skipped:
            return None
        try:
            # a margin, so that small boxes are not enlarged
            side = round(max(self.size) * (1 / _SCALES[-1] if self.crop == "multi-scale" else 1))
            return read_frames(path, self.frames, self.stride, position=position, short_side=side)
        except READ_ERRORS as error:
            self.skipped[str(path)] = str(error)
            warnings.warn(f"skipped {path}: {str(error).removeprefix(f'{path} ')}", stacklevel=3)
            return None

    def _cut(self, clip: Tensor, random: np.random.Generator) -> Tensor:
        top, left, rows, columns = _middle(clip, self.size)
        if self.crop == "center":
            return _resized(clip[..., top : top + rows, left : left + columns], self.size)
        tall = int(random.integers(len(_SCALES)))
        wide = int(np.clip(tall + random.integers(-_MOST_DISTORTION, _MOST_DISTORTION + 1), 0, len(_SCALES) - 1))
        rows, columns = max(1, round(rows * _SCALES[tall])), max(1, round(columns * _SCALES[wide]))
        top = int(random.integers(clip.shape[-2] - rows + 1))
        left = int(random.integers(clip.shape[-1] - columns + 1))
        box = _resized(clip[..., top : top + rows, left : left + columns], self.size)
        return box.flip(-1) if random.random() < 0.5 else box


def middle_clip(
    path: str | Path, frames: int, stride: int, size: tuple[int, int]
) -> Float[Tensor, "3 frames height width"]:
    """The middle of a video, in time and space; arguments and errors as in `read_frames`."""
    clip = read_frames(path, frames, stride, short_side=max(size))
    top, left, rows, columns = _middle(clip, size)
    return _resized(clip[..., top : top + rows, left : left + columns], size)


def middle_frames(
    path: str | Path, frames: int, channels: int = 3, largest: int = 256
) -> Float[Tensor, "channels frames height width"]:
    """Neighbouring frames from the middle of a video, at the file's size; of larger ones the middle.

    Args:
        path: a video file.
        frames: number of frames; where the video is shorter, its last frame is repeated.
        channels: 3, or 1 for the mean of the colours.
        largest: most pixels of height and width.

    Raises:
        FileNotFoundError, ValueError: as in `read_frames`.
    """
    clip = read_frames(path, frames)
    top, left = (max(0, side - largest) // 2 for side in clip.shape[-2:])
    clip = clip[..., top : top + largest, left : left + largest]
    return clip if channels == 3 else clip.mean(0, keepdim=True)


def _middle(clip: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest box of a size's proportions."""
    height, width = clip.shape[-2:]
    scale = min(height / size[0], width / size[1])
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _resized(clip: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(clip.shape[-2:]) == tuple(size):
        return clip.clone()
    frames = F.interpolate(clip.transpose(0, 1), size, mode="bilinear", antialias=True)
    return frames.clamp_(0, 1).transpose(0, 1).contiguous()
