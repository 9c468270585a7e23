"""Level matching: changes of a waveform before it is encoded, so that the decoded one has the levels of the original.

wav ─ segments ─┬─ gains ─ encode ─ decode ─ levels of bands beside the original's ─┐
                │    └──────────────── a few rounds ───────────────────────────────┘
                └─ spectra × gains ─ overlap-add ─ wav to encode

A codec makes too quiet what it cannot predict: pure tones, noise, onsets. Here the encoder listens to the decoder, as in analysis by
synthesis, and turns up what came out too quiet. The codes stay codes of the same model: nothing changes for whoever decodes them.

Conventions
    A frame is a window of the lapped spectrum, `_FRAME_SECONDS` from the next. Gains are log10 of powers, one a band and frame; they are
    found segment by segment on a fixed grid, so that a signal in blocks of any sizes gets the gains of the whole.

References:
    Kroon & Deprettere, "A class of analysis-by-synthesis predictive coders for high quality speech coding at rates between 4.8 and
    16 kbit/s" (1988), section II (the encoder searches for what decodes best); Glasberg & Moore (1990), eq. 4 (the bands' scale).
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.erb_bands import erb_bands
from vqkit.models.input_checks import check_count
from vqkit.nn.lapped_spectrum import LappedAnalysis, LappedSynthesis
from vqkit.types import Float, Int

__all__ = ["CONTEXT_FRAMES", "SEGMENT_FRAMES", "LevelMatching", "check_level_rounds", "match_levels"]

_FRAME_SECONDS = 0.02
SEGMENT_FRAMES, CONTEXT_FRAMES = 200, 20  # of a segment, and of what the codec hears before and after it
_LOUD_FRAMES = 75  # before and after a frame, among which the loudest band is found, however long a segment is
_BANDS = 24
_STEP = 0.7  # of a difference in level that a round makes up for; all of it overshoots
_MOST = 1.8  # 18 dB either way
_FLOOR = 1e-7  # power of what is silence
_HEARD = 1e-3  # share of the power of the loudest band around; what is more than 30 dB below it stays as it is
_MOST_ROUNDS = 16
_PEAK = 10.0  # what a codec takes, see `vqkit.models.input_checks`


class _Codec(Protocol):
    sample_rate: int

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Return the bitrate of the first ``stages`` stages in kbit/s."""

    def encode(self, wav: Tensor, kbps: float | None = None, /) -> Int[Tensor, "batch num_codes frames"]:
        """Codes."""

    def decode(self, codes: Tensor, samples: int | None = None, /) -> Float[Tensor, "batch channels samples"]:
        """Waveforms."""


