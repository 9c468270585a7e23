"""Perceptual evaluation of speech quality.

Conventions:
    MOS-LQO, about 1 (bad) to 4.64 (wide band) or 4.55 (narrow band). For speech; on music the number means nothing.

Metrics:
    :class:`PESQ`, higher is better.

References:
    ITU-T P.862 (2001), P.862.1 (2003, mapping) and P.862.2 (2007, wide band); computed by the package ``pesq``.
"""

import math
from typing import Any, ClassVar

import numpy as np

from vqkit.metrics.perceptual import PerceptualMetric
from vqkit.types import need

__all__ = ["PESQ"]

_RATES = {"wb": 16000, "nb": 8000}
# the mappings from the raw score to MOS-LQO at their lowest raw score, −0.5 (P.862.2 equation 1, P.862.1 equation 1)
_LOWEST = {"wb": 0.999 + 4 / (1 + math.exp(1.3669 * 0.5 + 3.8224)), "nb": 0.999 + 4 / (1 + math.exp(0.74725 + 4.6607))}


class PESQ(PerceptualMetric):
    """PESQ MOS-LQO of speech.

    Args:
        sample_rate: sample rate of the waveforms in Hz; resampled to 16 kHz (wide band) or 8 kHz (narrow band).
        band: ``"wb"`` or ``"nb"``.

    Raises:
        ValueError: the band is neither.
        ImportError: the package ``pesq`` is not installed.
    """

    name = "pesq"
    unit = "MOS"
    higher_is_better = True
    package: ClassVar[str] = "pesq"
    min_seconds = 0.25
    description = (
        "PESQ MOS-LQO of speech (ITU-T P.862.2 wide band at 16 kHz, or P.862.1 narrow band at 8 kHz), channel by "
        "channel; a silent estimate gets the scale's lowest value; mean over channels, then over clips"
    )

    def __init__(self, sample_rate: int, band: str = "wb") -> None:
        if band not in _RATES:
            raise ValueError(f"band must be 'wb' or 'nb', got {band!r}")
        super().__init__(sample_rate, model_rate=_RATES[band])
        self.band, self.lowest = band, _LOWEST[band]
        self._package = need("pesq", "perceptual")

    @property
    def settings(self) -> dict[str, Any]:
        """Band, rates and package."""
        return {**super().settings, "band": self.band}

    def score(self, estimate: np.ndarray, reference: np.ndarray) -> float:
        """Score one channel.

        Args:
            estimate: estimate at the model's rate.
            reference: reference at the model's rate.

        Returns:
            MOS-LQO.

        Raises:
            ValueError: the package finds no utterance, or too little to score.
        """
        try:
            return float(self._package.pesq(self.model_rate, reference, estimate, self.band))
        except self._package.PesqError as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
            raise ValueError(f"{self.name}: the clip cannot be scored: {reason}") from error
