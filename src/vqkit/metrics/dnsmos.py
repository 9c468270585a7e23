"""DNSMOS: opinion scores of speech predicted without a reference.

Conventions:
    MOS, 1 to 5, of the *estimate*; the reference is not looked at. Pass the reference as the estimate for its own
    score, with which a codec's is to be compared. Samples are clamped to [−1, 1]; a clip shorter than 9.01 s
    is repeated.

Metrics:
    :class:`DNSMOS`, higher is better.

References:
    Reddy, Gopal & Cutler, DNSMOS P.835, ICASSP 2022 (sig, bak, ovrl), and DNSMOS, ICASSP 2021 (p808); computed by the
    package ``speechmos``, whose networks are in the package.
"""

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.perceptual import resample
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float, need

__all__ = ["DNSMOS"]

_SCORES = ("ovrl", "sig", "bak", "p808")
_RATE = 16000


class DNSMOS(ReconstructionMetric):
    """DNSMOS of the estimate, no reference needed (one is taken, to be fed as the other metrics are).

    Args:
        sample_rate: sample rate of the waveforms in Hz; resampled to 16 kHz.
        score: ``"ovrl"`` overall, ``"sig"`` of the speech, ``"bak"`` of the background (all P.835), or ``"p808"``.

    Raises:
        ValueError: there is no such score.
        ImportError: the package ``speechmos`` is not installed.
    """

    name = "dnsmos"
    unit = "MOS"
    higher_is_better = True
    description = (
        "DNSMOS of the estimate alone at 16 kHz, channel by channel, windows of 9.01 s every second (shorter clips are "
        "repeated); mean over windows, channels, then clips"
    )

    def __init__(self, sample_rate: int, score: str = "ovrl") -> None:
        super().__init__(sample_rate)
        if score not in _SCORES:
            raise ValueError(f"score must be one of {', '.join(_SCORES)}, got {score!r}")
        self.score = score
        self._dnsmos = need("speechmos.dnsmos", "perceptual")

    @property
    def settings(self) -> dict[str, Any]:
        """Score, rates and package."""
        return {
            "sample_rate": self.sample_rate,
            "model_rate": _RATE,
            "score": self.score,
            "package": f"speechmos {version('speechmos')}",
        }

    @property
    def min_samples(self) -> int:
        """Shortest clip in samples: a quarter of a second, less is mostly repetition."""
        assert self.sample_rate is not None
        return self.sample_rate // 4

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Score each channel of the estimate.

        Args:
            estimate: reconstructed waveform.
            reference: not used.

        Returns:
            One score per channel.
        """
        assert self.sample_rate is not None
        channels = resample(estimate, self.sample_rate, _RATE).clip(-1.0, 1.0)
        scores = [float(self._dnsmos.run(channel, _RATE)[f"{self.score}_mos"]) for channel in channels]
        return torch.tensor(scores, dtype=torch.float64)