class LevelMatching:
    """A signal in blocks of any sizes, changed so that its decoded levels are right.

    Args:
        codec: codec that will encode the result.
        stages: stages that will be kept; all by default.
        rounds: how often each segment is encoded and decoded; more bring the levels closer. 0 changes nothing.

    Attributes:
        rounds: as given.

    Raises:
        ValueError: rounds is no integer in 0 … 16.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import SpectralCodec
        >>> codec = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval()
        >>> matching, wav = LevelMatching(codec, rounds=1), 0.1 * torch.randn(1, 50000)
        >>> whole = torch.cat([matching.push(wav[:, :20000]), matching.push(wav[:, 20000:]), matching.finish()], dim=-1)
        >>> whole.shape, torch.equal(whole, match_levels(codec, wav, rounds=1))
        (torch.Size([1, 50000]), True)
    """

    def __init__(self, codec: _Codec, stages: int | None = None, rounds: int = 3) -> None:
        self._codec, self.rounds = codec, check_level_rounds(rounds)
        if not rounds:
            return
        self._kbps = codec.bitrate_kbps(stages)
        self._hop = max(2, round(_FRAME_SECONDS * codec.sample_rate / 2) * 2)
        self._lapped, self._overlap_add = LappedAnalysis(self._hop), LappedSynthesis(self._hop)
        self._analysis, self._synthesis = self._lapped.streaming(), self._overlap_add.streaming()
        self._bands = erb_bands(codec.sample_rate, self._hop + 1, _BANDS)
        self._heard: Tensor | None = None  # from the context of the next segment on
        self._context = 0  # samples of it that belong to the last segments
        self._waiting: Tensor | None = None  # gains of frames whose spectra come later
        self._samples = self._given = 0

    @torch.no_grad()
    def push(self, wav: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels _"]:
        """Take the next samples at the codec's rate, and give those that are determined, float32 on the CPU."""
        if not self.rounds:
            return wav
        wav = wav.detach().float().cpu()
        self._heard = wav if self._heard is None else torch.cat([self._heard, wav], dim=-1)
        self._samples += wav.shape[-1]
        needed = (SEGMENT_FRAMES + CONTEXT_FRAMES) * self._hop
        made = [wav[:, :0]]
        while self._heard.shape[-1] >= self._context + needed:
            made.append(self._segment(SEGMENT_FRAMES * self._hop, last=False))
        self._given += sum(part.shape[-1] for part in made)
        return torch.cat(made, dim=-1)

    @torch.no_grad()
    def finish(self) -> Float[Tensor, "channels _"]:
        """The rest."""
        if not self.rounds or self._heard is None:
            return torch.zeros(1, 0, dtype=torch.float32)
        made = self._segment(self._heard.shape[-1] - self._context, last=True)
        return made[:, : self._samples - self._given]

    def through(self, blocks: Iterable[Float[Tensor, "channels _"]]) -> Iterator[Float[Tensor, "channels _"]]:
        """A signal's blocks through `push` and `finish`."""
        for block in blocks:
            yield self.push(block)
        yield self.finish()

    def _segment(self, size: int, last: bool) -> Tensor:
        """Find the gains of the next samples, and give what they determine."""
        assert self._heard is not None
        begin = self._context
        around = self._heard[:, : begin + size + CONTEXT_FRAMES * self._hop]
        frames = -(-size // self._hop)
        first = begin // self._hop
        gains = self._gains(around)[..., first : first + frames]
        core = functional.pad(self._heard[:, begin : begin + size], (0, frames * self._hop - size))
        # each channel is an item of its own; the stream's last frame needs samples of the next segment, its gains wait for it
        spectra = self._analysis.push(core[:, None], last)
        kept = begin + size - min(begin + size, CONTEXT_FRAMES * self._hop)
        self._heard, self._context = self._heard[:, kept:], begin + size - kept
        gains = gains if self._waiting is None else torch.cat([self._waiting, gains], dim=-1)
        using, self._waiting = gains[..., : spectra.shape[-1]], gains[..., spectra.shape[-1] :]
        return self._synthesis.push(spectra * using, last)[:, 0].clamp(-_PEAK, _PEAK)

    def _gains(self, wav: Tensor) -> Tensor:
        """Factors of the real and imaginary parts (channels, coefficients, frames) for a segment and what is around it."""
        spectra = self._lapped(wav[:, None])
        goal = self._levels(spectra)
        # in one pooling over bands and time; what lies beyond the ends counts as silence
        loudest = functional.max_pool2d(
            goal, (goal.shape[-2], 2 * _LOUD_FRAMES + 1), stride=1, padding=(0, _LOUD_FRAMES)
        )
        gains = torch.zeros_like(goal)
        if not bool((loudest > _FLOOR).any()):
            return self._factors(gains)
        audible = (goal > loudest * _HEARD) & (goal > _FLOOR)
        changed = wav
        for _ in range(self.rounds):
            decoded = self._codec.decode(self._codec.encode(changed[None], self._kbps), wav.shape[-1])[0].float().cpu()
            missing = (goal + _FLOOR).log10() - (self._levels(self._lapped(decoded[:, None])) + _FLOOR).log10()
            gains = (gains + _STEP * missing * audible).clamp(-_MOST, _MOST)
            changed = self._overlap_add(spectra * self._factors(gains))[:, 0, : wav.shape[-1]].clamp(-_PEAK, _PEAK)
        return self._factors(gains)

    def _levels(self, spectra: Tensor) -> Tensor:
        """Power of the bands (channels, bands, frames)."""
        return self._bands @ spectra.unflatten(1, (2, -1)).square().sum(dim=1)

    def _factors(self, gains: Tensor) -> Tensor:
        return (self._bands.T @ (10 ** (gains / 2))).repeat(1, 2, 1)


def match_levels(
    codec: _Codec, wav: Float[Tensor, "channels samples"], stages: int | None = None, rounds: int = 3
) -> Float[Tensor, "channels samples"]:
    """A whole signal at the codec's rate through `LevelMatching`: arguments and errors as there."""
    matching = LevelMatching(codec, stages, rounds)
    return wav if not rounds else torch.cat([matching.push(wav), matching.finish()], dim=-1)


def check_level_rounds(rounds: int) -> int:
    """The number of rounds.

    Raises:
        ValueError: no integer in 0 … 16.
    """
    return check_count("level_rounds", rounds, _MOST_ROUNDS)
