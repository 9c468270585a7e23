"""Audio file → waveform tensor: the one place where formats, rates, channels and damaged files are dealt with.

Conventions
    Samples are float32 in about [−1, 1], ``(channels, samples)``; rates are in Hz, times in seconds.
    libsndfile reads what it can read exactly; FFmpeg (PyAV) reads the rest, and what is damaged.
    A loss is silence of the right length, where that is known, and is named; nothing ends early in silence.
"""

import math
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqkit.data.audio.readers.findings import Findings
from vqkit.data.audio.readers.sample_check import Cancellation, SampleCheck, check_samples
from vqkit.data.audio.readers.sound import SoundReader
from vqkit.scale import check_wav_scale
from vqkit.types import Float, need

_FILTER_SAMPLES = (
    256  # reach of soxr's VHQ filter, in samples of the lower rate: beyond it a part equals the whole within 1e-7
)


@dataclass(frozen=True)
class Waveform:
    """Sound as samples.

    Attributes:
        samples: float32, ``(channels, samples)``, in about [−1, 1].
        sample_rate: sample rate in Hz.
        notes: changes to the sound that are no fault, such as the conversion of a rate that changed in the middle.
        warnings: warnings of what is missing, damaged or doubtful.
    """

    samples: Float[Tensor, "channels samples"]
    sample_rate: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.sample_rate


@dataclass(frozen=True)
class AudioInfo:
    """Facts of an audio file's header.

    Attributes:
        sample_rate: sample rate in Hz.
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
    with closing(SoundReader(Path(path), str(path))) as reader:
        seconds = reader.seconds if reader.num_samples is None else reader.num_samples / reader.sample_rate
        if seconds is None:
            seconds = sum(map(len, reader.blocks())) / reader.sample_rate
        if not seconds:
            raise ValueError(f"{path} holds no samples")
        return AudioInfo(reader.sample_rate, reader.channels, seconds)


def read_audio(
    path: str | Path,
    sample_rate: int | None = None,
    channels: int | None = None,
    offset_seconds: float = 0.0,
    seconds: float | None = None,
    max_samples: int | None = None,
    strict: bool = False,
) -> Waveform:
    """Read an audio file, or the sound of a video file, or a part of either.

    All that can be decoded is read, to the real end, through all parts of a file that was joined of several. What is missing or cannot
    be decoded is silence, where its length is known; a Python warning names it, and so does the result.

    Only the wanted part is decoded where the format allows an exact seek; Vorbis, MP3, WebM, Matroska and joined files are decoded from
    their start. A part equals the same part of the whole file, except for two codecs with a memory: Opus converges to within about 1e-3,
    and AAC fills bands with noise that depends on where decoding began.

    Args:
        path: wav, flac, ogg, opus, mp3, aiff, m4a, mp4, webm or whatever else libsndfile or FFmpeg reads.
        sample_rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's.
        channels: 1 averages the channels, 2 repeats a mono file; None keeps the file's.
        offset_seconds: start of the part to read, in seconds.
        seconds: duration to read; the result is shorter where the file ends before. None reads to the end.
        max_samples: most samples of all channels together that are decoded or made; more is an error, raised before
            it is decoded where the header states it. None allows any number.
        strict: whether what is missing, cannot be decoded or is doubtful is an error instead of a warning.

    Returns:
        The waveform, ``(channels, samples)`` float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or not audio, holds NaN, no samples or more than allowed; with strict, it is damaged; or an argument
            is out of range.

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
    wave = load_audio(path, sample_rate, channels, offset_seconds, seconds, max_samples, strict)
    for text in wave.warnings:
        warnings.warn(f"{path}: {text}", stacklevel=2)
    return wave


def read_clip(
    path: str | Path,
    sample_rate: int | None = None,
    channels: int | None = None,
    offset_seconds: float = 0.0,
    seconds: float | None = None,
) -> Float[Tensor, "channels samples"]:
    """`read_audio` for what computes with the samples: those far outside ±1 overflow there, where no message can name the file.

    Raises:
        FileNotFoundError, ValueError: as `read_audio`; also samples far outside ±1.
    """
    samples = read_audio(path, sample_rate, channels, offset_seconds, seconds).samples
    check_wav_scale(str(path), samples)
    return samples


def load_audio(
    path: str | Path,
    sample_rate: int | None,
    channels: int | None,
    offset_seconds: float = 0.0,
    seconds: float | None = None,
    max_samples: int | None = None,
    strict: bool = False,
) -> Waveform:
    """`read_audio` without its checks of arguments and its Python warnings: losses are in the result only."""
    with closing(SoundReader(Path(path), str(path), strict)) as reader:
        native = reader.sample_rate
        rate = sample_rate or native
        start = round(offset_seconds * rate)
        count = None if seconds is None else max(1, round(seconds * rate))
        first, skip, length = _native_span(start, count, native, rate)
        stated = length if reader.num_samples is None else min(length or math.inf, reader.num_samples - first)
        if stated is not None and stated > 0:  # before anything is decoded
            check_samples(path, math.ceil(stated * max(1, rate / native)), reader.channels, max_samples)
        check = SampleCheck(reader.findings, native, max_samples, first)
        samples = _gathered(reader, first, length, check)
        samples = _mix(samples, channels, path, reader.findings, native)
        findings = reader.findings
    if rate != native and len(samples):
        samples = need("soxr", "audio").resample(samples, native, rate, quality="VHQ")
    samples = samples[skip:] if count is None else samples[skip : skip + count]
    if len(samples) == 0:
        reason = "".join(f": {text}" for text in findings.warnings[:1])
        place = f"ends before offset_seconds={offset_seconds}" if start else "holds no samples"
        raise ValueError(f"{path} {place}{reason}")
    return Waveform(torch.from_numpy(np.ascontiguousarray(samples.T)), rate, findings.notes, findings.warnings)


def _gathered(reader: SoundReader, first: int, length: int | None, check: SampleCheck) -> np.ndarray:
    """Read ``length`` samples from index ``first`` on, fewer at the end; all with None. Returns (samples, channels), checked."""
    blocks = []
    for block in reader.blocks(first):
        blocks.append(block if length is None else block[: length - check.samples])
        check.look(blocks[-1])
        if check.samples == length:
            break
    check.finish()
    return np.concatenate(blocks) if blocks else np.zeros((0, reader.channels), np.float32)


def _native_span(start: int, count: int | None, native_rate: int, rate: int) -> tuple[int, int, int | None]:
    """Compute the native samples behind the output samples [start, start + count): first, outputs to drop, number to read.

    The first native sample lies on the common grid of both rates, so that a part is resampled at the phase of the full signal.
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


def _mix(samples: np.ndarray, channels: int | None, path: str | Path, findings: Findings, rate: int) -> np.ndarray:
    """Convert ``(samples, channels)`` to the requested number of channels."""
    have = samples.shape[1]
    if channels is None or channels == have:
        return samples
    if channels == 1:
        mixed = samples.mean(axis=1, keepdims=True, dtype=np.float32)
        cancellation = Cancellation(findings, rate)
        cancellation.look(samples, mixed)
        cancellation.finish()
        return mixed
    if channels == 2 and have == 1:
        return np.repeat(samples, 2, axis=1)
    allowed = "1, 2" if have == 1 else f"1, {have}"
    raise ValueError(f"{path} has {have} channel{'s' * (have > 1)} and cannot become {channels}; allowed: {allowed}")
