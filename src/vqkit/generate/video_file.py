"""Pictures out of a video at a constant rate, and a copy of a video with another sound whose picture is untouched.

Conventions
    Pictures are chosen by time: picture k is the one that is shown k / rate seconds after the first. They are turned as the file says, cut
    to a square in the middle, float32 in [0, 1], RGB.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vqkit.data.audio.readers.av import FORMATS
from vqkit.files import NewFile
from vqkit.types import Float, need

__all__ = ["CONTAINERS", "VideoInfo", "check_container", "copy_with_sound", "pictures", "video_info"]

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MOST_MEGAPIXELS = 64.0  # of a frame, as the header says
_SLACK_SECONDS = 1e-4  # time stamps are rounded
_SOUND_FRAME = 1024  # samples an encoder gets at once


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says.

    Attributes:
        seconds: duration of the picture.
        width: in pixels.
        height: in pixels.
    """

    seconds: float
    width: int
    height: int


def check_container(path: str | Path) -> str:
    """The name of the container that a path's suffix asks for.

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise ValueError(f"cannot write {path}: the suffix is {suffix!r}, allowed are {', '.join(CONTAINERS)}")
    return CONTAINERS[suffix]


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container, and its stream of pictures; cover pictures are none."""
    av = need("av", "audio")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with closing(
            av.open(f"file:{path}", options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
        ) as container:
            cover = av.stream.Disposition.attached_pic
            streams = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & cover]
            if not streams:
                raise ValueError(f"{path} is a file without a moving picture")
            size = streams[0].codec_context
            if size.width * size.height > _MOST_MEGAPIXELS * 1e6:
                raise ValueError(
                    f"{path} has frames of {size.width}×{size.height}, allowed are {_MOST_MEGAPIXELS:g} megapixels"
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
    with _opened(path) as (container, stream):
        seconds = (
            float(stream.duration * stream.time_base)
            if stream.duration is not None
            else (container.duration or 0) / 1e6
        )
        return VideoInfo(seconds, stream.codec_context.width, stream.codec_context.height)


def pictures(path: str | Path, size: int, rate: Fraction | int = 1) -> Iterator[Float[Tensor, "3 size size"]]:
    """Pictures of a video at a constant rate, one after the other: memory does not grow with its length.

    Args:
        path: a video file.
        size: height and width of a picture.
        rate: pictures a second.

    Yields:
        At least one picture.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or no frame of it can be decoded.
    """
    step = 1 / float(rate)
    last, start, made = None, 0.0, 0
    with _opened(path) as (container, stream):
        for frame in _frames(container, stream):
            time = float(frame.time) if frame.time is not None else (0.0 if last is None else start + made * step)
            if last is None:
                start = time
            # what is due before this frame is shown by the one before it
            while last is not None and start + made * step + _SLACK_SECONDS < time:
                yield _square(last, size)
                made += 1
            last = frame
        if last is None:
            raise ValueError(f"no frame of {path} can be decoded")
        duration = float(last.duration * last.time_base) if last.duration and last.time_base else 0.0
        end = (float(last.time) if last.time is not None else start + made * step) + duration
        while not made or start + made * step + _SLACK_SECONDS < end:
            yield _square(last, size)
            made += 1


def _frames(container: Any, stream: Any) -> Iterator[Any]:
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


def _square(frame: Any, size: int) -> Float[Tensor, "3 size size"]:
    """The middle of a frame as it is shown."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees, counterclockwise
    pixels = np.rot90(pixels, turns) if turns else pixels
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    box = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    image = torch.from_numpy(box).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )


def copy_with_sound(
    video: str | Path,
    out: str | Path,
    sound: Iterable[Float[Tensor, "channels _"]],
    sample_rate: int,
    channels: int,
    *,
    overwrite: bool = False,
) -> None:
    """Copy the picture of a video, packet by packet as it is, and put another sound beside it; the file appears whole or not at all.

    Args:
        video: a video file; its own sound is left out.
        out: the copy; its suffix names the container.
        sound: waveform from the first frame on, in blocks of any sizes.
        sample_rate: of the sound, in Hz.
        channels: of the sound, 1 or 2.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: ``out`` exists, and ``overwrite`` is False.
        ValueError: the container cannot hold the picture as it is, or what `check_container` and `pictures` refuse.
    """
    av = need("av", "audio")
    kind = check_container(out)
    with _opened(video) as (source, stream), NewFile(out, overwrite=overwrite) as new:
        try:
            with closing(av.open(str(new.temporary), "w", format=kind)) as target:
                picture = target.add_stream_from_template(stream)
                voice = target.add_stream("aac", rate=sample_rate, layout="mono" if channels == 1 else "stereo")
                for packet in _by_time(_copied(source, stream, picture), _encoded(voice, sound, sample_rate, channels)):
                    target.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, av.FFmpegError) or "codec" in str(error):
                codec = stream.codec_context.name
                raise ValueError(
                    f"{out}: a {kind} file cannot hold a picture coded as {codec} as it is; .mkv may"
                ) from None
            raise


def _copied(source: Any, stream: Any, target: Any) -> Iterator[Any]:
    """The packets of the picture, each with a time of decoding: Matroska states none for the first ones where frames are reordered."""
    waiting: list[Any] = []
    for packet in source.demux(stream):
        if not packet.size:  # the end
            continue
        waiting.append(packet)
        if packet.dts is not None:
            yield from _timed(waiting, stream, target)
            waiting = []
    yield from _timed(waiting, stream, target)


def _timed(packets: list[Any], stream: Any, target: Any) -> Iterator[Any]:
    """Packets, those without a time of decoding at even steps before the last one's."""
    if not packets:
        return
    last = packets[-1]
    step = last.duration or round(1 / (float(stream.average_rate or 25) * stream.time_base))
    end = min(packet.pts or 0 for packet in packets) if last.dts is None else last.dts
    for index, packet in enumerate(packets):
        if packet.dts is None:
            packet.dts = end - (len(packets) - 1 - index) * step
        packet.stream = target
        yield packet


def _encoded(stream: Any, sound: Iterable[Tensor], sample_rate: int, channels: int) -> Iterator[Any]:
    av = need("av", "audio")
    place, waiting = 0, torch.zeros(channels, 0)
    for block in sound:
        waiting = torch.cat([waiting, block.float().cpu()], dim=1)
        while waiting.shape[1] >= _SOUND_FRAME:
            yield from stream.encode(_frame(av, waiting[:, :_SOUND_FRAME], sample_rate, place))
            waiting, place = waiting[:, _SOUND_FRAME:], place + _SOUND_FRAME
    if waiting.shape[1]:
        yield from stream.encode(_frame(av, waiting, sample_rate, place))
    yield from stream.encode(None)


def _frame(av: Any, samples: Tensor, sample_rate: int, place: int) -> Any:
    values = samples.clamp(-1, 1).numpy().astype(np.float32)
    frame = av.AudioFrame.from_ndarray(values, format="fltp", layout="mono" if len(values) == 1 else "stereo")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, place, Fraction(1, sample_rate)
    return frame


def _by_time(one: Iterator[Any], other: Iterator[Any]) -> Iterator[Any]:
    """Packets of two streams in the order of their times, so that the file can be played while it is loaded."""
    heads = [next(one, None), next(other, None)]
    while any(head is not None for head in heads):
        times = [float("inf") if head is None else float(head.dts * head.time_base) for head in heads]
        first = 0 if times[0] <= times[1] else 1
        packet = heads[first]
        # the next packet may only be read once this one is written: demuxing reuses its memory
        yield packet
        heads[first] = next((one, other)[first], None)
