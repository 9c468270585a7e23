"""Difference of loudness as listeners are disturbed by it, after the model of the ear in PESQ."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.losses.windows import WindowedDistance

__all__ = ["LoudnessDisturbance"]

_WINDOW_SECONDS = 0.032
_LEVEL_DB = 79.0  # sound pressure level at which the reference is heard
_SILENT_DB = -80.0  # level, beside full scale, of a reference that counts as silence
_BARK = 0.5  # width of a band
_EXPONENT = 0.23  # of loudness over power
_SONE_AT = 1e4  # power of a band that makes 1 sone at 1 kHz: 40 dB
_MASKED = 0.25  # share of the lesser loudness below which a difference is not heard
_SEGMENT_SECONDS, _SEGMENT_ORDER = 0.32, 6  # the worst frames of about a syllable stand for it
_ADDED = 50.0  # power that is added to both in the ratio of the asymmetric part
_MOST, _BEYOND = (
    45.0,
    0.02,
)  # of a frame's disturbance, and the slope above, where PESQ has none: there would be no gradient
_TINY = 1e-8


class LoudnessDisturbance(WindowedDistance):
    """PESQ's disturbance with a gradient: about the points of its raw scale, where 4.5 is perfect, that an estimate loses.

    In each of the ear's bands power becomes loudness by Zwicker's law; of a difference, what the sound itself masks is forgiven; what was
    added counts more than what is missing (the asymmetric part); quiet frames count a little more than loud ones, and the worst frames
    of a third of a second stand for all of it. Unlike in PESQ the estimate is not given the reference's delay, level or frequency
    response, so that this holds a codec to them. Bands and threshold of hearing come from formulas rather than from the
    recommendation's tables: any sample rate has them.

    This is for training. To report PESQ, use `vqkit.metrics.PESQ`.

    Args:
        sample_rate: sample rate of the waveforms, in Hz.

    Raises:
        ValueError: a sample rate below 4000 Hz.

    Example:
        >>> import torch
        >>> wav = torch.randn(1, 1, 16000, generator=torch.Generator().manual_seed(0))
        >>> distance = LoudnessDisturbance(16000)
        >>> round(distance(wav, wav).item(), 6), round(distance(0.5 * wav, wav).item(), 1), round(distance(2 * wav, wav).item(), 1)
        (0.0, 1.5, 3.5)

    References:
        Beerends, Hekstra, Rix & Hollier, "Perceptual evaluation of speech quality (PESQ), part II: psychoacoustic model" (2002); ITU-T
        recommendation P.862 (2001), section 10.2; Martín-Doñas et al., "A deep learning loss function based on the perceptual evaluation
        of the speech quality" (2018), eq. 7 to 13; Terhardt, "Calculating virtual pitch" (1979), eq. 1 (threshold of hearing); Zwicker &
        Terhardt, "Analytical expressions for critical-band rate and critical bandwidth" (1980), eq. 1 (Bark scale).
    """

    _hops: ClassVar[int] = 2  # in a window, as in the recommendation

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < 4000:
            raise ValueError(f"sample_rate must be at least 4000 Hz, got {sample_rate}")
        window = 4 * round(_WINDOW_SECONDS * sample_rate / 4)
        super().__init__((window,), None)
        self._bands = Constant(partial(_bands, sample_rate, window))
        self._thresholds = Constant(partial(_thresholds, sample_rate))
        self._segment = round(_SEGMENT_SECONDS * sample_rate / (window // self._hops))

    def _features(self, spectra: Tensor, window: int) -> Tensor:
        power = (spectra.real.square() + spectra.imag.square()) * (2 / (window * self._energy(window, spectra.device)))
        return self._bands.on(spectra.device) @ power

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        scale = _to_pressure(theirs)
        ours, theirs, threshold = ours * scale, theirs * scale, self._thresholds.on(ours.device)
        loudness, goal = _loudness(ours, threshold), _loudness(theirs, threshold)
        masked = _MASKED * torch.minimum(loudness, goal).clamp_min(0)
        difference = ((loudness - goal).abs() - masked).clamp_min(0)
        more = ((ours.detach() + _ADDED) / (theirs + _ADDED)) ** 1.2
        added = torch.where(more < 3, 0.0, more.clamp_max(12))
        symmetric = (difference.square().mean(dim=1) + _TINY).sqrt() - _TINY**0.5
        asymmetric = (difference * added).mean(dim=1)
        audible = torch.where(theirs > threshold, theirs, 0.0).sum(dim=1)
        weight = _BARK * len(threshold) * ((audible + 1e5) / 1e7) ** -0.04
        return (0.1 * self._over_time(symmetric * weight) + 0.0309 * self._over_time(asymmetric * weight)).mean()

    def _over_time(self, disturbance: Tensor) -> Tensor:
        """Root mean square of segments, whose values are dominated by their worst frames; (items, frames) → (items,)."""
        disturbance = torch.where(disturbance < _MOST, disturbance, _MOST + _BEYOND * (disturbance - _MOST))
        length = min(self._segment, disturbance.shape[1])
        segments = disturbance.unfold(1, length, max(1, length // 2))
        worst = torch.linalg.vector_norm(segments, _SEGMENT_ORDER, dim=-1) / length ** (1 / _SEGMENT_ORDER)
        return (worst.square().mean(dim=-1) + _TINY).sqrt() - _TINY**0.5


def _to_pressure(bands: Tensor) -> Tensor:
    """Factors (items, 1, 1) that bring the level of what is active to that at which it is heard; 1 is the threshold at 1 kHz."""
    power = bands.sum(dim=1, keepdim=True)
    level = power.square().mean(dim=2, keepdim=True) / power.mean(dim=2, keepdim=True).clamp_min(1e-30)
    return 10 ** (_LEVEL_DB / 10) / level.clamp_min(10 ** (_SILENT_DB / 10))


def _loudness(power: Tensor, threshold: Tensor) -> Tensor:
    """Sones a Bark by Zwicker's law. A little below 0 under the threshold, where PESQ has 0: silence would be without gradient."""
    sone = (0.5 * _SONE_AT) ** -_EXPONENT / _BARK
    return sone * (threshold / 0.5) ** _EXPONENT * ((0.5 + 0.5 * power / threshold) ** _EXPONENT - 1)


