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

    def _distance(self, pair: Tensor, window: int) -> Tensor:
        spectrum, energy = self._spectrum(pair, window)
        real, imaginary = (part / energy.sqrt() for part in (spectrum.real, spectrum.imag))
        square = real.square() + imaginary.square() + self.floor**2
        distance = pair.new_zeros(())
        if self.phase_weight < 1:
            ours, theirs = square.pow(self.power / 2).chunk(2)
            distance = distance + (1 - self.phase_weight) * (ours - theirs).abs().mean()
        if self.phase_weight > 0:
            gain = square.pow((self.power - 1) / 2)
            across, along = (torch.sub(*(part * gain).chunk(2)) for part in (real, imaginary))
            # the floor keeps the root's gradient finite where both are the same
            apart = (across.square() + along.square() + self.floor**2).sqrt() - self.floor
            distance = distance + self.phase_weight * apart.mean()
        return distance
