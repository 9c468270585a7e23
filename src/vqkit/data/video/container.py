"""Opening of video files: the video stream, the time of each frame, and frames with the correct orientation."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.data.audio.readers.av import FORMATS
from vqkit.types import Float, need

__all__ = [
    "VideoInfo",
    "decoded_frames",
    "first_shown",
    "frames_due",
    "open_video",
    "picture_seconds",
    "seconds_shown",
    "upright",
    "video_info",
]

SLACK_SECONDS = 1e-4
"""Tolerance for rounded time stamps: a frame counts as shown this many seconds before its time."""

_MAX_MEGAPIXELS = 64.0  # of a frame, as the header says


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file's header.

    Attributes:
        seconds: duration of the picture.
        width: width in pixels.
        height: height in pixels.
    """

    seconds: float
    width: int
    height: int


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file; yield its container and its first video stream that can be decoded, which a cover picture is not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or has frames of more than 64 megapixels.
    """
    av = need("av", "audio")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        with closing(av.open(f"file:{path}", options=options)) as container:
            cover = av.stream.Disposition.attached_pic
            streams = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & cover]
            if not streams:
                raise ValueError(f"{path} has no moving picture that can be decoded")
            size = streams[0].codec_context
            if size.width * size.height > _MAX_MEGAPIXELS * 1e6:
                raise ValueError(
                    f"{path} has frames of {size.width}×{size.height}, allowed are {_MAX_MEGAPIXELS:g} megapixels"
                )
            yield container, streams[0]
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a video that PyAV can read: {error.strerror}") from None


def video_info(path: str | Path) -> VideoInfo:
    """Read the header.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video.
    """
    with open_video(path) as (container, stream):
        return VideoInfo(seconds_shown(container, stream), stream.codec_context.width, stream.codec_context.height)


def seconds_shown(container: Any, stream: Any) -> float:
    """Duration of the picture, as the header says."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def picture_seconds(path: str | Path) -> float:
    """Duration from the first frame to the end of the last one; what a header says may begin at 0. 0 where no frame has a time.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video.
    """
    av = need("av", "audio")
    shown: dict[int, int] = {}  # durations by time
    with open_video(path) as (container, stream):
        with suppress(av.FFmpegError):  # what came before it serves
            for packet in container.demux(stream):
                if packet.pts is not None:
                    shown[packet.pts] = packet.duration or 0
        if not shown:
            return 0.0
        times = sorted(shown)
        # AVI and MPEG-TS state no durations: the last frame is then shown as long as the one before it
        length = shown[times[-1]] or (times[-1] - times[-2] if len(times) > 1 else 0)
        return float((times[-1] - times[0] + length) * stream.time_base)


def first_shown(path: str | Path) -> float:
    """Time at which the first frame is shown, in seconds; what a header says may be the time at which it is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video.
    """
    with open_video(path) as (container, stream):
        frame = next(decoded_frames(container, stream), None)
        if frame is None or frame.time is None:
            return float((stream.start_time or 0) * stream.time_base)
        return float(frame.time)


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in the order in which they are shown; packets that cannot be decoded are passed over."""
    av = need("av", "audio")
    stream.thread_type = "AUTO"
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue
    except av.FFmpegError:  # of reading: what came before it serves
        return


def frames_due(container: Any, stream: Any, rate: float) -> Iterator[Any]:
    """Yield the frame that is shown k / rate seconds after the first one, for k = 0, 1, … to the end; nothing if none can be decoded.

    Args:
        container: container from `open_video`.
        stream: video stream of the container.
        rate: frames a second.
    """
    step, last, start, made = 1 / rate, None, 0.0, 0
    for frame in decoded_frames(container, stream):
        time = float(frame.time) if frame.time is not None else (0.0 if last is None else start + made * step)
        if last is None:
            start = time
        # what is due before this frame is shown by the one before it
        while last is not None and start + made * step + SLACK_SECONDS < time:
            yield last
            made += 1
        last = frame
    if last is None:
        return
    duration = float(last.duration * last.time_base) if last.duration and last.time_base else 0.0
    end = (float(last.time) if last.time is not None else start + made * step) + duration
    while not made or start + made * step + SLACK_SECONDS < end:
        yield last
        made += 1


def upright(frame: Any, aspect: float, short_side: int | None = None) -> Float[Tensor, "3 height width"]:
    """Convert a frame to the form in which it is shown: square pixels, rotated as the file states, in [0, 1].

    Args:
        frame: frame from `decoded_frames`.
        aspect: width of the file's pixels over their height.
        short_side: smaller one of height and width of the result; None keeps the file's.
    """
    height, width = frame.height, max(1, round(frame.width * aspect))
    if short_side is not None:
        scale = short_side / min(height, width)
        height, width = max(short_side, round(height * scale)), max(short_side, round(width * scale))
    array = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees, counterclockwise
    if turns:
        array = np.rot90(array, turns)
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float() / 255
