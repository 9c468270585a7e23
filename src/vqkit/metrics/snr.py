"""Signal-to-noise ratio of waveforms.

Conventions:
    The noise is reference − estimate, sample by sample: delay, gain and phase all count as noise.

Metrics:
    :class:`SNR`, in dB, higher is better.

References:
    None needed: 10·log10 of a ratio of energies.
"""

from typing import Any

from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float

__all__ = ["SNR"]


class SNR(ReconstructionMetric):
    """Signal-to-noise ratio in dB: 10·log10(mean r² / mean (r − e)²) per clip and channel.

    The reference's mean square is floored at ``eps``, so that a silent reference gives a finite number that still
    falls with the noise, and the ratio is clamped to ± ``cap_db``: a perfect reconstruction, also of silence, is
    ``cap_db``.

    Args:
        eps: floor of the reference's mean square; 1e-10 is 100 dB below a full-scale square wave.
        cap_db: largest absolute value in dB.

    Raises:
        ValueError: ``eps`` or ``cap_db`` is not positive.

    Example:
        >>> import torch
        >>> snr, reference = SNR(), torch.ones(1, 1, 100)
        >>> snr.update(0.9 * reference, reference)
        >>> round(snr.compute().item(), 3)
        20.0
    """

    name = "snr"
    unit = "dB"
    higher_is_better = True
    description = (
        "10·log10(max(mean r², eps) / mean (r − e)²) of the waveforms, clamped to ±cap_db (an error of zero is "
        "cap_db); mean over channels, then over clips"
    )

    def __init__(self, eps: float = 1e-10, cap_db: float = 100.0) -> None:
        super().__init__()
        if not eps > 0 or not cap_db > 0:
            raise ValueError(f"eps and cap_db must be positive, got eps={eps}, cap_db={cap_db}")
        self.eps, self.cap_db = eps, cap_db

    @property
    def settings(self) -> dict[str, Any]:
        """Floor and cap."""
        return {"eps": self.eps, "cap_db": self.cap_db}

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """SNR of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            dB.
        """
        signal = reference.square().mean(-1).clamp_min(self.eps)
        noise = (reference - estimate).square().mean(-1)
        return (10 * (signal / noise).log10()).clamp(-self.cap_db, self.cap_db)
