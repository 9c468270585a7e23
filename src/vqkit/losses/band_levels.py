"""Difference of levels in the bands of the ear, in which a loud band counts more than a quiet one."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from vqkit.constants import Constant
from vqkit.erb_bands import erb_bands
from vqkit.losses.windows import WindowedDistance

__all__ = ["BandLevels"]


class BandLevels(WindowedDistance):
    """Mean over windows of  Σ w |log10 P(x̂) − log10 P(x)| / Σ w  with  w = (P(x̂) + P(x))ᵖ;  10 times it are decibels.

    P is the power of a band at a time, the sums go over an item's bands and times, and no gradient goes through w. Distances of spectra
    bin by bin take the mean over all bins: of a pure tone they see next to nothing, since it fills three bins of a thousand, and what a
    codec adds to the empty ones weighs more than the tone itself, so that silence is their optimum. Here the tone is most of the
    weight. The phase plays no part: where it cannot be coded, distances of waveforms and of complex spectra are least at too low a level,
    and this one is least at the right one.

    Args:
        sample_rate: sample rate of the waveforms, in Hz.
        window_samples: windows of the STFT; the hop is a quarter.
        num_bands: triangular bands, evenly spaced on the scale of equivalent rectangular bandwidths (ERB); short windows have fewer, as
            bands without a bin are left out.
        power: p; 0 lets all bands count the same, 1 as much as their power.
        floor: magnitude of what counts as silence; 1e-4 is 80 dB below noise of variance one.
        windows_per_call: number of windows to use in training mode, drawn anew at each call: the same on average, for less time. None uses
            all.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> distance, wav = BandLevels(16000), torch.randn(1, 1, 4000)
        >>> [round(10 * distance(gain * wav, wav).item(), 2) for gain in (1, -1, 2, 0.5)]  # in decibels
        [0.0, 0.0, 6.02, 6.02]

    References:
        Glasberg & Moore, "Derivation of auditory filter shapes from notched-noise data" (1990), eq. 4 (the scale); Zwicker & Fastl,
        "Psychoacoustics" (2007), section 8.7 (specific loudness grows with power to 0.23).
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        window_samples: Sequence[int] = (512, 1024, 2048),
        num_bands: int = 32,
        power: float = 0.25,
        floor: float = 1e-4,
        windows_per_call: int | None = None,
    ) -> None:
        super().__init__(window_samples, windows_per_call)
        if num_bands < 2 or not 0 <= power <= 1 or not floor > 0:
            raise ValueError(
                f"num_bands must be at least 2, power in [0, 1] and floor positive, got {num_bands}, {power} and {floor}"
            )
        self.power, self.floor = power, floor
        self._bands = {
            window: Constant(partial(_bands, sample_rate, window, num_bands)) for window in self.window_samples
        }

    def _features(self, spectra: Tensor, window: int) -> Tensor:
        power = (spectra.real.square() + spectra.imag.square()) / self._energy(window, spectra.device)
        # the floor under the logarithm keeps its gradient finite, and lets silence of both weigh next to nothing
        return self._bands[window].on(spectra.device) @ power + self.floor**2

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        weight = (ours.detach() + theirs.detach()).pow(self.power)
        weight = weight / weight.sum(dim=(1, 2), keepdim=True)
        return (weight * (ours.log10() - theirs.log10()).abs()).sum(dim=(1, 2)).mean()


def _bands(sample_rate: int, window: int, count: int) -> Tensor:
    """The bands (bands, bins) that hold a bin."""
    bands = erb_bands(sample_rate, window // 2 + 1, count)
    return bands[bands.sum(dim=1) > 0]