def _bark(hertz: Tensor) -> Tensor:
    return 13 * (0.76e-3 * hertz).atan() + 3.5 * (hertz / 7500).square().atan()


def _bands(sample_rate: int, window: int) -> Tensor:
    """Share of each bin in each band (bands, bins); bands touch each other and are half a Bark wide, but for the last."""
    bins = torch.arange(window // 2 + 1, dtype=torch.float64)
    step = sample_rate / window
    low, high = (_bark(((bins + side) * step).clamp(0, sample_rate / 2)) for side in (-0.5, 0.5))
    begin = _BARK * torch.arange(_number_of_bands(sample_rate), dtype=torch.float64)[:, None]
    return ((torch.minimum(high, begin + _BARK) - torch.maximum(low, begin)).clamp_min(0) / (high - low)).float()


def _thresholds(sample_rate: int) -> Tensor:
    """Power of a band that is just heard (bands, 1); no less than 50 Hz is looked at, below which the formula has no meaning."""
    hertz = torch.linspace(50, sample_rate / 2, 8192, dtype=torch.float64)
    places = _BARK * (torch.arange(_number_of_bands(sample_rate), dtype=torch.float64) + 0.5)
    nearest = torch.searchsorted(_bark(hertz), places).clamp_max(len(hertz) - 1)
    kilohertz = hertz[nearest] / 1000
    decibels = 3.64 * kilohertz**-0.8 - 6.5 * (-0.6 * (kilohertz - 3.3).square()).exp() + 1e-3 * kilohertz**4
    return (10 ** (decibels / 10)).float()[:, None]


def _number_of_bands(sample_rate: int) -> int:
    return int(_bark(torch.tensor(sample_rate / 2)).div(_BARK).ceil())
