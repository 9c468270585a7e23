"""The frame of the metrics that model a listener and come from other packages.

Conventions:
    Channels are scored one by one, at the sample rate the model was made for; other rates are resampled by soxr (HQ).
    A model of a listener says nothing about a silent reference: that is an error, not a number. A silent estimate of a
    reference that is not gets the lowest value of the scale, where the packages give NaN.

Metrics:
    :class:`PerceptualMetric` is the abstract base of ``pesq``, ``stoi`` and ``visqol``.
"""

from abc import abstractmethod
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float, need

__all__ = ["PerceptualMetric", "resample"]


def resample(waveform: Float[Tensor, "channels samples"], sample_rate: int, to_rate: int) -> np.ndarray:
    """Resample by soxr at its quality HQ.

    Args:
        waveform: waveform on any device.
        sample_rate: sample rate of the waveform in Hz.
        to_rate: sample rate of the result in Hz.

    Returns:
        float64 ``(channels, samples')``.

    Example:
        >>> resample(torch.zeros(2, 480, dtype=torch.float64), 48000, 16000).shape
        (2, 160)
    """
    samples = waveform.double().cpu().numpy()
    if sample_rate == to_rate:
        return samples
    return need("soxr", "audio").resample(samples.T, sample_rate, to_rate, quality="HQ").T


class PerceptualMetric(ReconstructionMetric):
    """Scores channel by channel, at the model's sample rate.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        model_rate: the model's, in Hz.

    Attributes:
        package: name of the package that computes the score, whose version the protocol states.
        lowest: value of a silent estimate.
        min_seconds: shortest clip.
    """

    package: ClassVar[str]
    lowest: float
    min_seconds: float

    def __init__(self, sample_rate: int, model_rate: int) -> None:
        super().__init__(sample_rate)
        self.model_rate = model_rate

    @property
    def settings(self) -> dict[str, Any]:
        """Rates, and which package computes it."""
        return {
            "sample_rate": self.sample_rate,
            "model_rate": self.model_rate,
            "package": f"{self.package} {version(self.package)}",
            "silent_estimate": self.lowest,
        }

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        assert self.sample_rate is not None
        return int(np.ceil(self.min_seconds * self.sample_rate))

    @abstractmethod
    def score(self, estimate: np.ndarray, reference: np.ndarray) -> float:
        """Score one channel; neither side is silent.

        Args:
            estimate: float64 at the model's rate.
            reference: float64 at the model's rate.

        Returns:
            The score.

        Raises:
            ValueError: the package cannot score this clip.
        """

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Score each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            One score per channel.

        Raises:
            ValueError: a channel of the reference is silent, or the package cannot score the clip.
        """
        assert self.sample_rate is not None
        if (reference == 0).all(-1).any():
            raise ValueError(f"{self.name}: the reference is silent, only sound can be scored")
        one, other = (resample(wave, self.sample_rate, self.model_rate) for wave in (estimate, reference))
        scores = [self.score(e, r) if e.any() else self.lowest for e, r in zip(one, other, strict=True)]
        return torch.tensor(scores, dtype=torch.float64)
