"""Pieces of sound as decoders give them, and how all become alike: rate and channels may change in the middle of a recording."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from vqkit.data.audio.readers.findings import Findings
from vqkit.types import Float, need

__all__ = ["Alike", "Decoder", "Piece", "as_float", "channel_names", "remix"]

_SURROUND = {
    "FC": 0.5**0.5,
    "BC": 0.5**0.5,
    "LFE": 0.0,
}  # weights beside the front's 1; what stands left or right has the centre's
_NAMES = {1: ("FC",), 2: ("FL", "FR")}


class Piece(NamedTuple):
    """Consecutive samples.

    Attributes:
        samples: float32, ``(samples, channels)``.
        sample_rate: sample rate in Hz.
        layout: names of the channels, as FFmpeg has them: FL, FR, FC, LFE, BL …
    """

    samples: Float[np.ndarray, "samples channels"]
    sample_rate: int
    layout: tuple[str, ...]


class Decoder(Protocol):
    """Interface of the decoders: one link as samples.

    Attributes:
        sample_rate: sample rate of its first sample, in Hz.
        layout: layout of its first sample.
        num_samples: number of samples in each channel, if the header states it exactly.
        seconds: duration as the header states it, perhaps an estimate; None where it states none.
        reached: sample after the last one that there is, among those that `pieces` has passed.
    """

    sample_rate: int
    layout: tuple[str, ...]
    num_samples: int | None
    seconds: float | None
    reached: int

    def pieces(self, start: int) -> Iterator[Piece]:
        """Yield the samples from index ``start`` on; can be called once."""

    def close(self) -> None:
        """Close what it has opened."""


def channel_names(count: int) -> tuple[str, ...]:
    """Return channel names for a format that has none."""
    return _NAMES.get(count) or tuple(f"{index}" for index in range(count))


def as_float(values: np.ndarray) -> np.ndarray:
    """Convert samples to float32, integers divided by the magnitude of their most negative value.

    Example:
        >>> as_float(np.int16([-32768, 16384])).tolist(), as_float(np.uint8([0, 128])).tolist()
        ([-1.0, 0.5], [-1.0, 0.0])
    """
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    half = np.float64(2 ** (8 * values.dtype.itemsize - 1))
    shifted = values - half if values.dtype.kind == "u" else values
    return (shifted / half).astype(np.float32)


def remix(samples: Float[np.ndarray, "samples have"], have: tuple[str, ...], want: tuple[str, ...]) -> np.ndarray:
    """Convert samples to another channel layout: to mono by the mean, from mono by copying, else by the speakers' positions.

    Args:
        samples: output of a decoder.
        have: their layout.
        want: layout of the result.

    Example:
        >>> remix(np.float32([[1.0, 0.5]]), ("FL", "FR"), ("FC",))
        array([[0.75]], dtype=float32)
    """
    if len(want) == 1:
        return samples.mean(axis=1, keepdims=True, dtype=np.float32)
    if len(have) == 1:
        return np.repeat(samples, len(want), axis=1)
    weights = np.zeros((len(have), len(want)), np.float32)
    for row, name in enumerate(have):
        if name in want:
            weights[row, want.index(name)] = 1
            continue
        side = [channel for channel in want if name[-1:] in "LR" and channel == f"F{name[-1:]}"]
        for channel in side or [channel for channel in want if channel in ("FL", "FR")]:
            weights[row, want.index(channel)] = _SURROUND.get(name, 0.5**0.5)
    if not weights.any():  # unnamed channels: in order
        np.fill_diagonal(weights, 1)
    return samples @ (weights / np.maximum(1, weights.sum(axis=0)))


class Alike:
    """Converter of all pieces to the sample rate and the channels of the first.

    Args:
        sample_rate: sample rate of the output, in Hz.
        layout: channel layout of the output.
        findings: collects notes of the changes.
    """

    def __init__(self, sample_rate: int, layout: tuple[str, ...], findings: Findings) -> None:
        self.sample_rate, self.layout = sample_rate, layout
        self._findings = findings
        self._rate = sample_rate  # of the pieces now
        self._resampler: Any = None
        self._taken = self._given = 0  # samples of the resampler
        self.samples = 0  # given so far

    def push(self, piece: Piece) -> Iterator[np.ndarray]:
        """Convert a piece; yield its samples, after those of the resampler's buffer where the rate changes."""
        samples = piece.samples
        if len(samples) == 0:
            return
        if piece.sample_rate != self._rate:
            yield from self.finish()
            self._change(piece.sample_rate)
        if len(piece.layout) != len(self.layout):
            self._findings.note(
                "channels",
                f"{_channels(piece.layout)} from {self.samples / self.sample_rate:.3f} s on, "
                f"before {_channels(self.layout)}: mixed to those",
            )
            samples = remix(samples, piece.layout, self.layout)
        if self._resampler is not None:
            self._taken += len(samples)
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples))
            self._given += len(samples)
        yield from self._count(samples)

    def finish(self) -> Iterator[np.ndarray]:
        """Yield the samples that are still in the resampler's buffer."""
        if self._resampler is None:
            return
        rest = self._resampler.resample_chunk(np.zeros((0, len(self.layout)), np.float32), last=True)
        wanted = max(0, round(self._taken * self.sample_rate / self._rate) - self._given)
        self._resampler = None
        yield from self._count(np.pad(rest[:wanted], ((0, max(0, wanted - len(rest))), (0, 0))))

    def _change(self, rate: int) -> None:
        self._rate = rate
        self._taken = self._given = 0
        if rate != self.sample_rate:
            at = self.samples / self.sample_rate
            self._findings.note(
                "rate", f"{rate} Hz from {at:.3f} s on, before {self.sample_rate} Hz: resampled to that"
            )
            soxr = need("soxr", "audio")
            self._resampler = soxr.ResampleStream(rate, self.sample_rate, len(self.layout), "float32", "VHQ")

    def _count(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        self.samples += len(samples)
        if len(samples):
            yield samples


def _channels(layout: tuple[str, ...]) -> str:
    return f"{len(layout)} channel{'s' * (len(layout) != 1)}"
