"""Audio file → waveform tensor: the one place where formats, rates, channels and damaged files are dealt with.

Conventions
    Samples are float32 in about [−1, 1], ``(channels, samples)``; rates are in Hz, times in seconds.
    libsndfile reads what it can read exactly; FFmpeg (PyAV) reads the rest.
"""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqkit.data.av_reader import AvReader
from vqkit.data.sample_limit import check_samples
from vqkit.data.soundfile_reader import SoundfileReader
from vqkit.types import Float, need

_FILTER_SAMPLES = (
    256  # reach of soxr's VHQ filter, in samples of the lower rate: beyond it a part equals the whole within 1e-7
)


@dataclass(frozen=True)
class Waveform:
    """Sound as samples.

    Attributes:
        samples: float32, ``(channels, samples)``, in about [−1, 1].
        sample_rate: in Hz.
    """

    samples: Float[Tensor, "channels samples"]
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.sample_rate


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        seconds: duration; an estimate for an MP3 without a Xing header.
    """

    sample_rate: int
    channels: int
    seconds: float


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header of an audio file; the samples are decoded only where no header states the length.

    Args:
        path: any file that `read_audio` reads.

    Returns:
        Sample rate, channels and duration.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, not audio, or holds no samples.

    Example:
        >>> from vqkit.data import audio_info, sample_folder
        >>> audio_info(sample_folder() / "music/stereo/test/freedoom_countd.flac")
        AudioInfo(sample_rate=48000, channels=2, seconds=2.0)
    """
    with closing(open_audio(Path(path))) as reader:
        num_samples = len(reader.read(0, None)) if reader.num_samples is None else reader.num_samples
        if num_samples == 0:
            raise ValueError(f"{path} holds no samples")
        return AudioInfo(reader.sample_rate, reader.channels, num_samples / reader.sample_rate)


def read_audio(
    path: str | Path,
    sample_rate: int | None = None,
    channels: int | None = None,
    offset_seconds: float = 0.0,
    seconds: float | None = None,
    max_samples: int | None = None,
) -> Waveform:
    """Read an audio file, or the sound of a video file, or a part of either.

    Only the wanted part is decoded where the format allows an exact seek; Vorbis, MP3, WebM and Matroska are decoded from their start. A
    part equals the same part of the whole file, except for two codecs with a memory: Opus converges to within about 1e-3, and AAC fills
    bands with noise that depends on where decoding began.

    Args:
        path: wav, flac, ogg, opus, mp3, aiff, m4a, mp4, webm or whatever else libsndfile or FFmpeg reads.
        sample_rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's.
        channels: 1 averages the channels, 2 repeats a mono file; None keeps the file's.
        offset_seconds: where to start.
        seconds: how much to read; the result is shorter where the file ends before. None reads to the end.
        max_samples: most samples of all channels together that are decoded or made; more is an error, raised before
            it is decoded where the header states it. None allows any number.

    Returns:
        The waveform, ``(channels, samples)`` float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged or not audio, holds NaN, no samples or more than allowed, or an argument is out of range.

    Example:
        >>> from vqkit.data import read_audio, sample_folder
        >>> wave = read_audio(sample_folder() / "music/stereo/test/freedoom_countd.flac", 16000, channels=1, seconds=0.5)
        >>> wave.samples.shape, wave.sample_rate
        (torch.Size([1, 8000]), 16000)
    """
    if sample_rate is not None and sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}, it must be at least 1 Hz")
    if not (math.isfinite(offset_seconds) and offset_seconds >= 0):
        raise ValueError(f"offset_seconds is {offset_seconds}, it must be at least 0")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds is {seconds}, it must be more than 0")
    with closing(open_audio(Path(path))) as reader:
        rate = sample_rate or reader.sample_rate
        start = round(offset_seconds * rate)
        count = None if seconds is None else max(1, round(seconds * rate))
        first, skip, length = _native_span(start, count, reader.sample_rate, rate)
        stated = None if reader.num_samples is None else max(0, reader.num_samples - first)
        asked = stated if length is None else length if stated is None else min(length, stated)
        check_samples(path, asked or 0, reader.channels, max_samples)
        check_samples(path, math.ceil((asked or 0) * rate / reader.sample_rate), reader.channels, max_samples)
        samples = reader.read(first, length, max_samples)
        native_rate = reader.sample_rate
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds NaN or infinite samples")
    samples = _mix(samples, channels, path)
    if rate != native_rate and len(samples):
        samples = need("soxr", "audio").resample(samples, native_rate, rate, quality="VHQ")
    samples = samples[skip:] if count is None else samples[skip : skip + count]
    if len(samples) == 0:
        raise ValueError(f"{path} ends before offset_seconds={offset_seconds}" if start else f"{path} holds no samples")
    return Waveform(torch.from_numpy(np.ascontiguousarray(samples.T)), rate)


def open_audio(path: Path) -> SoundfileReader | AvReader:
    """The reader that reads a file exactly; errors as of `audio_info`."""
    if not path.exists():
        raise FileNotFoundError(f"no such audio file: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    if path.suffix.lower() != ".mp3":  # libmpg123 would print its opinion of a damaged file to the terminal
        try:
            return SoundfileReader(path)
        except ValueError:
            pass
    return AvReader(path)


def _native_span(start: int, count: int | None, native_rate: int, rate: int) -> tuple[int, int, int | None]:
    """Which native samples make the output samples [start, start + count): first, outputs to drop, number to read.

    The first native sample lies on the common grid of both rates, so that a part is resampled at the phase of the whole.
    """
    if native_rate == rate:
        return start, 0, count
    common = math.gcd(native_rate, rate)
    native_step, step = native_rate // common, rate // common
    margin = math.ceil(_FILTER_SAMPLES * max(1.0, rate / native_rate))
    blocks = max(0, start - margin) // step
    first = blocks * native_step
    last = None if count is None else math.ceil((start + count + margin) * native_rate / rate)
    return first, start - blocks * step, None if last is None else last - first


def _mix(samples: np.ndarray, channels: int | None, path: str | Path) -> np.ndarray:
    """Convert ``(samples, channels)`` to the wanted number of channels."""
    have = samples.shape[1]
    if channels is None or channels == have:
        return samples
    if channels == 1:
        return samples.mean(axis=1, keepdims=True, dtype=np.float32)
    if channels == 2 and have == 1:
        return np.repeat(samples, 2, axis=1)
    allowed = "1, 2" if have == 1 else f"1, {have}"
    raise ValueError(f"{path} has {have} channel{'s' * (have > 1)} and cannot become {channels}; allowed: {allowed}")
