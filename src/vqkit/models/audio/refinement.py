"""Refinement: codes that are found by listening to what they decode to.

wav ─ levels matched ─ segments ─ encoder ─ z ─┬─ quantizer ─ codes ─ decoder ─ what it sounds like beside wav ─┐
                                               └──────────────── moved against its gradient, some steps ────────┘

An encoder guesses in one go, for the average sound, what a decoder will make of the nearest codes. Here the latent of this sound
is moved until its codes decode to what is nearest for the ear: analysis by synthesis. The codes stay codes of the same model; nothing
changes for whoever decodes them.

Conventions
    Where a rate is given, the first gradient also says which frames get a stage more or less, see `vqkit.models.audio.stage_choice`.
    Segments are those of `vqkit.models.audio.level_matching`: they lie on a fixed grid, and each is searched with some context on both
    sides, so that a signal in blocks of any sizes gets the codes of the whole. The codes before a segment stay as they are.

References:
    Kroon & Deprettere, "A class of analysis-by-synthesis predictive coders" (1988), section II. The search itself:
    `vqkit.models.audio.latent_search`.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

import torch
from torch import Tensor

from vqkit.counts import check_numbers, check_rate_weight, check_stages
from vqkit.models.audio.latent_search import LatentSearch
from vqkit.models.audio.level_matching import CONTEXT_FRAMES, SEGMENT_FRAMES, LevelMatching
from vqkit.models.audio.stage_choice import StageChoice
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["LatentRefinement"]

_SEARCHED_AROUND = 8  # frames on both sides of a segment: fewer than networks hear, but nothing has to be exact there


class _Codec(Protocol):
    """Interface of `AudioTokenizer` that refinement relies on, beside that of `LevelMatching`."""

    sample_rate: int
    channels: int
    hop_samples: int
    quantizer: Quantizer

    def analyze(self, signal: Tensor, /) -> Float[Tensor, "batch frames dim"]:
        """Latents of waveforms."""

    def synthesize(self, z: Tensor, samples: int | None = None, /, *, gradient: bool = False) -> Tensor:
        """Waveforms of latents."""

    @property
    def frame_rate(self) -> float:
        """Frames a second."""

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Bitrate of the first ``stages`` stages in kbit/s."""

    def for_search(self) -> Self:
        """The codec as a search through its decoder hears it."""

    def encode(self, wav: Tensor, kbps: float | None = None, /) -> Int[Tensor, "batch num_codes frames"]:
        """Codes."""

    def decode(self, codes: Tensor, samples: int | None = None, /) -> Float[Tensor, "batch channels samples"]:
        """Waveforms."""


