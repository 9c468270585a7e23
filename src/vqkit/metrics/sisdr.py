"""Scale-invariant signal-to-distortion ratio of waveforms.

Conventions:
    The reference is scaled to fit the estimate best, so that a wrong gain costs nothing; delay and phase do.

Metrics:
    :class:`SISDR`, in dB, higher is better.

References:
    Le Roux, Wisdom, Erdogan & Hershey, SDR – half-baked or well done?, ICASSP 2019 (equation 5).
"""

from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float, need

__all__ = ["SISDR"]


class SISDR(ReconstructionMetric):
    """Scale-invariant SDR in dB, computed by torchmetrics and clamped to ± ``cap_db``.

    An estimate equal to its reference is ``cap_db``, also in silence; otherwise silence on either side is −``cap_db``.

    Args:
        zero_mean: subtract the means first.
        cap_db: largest absolute value in dB.

    Raises:
        ValueError: ``cap_db`` is not positive.

    Example:
        >>> import torch
        >>> sisdr, reference = SISDR(), torch.randn(1, 1, 100)
        >>> sisdr.update(0.5 * reference, reference)  # only the gain is wrong
        >>> sisdr.compute()
        tensor(100.)
    """

    name = "si_sdr"
    unit = "dB"
    higher_is_better = True
    description = (
        "10·log10(‖αr‖² / ‖αr − e‖²), α = ⟨e, r⟩ / ‖r‖², of the waveforms, clamped to ±cap_db (equal is cap_db, "
        "silence on one side −cap_db); mean over channels, then over clips"
    )

    def __init__(self, zero_mean: bool = False, cap_db: float = 100.0) -> None:
        super().__init__()
        if not cap_db > 0:
            raise ValueError(f"cap_db must be positive, got {cap_db}")
        self.zero_mean, self.cap_db = zero_mean, cap_db
        self._si_sdr = need("torchmetrics.functional.audio", "eval").scale_invariant_signal_distortion_ratio

    @property
    def settings(self) -> dict[str, Any]:
        """Mean and cap."""
        return {"zero_mean": self.zero_mean, "cap_db": self.cap_db}

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """SI-SDR of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            dB.
        """
        value = self._si_sdr(estimate, reference, zero_mean=self.zero_mean).clamp(-self.cap_db, self.cap_db)
        silent = (estimate == 0).all(-1) | (reference == 0).all(-1)  # 0/0, which torchmetrics makes 0 dB
        value = torch.where(silent, -self.cap_db, value)
        return torch.where((estimate == reference).all(-1), self.cap_db, value)
