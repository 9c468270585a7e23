"""Frames of a video file at a stride, upright, at a size, by FFmpeg (PyAV).

Conventions
    Frames are float32 in [0, 1], RGB, ``(3, frames, height, width)``. They are chosen by time: frame k of a clip is the one that is shown
    at start + k·stride / rate, where rate is the file's average frame rate; with a variable frame rate some are shown longer than others.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.data.video.container import SLACK_SECONDS, decoded_frames, open_video, seconds_shown, upright
from vqkit.data.video.whole import FALLBACK_RATE
from vqkit.types import Float

__all__ = ["read_frames"]


def read_frames(
    path: str | Path, frames: int, stride: int = 1, *, position: float = 0.5, short_side: int | None = None
) -> Float[Tensor, "3 frames height width"]:
    """Read a clip of a given number of frames.

    Args:
        path: a video file.
        frames: number of frames.
        stride: frames of the file from one to the next.
        position: place of the clip, from 0 (at the beginning) to 1 (at the end). Where the video is shorter than the clip, its last frame
            is repeated.
        short_side: smaller one of height and width of the result, with the proportions as they are shown; None keeps the file's.

    Returns:
        The frames, turned as the file says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or no frame of it can be decoded, or an argument is out of range.
    """
    if frames < 1 or stride < 1 or not 0 <= position <= 1 or (short_side is not None and short_side < 1):
        raise ValueError(
            f"frames, stride and short_side must be positive and position in 0 … 1, got {frames}, {stride}, {short_side}, {position}"
        )
    with open_video(path) as (container, stream):
        return _clip(container, stream, path, frames, stride, position, short_side)


def _clip(
    container: Any, stream: Any, path: str | Path, frames: int, stride: int, position: float, short_side: int | None
) -> Float[Tensor, "3 frames height width"]:
    interval = stride / float(stream.average_rate or FALLBACK_RATE)
    origin = float((stream.start_time or 0) * stream.time_base)
    room = max(0.0, seconds_shown(container, stream) - (frames - 1) * interval - interval / stride)
    first = origin + position * room
    if first > origin:
        container.seek(int(first / stream.time_base), stream=stream, backward=True)
    times = [first + k * interval + SLACK_SECONDS for k in range(frames)]
    aspect = float(stream.sample_aspect_ratio or 1)
    shown: list[Tensor] = []
    last: Any = None
    for frame in decoded_frames(container, stream):
        time = frame.time
        # what is due before this frame is shown by the one before it
        while time is not None and last is not None and len(shown) < frames and times[len(shown)] < time:
            shown.append(upright(last, aspect, short_side))
        last = frame
        if len(shown) == frames:
            break
    if last is None:
        raise ValueError(f"no frame of {path} can be decoded")
    if len(shown) < frames:
        shown += [upright(last, aspect, short_side)] * (frames - len(shown))
    return torch.stack(shown, dim=1)
