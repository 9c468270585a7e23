"""A filter that makes voices as periodic as they were: what lies between the harmonics of decoded speech is mostly noise.

    wav ─┬─ period of each frame
         ├─ spectra of a frame, and of what lies one and two periods before and after it ─┬─ levels, likeness ─ network ─ gains ─┐
         │                                                                                └─────────────── sum by these gains ───┤
         └───────────────────────────────────────────────────────────────────────────────────────────────────────────────────── + ─ wav

A codec of few bits quantizes each frame by itself, and its errors differ from frame to frame where the voice does not. Adding a period
before and one after (a comb filter) keeps the voice and averages the errors. How much of it is good differs by band and by frame, which a
small network tells from how alike the periods are.

References:
    Chen & Gersho, "Adaptive postfiltering for quality enhancement of coded speech" (1995), section III (the comb filter); Valin et al.,
    "A perceptually-motivated approach for low-complexity, real-time enhancement of fullband speech" (2020), arXiv:2008.04259, section 3
    (its strength by bands, told by a network); Büthe et al., "LACE: a light-weight, causal model for enhancing coded speech through
    adaptive convolutions" (2023), arXiv:2307.06610 (behind a speech codec); Boersma, "Accurate short-term analysis of the fundamental
    frequency and the harmonics-to-noise ratio of a sampled sound" (1993), eq. 9 and 26 (the period).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.constants import Constant
from vqkit.erb_bands import erb_bands
from vqkit.nn.convnext import ConvNeXtBlock
from vqkit.nn.lapped_spectrum import LappedSynthesis, lapped_basis
from vqkit.nn.streaming_context import StreamingContext
from vqkit.nn.wide import no_autocast, wide
from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float, Int

__all__ = ["PeriodFinder", "PitchFilter"]

_HOP_SECONDS = 0.01
_SHORTEST, _LONGEST = 0.002, 0.02  # periods in seconds: voices of 50 to 500 Hz
_HEARD_SECONDS = 0.064  # of which a period is told: three of the longest
_OCTAVE_COST = 0.05  # twice a period is a period too: of what is equally alike the shortest counts
_PERIODS = (-2, -1, 1, 2)
_BANDS = 28
_KERNEL = 7  # of the blocks
_MOST_PASSES = 4  # streams wait for all of them
_HIGHEST_RATE = 192_000  # in Hz; tables grow with its square, and no weight of a stranger's file would show it
_TINY = 1e-9  # power, below that of one step of 16 bits


class PeriodFinder(nn.Module):
    """The period of each frame: where the autocorrelation, over that of the window, is highest.

    Args:
        sample_rate: sample rate, in Hz.

    Example:
        >>> finder, wav = PeriodFinder(16000), (torch.arange(1024) * 2 * math.pi * 200 / 16000).sin()
        >>> period, alike = finder(wav[None])
        >>> period.item(), round(alike.item(), 2)
        (80, 1.0)
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.shortest, self.longest = round(_SHORTEST * sample_rate), round(_LONGEST * sample_rate)
        self.samples = 2 * round(_HEARD_SECONDS * sample_rate / 2)
        self._size = 1 << (self.samples + self.longest - 1).bit_length()  # no lag meets the signal's other end
        self._window = Constant(lambda: torch.hann_window(self.samples))
        self._alone = Constant(self._autocorrelation_of_window)
        self._cost = Constant(lambda: _OCTAVE_COST * torch.log2(self._lags() / self.shortest))

    def forward(self, frames: Float[Tensor, "*shape samples"]) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Periods in samples, and how alike a frame is to itself a period later: 1 where it repeats."""
        windowed = frames * self._window.on(frames.device, frames.dtype)
        power = self._power(windowed) if takes_fast_paths(frames) else self._power_by_matrix(windowed)
        energy = windowed.square().sum(dim=-1, keepdim=True) + self.samples * _TINY
        alike = power / (energy * self._alone.on(frames.device, frames.dtype))
        period = (alike - self._cost.on(frames.device, frames.dtype)).argmax(dim=-1, keepdim=True)
        return period.squeeze(-1) + self.shortest, alike.gather(-1, period).squeeze(-1)

    def _power(self, windowed: Tensor) -> Tensor:
        """Autocorrelation at the lags that may be a period, by the fast transform."""
        spectra = torch.fft.rfft(windowed, n=self._size)
        power = spectra.real.square() + spectra.imag.square()
        return torch.fft.irfft(power, n=self._size)[..., self.shortest : self.longest + 1]

    def _power_by_matrix(self, windowed: Tensor) -> Tensor:
        """The same by matrices, for graphs; they are computed anew, since they are large and whoever is not traced needs none."""
        device = windowed.device
        bins = torch.arange(self._size // 2 + 1, device=device)
        lags = torch.arange(self.shortest, self.longest + 1, device=device)
        steps = torch.arange(self.samples, device=device).unsqueeze(-1) * bins
        real, imaginary = (
            windowed @ self._cosine(turned, windowed.dtype) for turned in (steps, steps - self._size // 4)
        )
        # all bins but the first and the last stand for two frequencies
        weight = 2 - ((bins == 0) | (bins == self._size // 2)).to(windowed.dtype)
        power = (real.square() + imaginary.square()) * weight
        return power @ self._cosine(bins.unsqueeze(-1) * lags, windowed.dtype) / self._size

    def _cosine(self, steps: Tensor, dtype: torch.dtype) -> Tensor:
        """Cosines of whole numbers of steps, of which the transform's size makes a turn."""
        return (2 * math.pi / self._size * (steps % self._size).to(dtype)).cos()

    def _lags(self) -> Tensor:
        return torch.arange(self.shortest, self.longest + 1)

    def _autocorrelation_of_window(self) -> Tensor:
        found = self._power(torch.hann_window(self.samples, dtype=torch.float64))
        return (found / torch.hann_window(self.samples, dtype=torch.float64).square().sum()).float()


