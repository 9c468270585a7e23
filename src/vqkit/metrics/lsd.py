"""Log-spectral distance.

Conventions:
    The logarithm is log10 of the power, without the factor 10: a distance of 1 is a factor 10 in power, that is 10 dB.

Metrics:
    :class:`LSD`, lower is better.

References:
    Gray & Markel, Distance measures for speech processing, IEEE Trans. ASSP 24(5), 1976 (the L2 log-spectral distance).
"""

from typing import Any

from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.spectrum import magnitudes, min_samples
from vqkit.types import Float

__all__ = ["LSD"]


class LSD(ReconstructionMetric):
    """Log-spectral distance: root mean square over frequency of log10 P_e − log10 P_r, mean over frames.

    Args:
        window_samples: Hann window and transform.
        hop_samples: distance of the frames.
        eps: floor of the power |STFT|². The default is just below what rounding to 16 bits leaves in a bin of a 2048
            window (6e-8), so that digital silence and 16-bit silence are alike.

    Raises:
        ValueError: a parameter is not positive.

    Example:
        >>> import torch
        >>> lsd, reference = LSD(), torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
        >>> lsd.update(0.1 * reference, reference)  # 20 dB down everywhere
        >>> round(lsd.compute().item(), 3)
        2.0
    """

    name = "lsd"
    unit = ""
    higher_is_better = False
    description = (
        "root mean square over frequency bins of log10 max(|E|², eps) − log10 max(|R|², eps), centred Hann STFT, no "
        "factor 10; mean over frames, channels, then clips"
    )

    def __init__(self, window_samples: int = 2048, hop_samples: int = 512, eps: float = 1e-8) -> None:
        super().__init__()
        for label, value in (("window_samples", window_samples), ("hop_samples", hop_samples), ("eps", eps)):
            if not value > 0:
                raise ValueError(f"{label} must be positive, got {value}")
        self.window_samples, self.hop_samples, self.eps = window_samples, hop_samples, eps

    @property
    def settings(self) -> dict[str, Any]:
        """Window, hop and floor."""
        return {"window_samples": self.window_samples, "hop_samples": self.hop_samples, "eps": self.eps}

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return min_samples(self.window_samples)

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """LSD of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            Mean over frames.
        """
        difference = self._log_power(estimate) - self._log_power(reference)
        return difference.square().mean(-2).sqrt().mean(-1)

    def _log_power(self, waveform: Tensor) -> Tensor:
        power = magnitudes(waveform, self.window_samples, self.hop_samples).square()
        return power.clamp_min(self.eps).log10()