class LatentRefinement:
    """Codes of a signal in blocks of any sizes, refined by listening to them.

    Args:
        codec: codec in evaluation mode that finds and decodes the codes; what it is made of must have gradients.
        stages: stages that will be kept; all by default.
        steps: steps of gradient descent for each segment; each takes about as long as three decodings.
        level_rounds: rounds of level matching before, see `vqkit.models.audio.level_matching.LevelMatching`.
        rate_weight: λ; every frame keeps only the stages that are worth their bits, as in `AudioTokenizer.encode`.
        kbps: rate that a file has on average, with the numbers of stages and before entropy coding: frames may have one stage more or less
            than ``stages``, where the codec's files can say so. Without it, or with ``rate_weight``, all have as many.

    Attributes:
        stages: stages of the codes.
        variable_stages: whether a frame may have fewer, with −1 behind them.

    Raises:
        ValueError: steps is no integer in 0 … 1000, level_rounds none in 0 … 16, a codec below 4000 Hz, or one whose quantizer codes
            several frames together.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import SpectralCodec
        >>> codec = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval()
        >>> refinement, wav = LatentRefinement(codec, steps=2), 0.1 * torch.randn(1, 80000)
        >>> codes = torch.cat([refinement.push(wav[:, :70001]), refinement.push(wav[:, 70001:]), refinement.finish()])
        >>> codes.shape, torch.equal(codes, LatentRefinement(codec, steps=2).whole(wav))
        (torch.Size([250, 4]), True)
    """

    def __init__(
        self,
        codec: _Codec,
        stages: int | None = None,
        steps: int = 3,
        level_rounds: int = 0,
        rate_weight: float | None = None,
        kbps: float | None = None,
    ) -> None:
        check_numbers(kbps=kbps)
        check_rate_weight(rate_weight)
        if codec.quantizer.block != 1:
            raise ValueError("codes of several scales cannot be refined: refine_steps must be 0")
        codec = codec.for_search()
        self._codec, self._search = codec, LatentSearch(codec, steps)
        self._choice: StageChoice | None = None
        if kbps is not None and rate_weight is None and steps:
            self._choice = StageChoice.at_rate(codec, kbps)
        most = codec.quantizer.num_stages
        self.stages = most if stages is None else check_stages(stages, most, "this codec")
        self.stages = self.stages if self._choice is None else self._choice.most
        self.variable_stages = rate_weight is not None or self._choice is not None
        self._rate_weight = rate_weight
        self._matching = LevelMatching(codec, stages, level_rounds)
        empty = torch.zeros(codec.channels, 0, dtype=torch.float32)
        self._goal, self._start = empty, empty  # from the context of the next segment on
        self._before: Tensor | None = None  # quantized latents (1, frames, dim) of that context

    @torch.no_grad()
    def push(self, wav: Float[Tensor, "channels samples"]) -> Int[Tensor, "frames num_codes"]:
        """Take the next samples at the codec's rate, and give the codes that are determined, on the CPU."""
        wav = wav.detach().float().cpu()
        self._goal = torch.cat([self._goal, wav], dim=-1)
        self._start = torch.cat([self._start, self._matching.push(wav)], dim=-1)
        needed = (SEGMENT_FRAMES + CONTEXT_FRAMES) * self._codec.hop_samples
        found = []
        while self._start.shape[-1] >= self._context * self._codec.hop_samples + needed:
            found.append(self._segment(SEGMENT_FRAMES))
        return torch.cat(found) if found else self._no_codes()

    @torch.no_grad()
    def finish(self) -> Int[Tensor, "frames num_codes"]:
        """The codes of the rest."""
        rest = self._matching.finish()
        if self._matching.rounds:
            self._start = torch.cat([self._start, rest], dim=-1)
        frames = -(-self._start.shape[-1] // self._codec.hop_samples) - self._context
        return self._segment(frames) if frames > 0 else self._no_codes()

    def through(self, blocks: Iterable[Float[Tensor, "channels _"]]) -> Iterator[Int[Tensor, "frames num_codes"]]:
        """A signal's blocks through `push` and `finish`."""
        for block in blocks:
            yield self.push(block)
        yield self.finish()

    def whole(self, wav: Float[Tensor, "channels samples"]) -> Int[Tensor, "frames num_codes"]:
        """The codes of a whole signal."""
        return torch.cat(list(self.through([wav])))

    @property
    def _context(self) -> int:
        """Frames at the start of what is held whose codes are given already."""
        return 0 if self._before is None else self._before.shape[1]

    def _no_codes(self) -> Tensor:
        return torch.zeros(0, self._num_codes, dtype=torch.long)

    @property
    def _num_codes(self) -> int:
        return self._codec.quantizer.stage_ends[self.stages - 1]

    def _segment(self, frames: int) -> Tensor:
        """Find the codes of the next frames."""
        hop, context = self._codec.hop_samples, self._context
        stop = (context + frames + CONTEXT_FRAMES) * hop
        goal, start = self._goal[:, :stop], self._start[:, :stop]
        latent = self._codec.analyze(start[None])
        first, last = max(0, context - _SEARCHED_AROUND), context + frames + _SEARCHED_AROUND
        before = None if self._before is None else self._before[:, first:]
        heard, new = goal[None, :, first * hop : last * hop], slice(context - first, context - first + frames)
        moved, codes = self._search(latent[:, first:last], heard, self.stages, before, self._choice, new)
        quantizer = self._codec.quantizer
        if self._rate_weight is not None:
            codes = quantizer.encode(moved, rate_weight=self._rate_weight, stages=self.stages)
        codes = codes[:, new]
        known = quantizer.decode(codes)
        known = known if self._before is None else torch.cat([self._before, known], dim=1)
        self._before = known[:, -CONTEXT_FRAMES:]
        done = (context + frames - self._before.shape[1]) * hop
        self._goal, self._start = self._goal[:, done:], self._start[:, done:]
        return codes[0].cpu()
