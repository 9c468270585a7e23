"""A whole video: all of its frames, at the constant rate that its header states."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vqkit.data.video.container import frames_due, open_video, seconds_shown, upright
from vqkit.types import Float

__all__ = ["FALLBACK_RATE", "MAX_VIDEO_MEGAPIXELS", "WholeVideo", "read_video"]

FALLBACK_RATE = 25.0
"""Frame rate in Hz that is assumed for a file that states none."""

MAX_VIDEO_MEGAPIXELS = 64.0
"""Pixels of all frames that are read by default, in 10^6: 0.8 GB as float32 in three channels."""


@dataclass(frozen=True)
class WholeVideo:
    """Result of `read_video`.

    Attributes:
        frames: the frames.
        rate: frame rate in Hz, to a thousandth.
        notes: notes on what of the file was left out or changed.
    """

    frames: Float[Tensor, "3 frames height width"]
    rate: float
    notes: tuple[str, ...]


def read_video(path: str | Path, *, max_megapixels: float = MAX_VIDEO_MEGAPIXELS) -> WholeVideo:
    """Read all frames of a video, upright and in RGB, at its average rate: of a variable rate frames are repeated or left out.

    Args:
        path: a video file.
        max_megapixels: refuse a video of more pixels in all frames, in 10^6, before they are in memory.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, no frame of it can be decoded, or it has more pixels than allowed.
    """
    with open_video(path) as (container, stream):
        rate = round(float(stream.average_rate or FALLBACK_RATE), 3) or FALLBACK_RATE
        aspect = float(stream.sample_aspect_ratio or 1)
        sounds, moving = len(container.streams.audio), len(container.streams.video)
        size = stream.codec_context
        _check(path, seconds_shown(container, stream) * rate, size.width, size.height, max_megapixels)
        frames: list[Tensor] = []
        for frame in frames_due(container, stream, rate):
            # kept as bytes: a quarter of what the result takes
            frames.append((upright(frame, aspect) * 255).round().to(torch.uint8))
            _check(path, len(frames), frames[0].shape[2], frames[0].shape[1], max_megapixels)
    if not frames:
        raise ValueError(f"no frame of {path} can be decoded")
    notes = (*("sound left out",) * bool(sounds), *(f"{moving - 1} more pictures left out",) * (moving > 1))
    return WholeVideo(torch.stack(frames, dim=1).float() / 255, rate, notes)


def _check(path: str | Path, frames: float, width: int, height: int, most: float) -> None:
    if frames * width * height > most * 1e6:
        raise ValueError(
            f"{path} has {frames:.0f} frames of {width} × {height} pixels or more, allowed are {most:g} megapixels in all"
        )
