"""Checks of decoded samples: too many, no numbers, far outside ±1, or cancelled when channels are averaged."""

from pathlib import Path

import numpy as np

from vqkit.data.audio.readers.findings import Findings
from vqkit.scale import LOUDEST
from vqkit.types import Float

__all__ = ["Cancellation", "SampleCheck", "check_samples"]

_CANCELLED = 0.01  # of the channels' power is left in their mean: 20 dB less


def check_samples(name: str | Path, samples: int, channels: int, max_samples: int | None) -> None:
    """Refuse more samples than are allowed, as a file of a few kilobytes can claim, or hold, gigabytes of them.

    It is called with what a header states, and again with what really comes.

    Args:
        name: name of the file, for the message.
        samples: number of samples in each channel.
        channels: number of channels.
        max_samples: most samples of all channels together; None allows any number.

    Raises:
        ValueError: there are more, or max_samples is below 1.

    Example:
        >>> check_samples("a.wav", 48000, 2, max_samples=96000)
        >>> check_samples("a.wav", 48001, 2, max_samples=96000)
        Traceback (most recent call last):
        ...
        ValueError: a.wav has 48001 samples or more in each of 2 channels; max_samples allows 96000 in all
    """
    if max_samples is None:
        return
    if max_samples < 1:
        raise ValueError(f"max_samples is {max_samples}, it must be at least 1")
    if samples * channels > max_samples:
        each = f"in each of {channels} channels" if channels != 1 else "in one channel"
        raise ValueError(f"{name} has {samples} samples or more {each}; max_samples allows {max_samples} in all")


class SampleCheck:
    """Checker of all samples of a sound while they are read.

    Args:
        findings: collects the doubts; its name is that of the sound.
        sample_rate: sample rate in Hz.
        max_samples: most samples of all channels together; None allows any number.
        start: index of the first sample that will come.
    """

    def __init__(self, findings: Findings, sample_rate: int, max_samples: int | None = None, start: int = 0) -> None:
        self._findings, self._rate, self._most, self._start = findings, sample_rate, max_samples, start
        self.samples = 0  # a channel, so far
        self._peak = 0.0

    def look(self, samples: Float[np.ndarray, "samples channels"]) -> None:
        """Look at the next samples.

        Raises:
            ValueError: they hold NaN or infinity, or are more than allowed.
        """
        check_samples(self._findings.name, self.samples + len(samples), samples.shape[1], self._most)
        peak = float(np.abs(samples).max(initial=0.0))
        if not np.isfinite(peak):
            at = int((~np.isfinite(samples)).any(axis=1).argmax())
            index = self._start + self.samples + at
            value = samples[at][~np.isfinite(samples[at])][0]
            raise ValueError(
                f"{self._findings.name} holds NaN or infinite samples: the first is {value} at sample {index} ({index / self._rate:.6f} s)"
            )
        self._peak = max(self._peak, peak)
        self.samples += len(samples)

    def finish(self) -> None:
        """Say what is doubtful about all of them."""
        if self._peak > LOUDEST:
            self._findings.warn(
                f"the samples reach {self._peak:g}, far outside ±1, which is full scale: perhaps integers that were stored as floats"
            )


class Cancellation:
    """Detector of channels that cancel when they are averaged, as −x and x do.

    Args:
        findings: collects the note.
        sample_rate: sample rate in Hz.

    Example:
        >>> findings = Findings("a.wav")
        >>> cancellation = Cancellation(findings, 8000)
        >>> stereo = np.float32([[0.5, -0.5]]).repeat(8000, axis=0)
        >>> cancellation.look(stereo, stereo.mean(axis=1, keepdims=True))
        >>> cancellation.finish()
        >>> findings.notes
        ('the channels cancel each other when they are mixed, in 1.0 s of 1.0 s: one is the other turned over',)
    """

    def __init__(self, findings: Findings, sample_rate: int) -> None:
        self._findings, self._rate = findings, sample_rate
        self._samples = self._cancelled = 0

    def look(self, channels: Float[np.ndarray, "samples channels"], mixed: Float[np.ndarray, "samples 1"]) -> None:
        """Compare the next samples before and after, in parts of a second."""
        for begin in range(0, len(channels), self._rate):
            part = channels[begin : begin + self._rate]
            power = float(np.square(part, dtype=np.float64).mean())
            left = float(np.square(mixed[begin : begin + self._rate], dtype=np.float64).mean())
            self._samples += len(part)
            self._cancelled += len(part) * (left < _CANCELLED * power)

    def finish(self) -> None:
        """Note it, if there was any."""
        if self._cancelled:
            where = f"in {self._cancelled / self._rate:.1f} s of {self._samples / self._rate:.1f} s"
            self._findings.note(
                "cancelled",
                f"the channels cancel each other when they are mixed, {where}: one is the other turned over",
            )
