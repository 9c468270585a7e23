"""Virtual speech quality objective listener.

Conventions:
    MOS-LQO, 1 (bad) to 5; mode ``"audio"`` at 48 kHz reaches 4.73 for a perfect reconstruction. Mode ``"speech"`` at
    16 kHz uses ViSQOL's polynomial mapping, scaled to 5, and not the lattice network that is the C++ program's default,
    so that the value does not depend on which optional runtime is installed; it lies above the lattice's by 1 to 2.

Metrics:
    :class:`ViSQOL`, higher is better.

References:
    Chinen et al., ViSQOL v3: an open source production ready objective speech and audio metric, QoMEX 2020; computed by
    the package ``visqol-python``, a port whose model is in the package.
"""

from typing import Any, ClassVar

import numpy as np

from vqkit.metrics.perceptual import PerceptualMetric
from vqkit.types import need

__all__ = ["ViSQOL"]

_RATES = {"audio": 48000, "speech": 16000}


class ViSQOL(PerceptualMetric):
    """ViSQOL MOS-LQO.

    Args:
        sample_rate: sample rate of the waveforms in Hz; resampled to 48 kHz (audio) or 16 kHz (speech).
        mode: ``"audio"`` or ``"speech"``.

    Raises:
        ValueError: the mode is neither.
        ImportError: the package ``visqol-python`` is not installed.
    """

    name = "visqol"
    unit = "MOS"
    higher_is_better = True
    package: ClassVar[str] = "visqol-python"
    lowest = 1.0
    min_seconds = 1.0
    description = (
        "ViSQOL v3 MOS-LQO (audio: 48 kHz, support vector regression; speech: 16 kHz, polynomial mapping scaled to 5), "
        "channel by channel; a silent estimate is 1; mean over channels, then over clips"
    )

    def __init__(self, sample_rate: int, mode: str = "audio") -> None:
        if mode not in _RATES:
            raise ValueError(f"mode must be 'audio' or 'speech', got {mode!r}")
        super().__init__(sample_rate, model_rate=_RATES[mode])
        self.mode = mode
        self._api = need("visqol", "perceptual").VisqolApi()
        self._api.create(mode=mode, use_lattice_model=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Mode, rates and package."""
        return {**super().settings, "mode": self.mode}

    def score(self, estimate: np.ndarray, reference: np.ndarray) -> float:
        """Score one channel.

        Args:
            estimate: estimate at the model's rate.
            reference: reference at the model's rate.

        Returns:
            MOS-LQO.

        Raises:
            ValueError: the clip is too short, or has no speech in speech mode.
        """
        try:
            return float(self._api.measure_from_arrays(reference, estimate, self.model_rate).moslqo)
        except (ValueError, IndexError) as error:  # IndexError: no patch of the reference passes its voice detector
            raise ValueError(f"{self.name}: the clip cannot be scored in mode {self.mode!r}: {error}") from error
