"""Distance of complex spectra at several time resolutions, with the ear's compression of level."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vqkit.losses.windows import WindowedDistance

__all__ = ["CompressedSpectra"]


class CompressedSpectra(WindowedDistance):
    """Mean over windows of  (1 − phase_weight) · mean | |X|ᵖ − |Y|ᵖ |  +  phase_weight · mean | |X|ᵖ e^{i∠X} − |Y|ᵖ e^{i∠Y} |.

    The first term hears levels, the second also whether the waves coincide. The power p lets quiet partials count, which the distance of
    waveforms passes over, and unlike a logarithm it does not let silence count most.

    Args:
        window_samples: windows of the STFT; the hop is a quarter.
        power: p, 1 for no compression.
        phase_weight: weight of the phase, in [0, 1].
        floor: magnitude below which the compression flattens; noise of variance one has about one.
        windows_per_call: number of windows to use in training mode, drawn anew at each call: the same on average, for less time. None uses
            all.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> distance, wav = CompressedSpectra(phase_weight=0.0), torch.randn(1, 1, 4000)
        >>> distance(wav, wav).item() < distance(-wav, wav).item() + 1e-6 < 1e-3  # without phase, a sign is nothing
        True

    References:
        Wilson et al., "Exploring tradeoffs in models for low-latency speech enhancement" (2018), section 3; Braun & Tashev, "Data
        augmentation and loss normalization for deep noise suppression" (2020), arXiv:2008.06412, eq. 4 (power 0.3, phase weight 0.3).
    """

    def __init__(
        self,
        *,
        window_samples: Sequence[int] = (128, 256, 512, 1024, 2048),
        power: float = 0.3,
        phase_weight: float = 0.5,
        floor: float = 1e-4,
        windows_per_call: int | None = None,
    ) -> None:
        super().__init__(window_samples, windows_per_call)
        if not 0 < power <= 1 or not 0 <= phase_weight <= 1 or not floor > 0:
            raise ValueError(
                f"power must be in (0, 1], phase_weight in [0, 1] and floor positive, got {power}, {phase_weight} and {floor}"
            )
        self.power, self.phase_weight, self.floor = power, phase_weight, floor

    def _features(self, spectra: Tensor, window: int) -> Tensor:
        return torch.view_as_real(spectra) * self._energy(window, spectra.device).rsqrt()

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        distance = ours.new_zeros(())
        squares = [parts.square().sum(dim=-1) + self.floor**2 for parts in (ours, theirs)]
        if self.phase_weight < 1:
            level, goal = (square.pow(self.power / 2) for square in squares)
            distance = distance + (1 - self.phase_weight) * (level - goal).abs().mean()
        if self.phase_weight > 0:
            gains = [square.pow((self.power - 1) / 2)[..., None] for square in squares]
            # the floor keeps the root's gradient finite where both are the same
            apart = ((ours * gains[0] - theirs * gains[1]).square().sum(dim=-1) + self.floor**2).sqrt() - self.floor
            distance = distance + self.phase_weight * apart.mean()
        return distance
