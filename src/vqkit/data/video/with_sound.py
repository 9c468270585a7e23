"""A copy of a video with another sound, whose picture is untouched."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.data.video.container import first_shown, open_video
from vqkit.files import NewFile, check_not_source
from vqkit.types import Float, need

__all__ = ["CONTAINERS", "check_container", "copy_with_sound"]

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_SOUND_FRAME = 1024  # samples an encoder gets at once


def check_container(path: str | Path) -> str:
    """Return the name of the container for a path's suffix.

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise ValueError(f"cannot write {path}: the suffix is {suffix!r}, allowed are {', '.join(CONTAINERS)}")
    return CONTAINERS[suffix]


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
        sound: waveform from the first frame on, whenever that is shown, in blocks of any sizes.
        sample_rate: sample rate of the sound, in Hz.
        channels: channels of the sound, 1 or 2.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: ``out`` exists, and ``overwrite`` is False.
        ValueError: ``out`` is the video itself, the container cannot hold the picture as it is, or what `check_container` and `pictures`
            refuse.
    """
    av = need("av", "audio")
    kind = check_container(out)
    check_not_source(out, video)
    start = first_shown(video)  # the picture keeps its times
    with open_video(video) as (source, stream), NewFile(out, overwrite=overwrite) as new:
        try:
            with closing(av.open(str(new.temporary), "w", format=kind)) as target:
                picture = target.add_stream_from_template(stream)
                voice = target.add_stream("aac", rate=sample_rate, layout="mono" if channels == 1 else "stereo")
                voiced = _encoded(voice, sound, sample_rate, channels, round(start * sample_rate))
                for packet in _by_time(_copied(source, stream, picture), voiced):
                    target.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, av.FFmpegError) or "codec" in str(error):
                codec = stream.codec_context.name
                raise ValueError(
                    f"{out}: a {kind} file cannot hold a picture coded as {codec} as it is; .mkv may"
                ) from None
            raise


def _copied(source: Any, stream: Any, target: Any) -> Iterator[Any]:
    """Yield the packets of the video, each with a decoding time: Matroska states none for the first ones where frames are reordered."""
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


def _encoded(stream: Any, sound: Iterable[Tensor], sample_rate: int, channels: int, place: int) -> Iterator[Any]:
    """Packets of the sound, whose first sample is at a place in time."""
    av = need("av", "audio")
    waiting = torch.zeros(channels, 0)
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
    """Yield the packets of two streams in the order of their times, so that the file can be played while it is loaded."""
    heads = [next(one, None), next(other, None)]
    while any(head is not None for head in heads):
        times = [float("inf") if head is None else float(head.dts * head.time_base) for head in heads]
        first = 0 if times[0] <= times[1] else 1
        packet = heads[first]
        # the next packet may only be read once this one is written: demuxing reuses its memory
        yield packet
        heads[first] = next((one, other)[first], None)
