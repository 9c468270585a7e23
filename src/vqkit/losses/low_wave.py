"""Distance of the waves of two sounds where the ear follows them: of complex spectra below a frequency, beside the sound's own."""

from typing import ClassVar

import torch
from torch import Tensor

from vqkit.losses.windows import WindowedDistance

__all__ = ["LowWave"]

_TINY = 1e-5  # magnitude, where noise of variance one has about one
_SILENT = (
    1e-2  # of the compressed magnitude: what is added to silence is measured by it, 80 dB below noise of variance one
)


class LowWave(WindowedDistance):
    """Σ | |X|ᵖ e^{i∠X} − |Y|ᵖ e^{i∠Y} | / Σ |Y|ᵖ over the bins below a frequency: 0 for the same wave, about 1 for silence.

    The harmonics of a voice below about a kilohertz are told apart by the ear, and noise between them is heard as roughness. Distances of
    levels pass over it where it is as loud as what it replaces, and distances of the whole wave spend themselves on what is loud or cannot
    be followed. The power p lets quiet partials count; beside the reference's own sum, soft sounds count as much as loud ones.

    Args:
        sample_rate: sample rate of the waveforms, in Hz.
        window_samples: windows of the STFT; the hop is a half, as that of `LoudnessDisturbance`, which can share its spectra.
        highest_hz: frequency below which bins count.
        power: p, 1 for no compression.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> distance, wav = LowWave(16000), torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(0))
        >>> [round(distance(gain * wav, wav).item(), 2) for gain in (1, 0, -1)]
        [0.0, 0.99, 1.98]

    References:
        Wilson et al., "Exploring tradeoffs in models for low-latency speech enhancement" (2018), section 3 (compressed complex spectra);
        Plomp, "The ear as a frequency analyzer" (1964) (partials that are told apart).
    """

    _hops: ClassVar[int] = 2  # in a window

    def __init__(
        self,
        sample_rate: int,
        *,
        window_samples: tuple[int, ...] = (512,),
        highest_hz: float = 1000.0,
        power: float = 0.5,
    ) -> None:
        super().__init__(window_samples, None)
        if not 0 < power <= 1 or not 0 < highest_hz <= sample_rate / 2:
            raise ValueError(
                f"power must be in (0, 1] and highest_hz in (0, {sample_rate / 2:g}], got {power} and {highest_hz}"
            )
        self.power = power
        self._bins = {window: int(highest_hz * window / sample_rate) + 1 for window in self.window_samples}

    def _features(self, spectra: Tensor, window: int) -> Tensor:
        parts = torch.view_as_real(spectra[:, : self._bins[window]]) * self._energy(window, spectra.device).rsqrt()
        square = parts.square().sum(dim=-1, keepdim=True) + _TINY**2  # keeps the gradient of silence finite
        return parts * square.pow((self.power - 1) / 2)

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        apart = ((ours - theirs).square().sum(dim=-1) + _TINY**2).sqrt() - _TINY
        own = theirs.square().sum(dim=-1).sqrt() + _SILENT
        return (apart.sum(dim=(1, 2)) / own.sum(dim=(1, 2))).mean()