class PitchFilter(nn.Module):
    """Waveforms → waveforms of the same length, in which voices are cleaner; at the start they stay as they are.

    Args:
        sample_rate: sample rate of the waveforms, in Hz.
        width: channels of the blocks.
        blocks: number of blocks.
        passes: times that a waveform goes through, 1 to 4. A second pass finds cleaner periods beside each frame.

    Attributes:
        reach_samples: samples on both sides that a sample depends on, at most.
        hop_samples: samples a frame.

    Raises:
        ValueError: a sample rate below 2000 or above 192,000 Hz, or passes out of range.

    Example:
        >>> wav = torch.randn(2, 1, 1600)
        >>> torch.equal(PitchFilter(16000, 16)(wav), wav)
        True
    """

    def __init__(self, sample_rate: int, width: int = 64, blocks: int = 2, passes: int = 1) -> None:
        super().__init__()
        self.passes = check_passes(passes)
        if not 2000 <= sample_rate <= _HIGHEST_RATE:
            raise ValueError(
                f"a pitch filter needs a sample rate of at least 2000 Hz and at most {_HIGHEST_RATE}, got {sample_rate}"
            )
        self.hop_samples = hop = 2 * round(_HOP_SECONDS * sample_rate / 2)
        self.finder = PeriodFinder(sample_rate)
        self._bands = Constant(lambda: _bands(sample_rate, hop + 1))
        self._basis = Constant(lambda: lapped_basis(hop).T)
        self.synthesis = LappedSynthesis(hop)
        bands, terms = len(self._bands.value), 1 + len(_PERIODS)
        self.enter = nn.Linear(terms * bands + 2, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(width, kernel=_KERNEL) for _ in range(blocks)])
        self.last_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, terms * bands)
        with torch.no_grad():
            self.leave.weight.zero_()
            self.leave.bias.zero_()
        self._behind = max(self.finder.samples // 2, hop + max(_PERIODS) * self.finder.longest)  # of a frame's middle
        frames = 1 + blocks * (_KERNEL // 2)  # of those that overlap a sample, and what their gains depend on
        self.reach_samples = passes * (frames * hop + self._behind)

    def forward(self, wav: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch channels samples"]:
        """The filtered waveforms, in the dtype of ``wav`` or float32 at least."""
        for _ in range(self.passes):
            wav = self._filtered(wide(wav))
        return wav

    def streaming(self) -> StreamingContext:
        """The same in blocks, with the weights of now."""
        return StreamingContext(self, self.reach_samples, self.hop_samples)

    def _filtered(self, wav: Tensor) -> Tensor:
        rows = wav.flatten(end_dim=1)
        with no_autocast(wav.device):
            spectra, features = self._heard(rows)
        hidden = self.norm(self.enter(features.to(self.enter.weight.dtype))).transpose(1, 2)
        gains = self.leave(self.last_norm(self.blocks(hidden).transpose(1, 2)))
        with no_autocast(wav.device):
            bands = self._bands.on(wav.device, rows.dtype)
            # (rows, frames, terms, 1, bins): real and imaginary parts have the same
            gains = (wide(gains).to(rows.dtype).unflatten(-1, (-1, bands.shape[0])) @ bands).unsqueeze(-2)
            change = (gains * spectra.unflatten(-1, (2, -1))).sum(dim=2).flatten(-2)
            made = self.synthesis(change.transpose(1, 2))[..., : rows.shape[-1]]
        return wav + made.reshape(wav.shape)

    def _heard(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra (rows, frames, terms, coefficients) of frames and of whole periods beside them, and what the network hears."""
        hop, behind = self.hop_samples, self._behind
        count = (rows.shape[-1] + hop - 1) // hop
        # frame t has its middle at (t + ½) hop; all of its neighbourhood lies between `behind` before and after
        padded = functional.pad(rows, (behind - hop // 2, behind + count * hop - hop // 2 - rows.shape[-1]))
        around = padded.unfold(-1, 2 * behind, hop)
        half = self.finder.samples // 2
        with torch.no_grad():  # a period is a whole number
            period, alike = self.finder(around[..., behind - half : behind + half])
        steps = torch.tensor((0, *_PERIODS), device=rows.device)
        begin = behind - hop + steps * period.unsqueeze(-1)
        places = begin.unsqueeze(-1) + torch.arange(2 * hop, device=rows.device)
        cut = around.unsqueeze(2).expand(-1, -1, len(steps), -1).gather(-1, places)
        spectra = cut @ self._basis.on(rows.device, rows.dtype)
        with torch.no_grad():
            bands = self._bands.on(rows.device, rows.dtype).T
            parts = spectra.unflatten(-1, (2, -1))
            # a floor beside what is added: without it onnxruntime made 0 of silence, and NaN of what is divided by it
            power = (parts.square().sum(dim=-2) @ bands + _TINY).clamp_min(_TINY)
            shared = (parts[:, :, :1] * parts[:, :, 1:]).sum(dim=-2) @ bands
            likeness = shared * (power[:, :, :1] * power[:, :, 1:]).rsqrt()
            level = 0.5 * power[:, :, :1].log10() + 1
            # cast first: the quotient of whole numbers would have the default dtype
            octave = (period.to(rows.dtype) / self.finder.shortest).log2() - 1
            features = torch.cat([level, likeness], dim=2).flatten(2)
        return spectra, torch.cat([features, alike.unsqueeze(-1), octave.unsqueeze(-1)], dim=-1)


def _bands(sample_rate: int, bins: int) -> Tensor:
    """Triangular bands (bands, bins) that sum to one in each bin."""
    bands = erb_bands(sample_rate, bins, _BANDS)
    return bands[bands.sum(dim=1) > 0]


def check_passes(passes: int) -> int:
    """The number of passes, if it is one that a filter takes."""
    if not 1 <= passes <= _MOST_PASSES:
        raise ValueError(f"passes of a pitch filter must be 1 to {_MOST_PASSES}, got {passes}")
    return passes
