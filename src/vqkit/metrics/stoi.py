"""Short-time objective intelligibility.

Conventions:
    0 (nothing is understood) to 1. For speech; frames 40 dB below the loudest of the reference are left out.

Metrics:
    :class:`STOI`, higher is better; ``estoi`` is the name of its extended form.

References:
    Taal, Hendriks, Heusdens & Jensen, An algorithm for intelligibility prediction of time–frequency weighted noisy
    speech, 2011; Jensen & Taal, 2016 (extended); computed by the package ``pystoi``.
"""

import warnings
from typing import Any, ClassVar

import numpy as np

from vqkit.metrics.perceptual import PerceptualMetric
from vqkit.types import need

__all__ = ["STOI"]


class STOI(PerceptualMetric):
    """STOI, or its extended form, of speech.

    Args:
        sample_rate: sample rate of the waveforms in Hz; resampled to 10 kHz.
        extended: ESTOI instead, which also hears whether the bands belong together in time; the metric's name is then ``estoi``.

    Raises:
        ImportError: the package ``pystoi`` is not installed.
    """

    name = "stoi"
    unit = ""
    higher_is_better = True
    package: ClassVar[str] = "pystoi"
    lowest = 0.0
    min_seconds = 0.41  # 30 frames of 256 samples, half overlapping, at 10 kHz
    description = (
        "STOI (or extended STOI) of speech at 10 kHz, channel by channel; a silent estimate is 0; mean over channels, "
        "then over clips"
    )

    def __init__(self, sample_rate: int, extended: bool = False) -> None:
        if extended:  # before __init__, which names the states after it; both forms may stand in one table
            self.name = "estoi"
        super().__init__(sample_rate, model_rate=10000)
        self.extended = extended
        self._stoi = need("pystoi", "perceptual").stoi

    @property
    def settings(self) -> dict[str, Any]:
        """Form, rates and package."""
        return {**super().settings, "extended": self.extended}

    def score(self, estimate: np.ndarray, reference: np.ndarray) -> float:
        """Score one channel.

        Args:
            estimate: estimate at 10 kHz.
            reference: reference at 10 kHz.

        Returns:
            The score.

        Raises:
            ValueError: too little of the reference is left without its silent frames.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # else pystoi returns 1e-5 for what it cannot score
            try:
                return float(self._stoi(reference, estimate, self.model_rate, extended=self.extended))
            except RuntimeWarning as error:
                raise ValueError(
                    f"{self.name}: the clip cannot be scored: fewer than 30 frames are left of the reference "
                    "without its silent ones, 0.4 s of speech are needed"
                ) from error
