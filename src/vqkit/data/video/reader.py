"""Frames of a video file at a stride, upright, at a size, by FFmpeg (PyAV).

Conventions
    Frames are float32 in [0, 1], RGB, ``(3, frames, height, width)``. They are chosen by time: frame k of a clip is the one that is shown
    at start + k·stride / rate, where rate is the file's average frame rate; with a variable frame rate some are shown longer than others.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.data.audio.readers.av import FORMATS
from vqkit.types import Float, need

__all__ = ["read_frames"]

_MAX_MEGAPIXELS = 64.0  # of a frame, as the header says
_FALLBACK_RATE = 25.0  # of a file that states none
_SLACK_SECONDS = 1e-4  # time stamps are rounded


def read_frames(
    path: str | Path, frames: int, stride: int = 1, *, position: float = 0.5, short_side: int | None = None
) -> Float[Tensor, "3 frames height width"]:
    """Read a clip of so many frames.

    Args:
        path: a video file.
        frames: number of frames.
        stride: frames of the file from one to the next.
        position: where the clip lies, from 0 (at the beginning) to 1 (at the end). Where the video is shorter than the clip, its last frame
            is repeated.
        short_side: smaller one of height and width of the result, with the proportions as they are shown; None keeps the file's.

    Returns:
        The frames, turned as the file says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or no frame of it can be decoded, or an argument is out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if frames < 1 or stride < 1 or not 0 <= position <= 1 or (short_side is not None and short_side < 1):
        raise ValueError(
            f"frames, stride and short_side must be positive and position in 0 … 1, got {frames}, {stride}, {short_side}, {position}"
        )
    av = need("av", "audio")
    try:
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        with closing(av.open(f"file:{path}", options=options)) as container:
            return _clip(container, path, frames, stride, position, short_side)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a video that PyAV can read: {error.strerror}") from None


def _clip(
    container: Any, path: Path, frames: int, stride: int, position: float, short_side: int | None
) -> Float[Tensor, "3 frames height width"]:
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        raise ValueError(f"{path} has no picture that can be decoded")
    stream = streams[0]
    if stream.codec_context.width * stream.codec_context.height > _MAX_MEGAPIXELS * 1e6:
        size = f"{stream.codec_context.width}×{stream.codec_context.height}"
        raise ValueError(f"{path} has frames of {size}, allowed are {_MAX_MEGAPIXELS:g} megapixels")
    interval = stride / float(stream.average_rate or _FALLBACK_RATE)
    origin = float((stream.start_time or 0) * stream.time_base)
    room = max(0.0, _seconds(container, stream) - (frames - 1) * interval - interval / stride)
    first = origin + position * room
    if first > origin:
        container.seek(int(first / stream.time_base), stream=stream, backward=True)
    times = [first + k * interval + _SLACK_SECONDS for k in range(frames)]
    aspect = float(stream.sample_aspect_ratio or 1)
    shown: list[Tensor] = []
    last: Any = None
    for frame in _decoded(container, stream, path):
        time = frame.time
        # what is due before this frame is shown by the one before it
        while time is not None and last is not None and len(shown) < frames and times[len(shown)] < time:
            shown.append(_upright(last, short_side, aspect))
        last = frame
        if len(shown) == frames:
            break
    if last is None:
        raise ValueError(f"no frame of {path} can be decoded")
    if len(shown) < frames:
        shown += [_upright(last, short_side, aspect)] * (frames - len(shown))
    return torch.stack(shown, dim=1)


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Frames in the order in which they are shown; packets that cannot be decoded are passed over."""
    av = need("av", "audio")
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue
    except av.FFmpegError:  # of reading: what came before it serves
        return


def _upright(frame: Any, short_side: int | None, aspect: float) -> Float[Tensor, "3 height width"]:
    """A frame as it is shown: square pixels, scaled, turned by the file's rotation."""
    height, width = frame.height, max(1, round(frame.width * aspect))
    if short_side is not None:
        scale = short_side / min(height, width)
        height, width = max(short_side, round(height * scale)), max(short_side, round(width * scale))
    array = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees, counterclockwise
    if turns:
        array = np.rot90(array, turns)
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float() / 255
