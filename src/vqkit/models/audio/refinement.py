"""Refinement: codes that are found by listening to what they decode to.

wav ─ levels matched ─ segments ─ encoder ─ z ─┬─ quantizer ─ codes ─ decoder ─ what it sounds like beside wav ─┐
                                               └──────────────── moved against its gradient, some steps ────────┘

An encoder guesses in one go, for the average sound, what a decoder will make of the nearest codes. Here the latent of this sound
is moved until its codes decode to what is nearest for the ear: analysis by synthesis. The codes stay codes of the same model; nothing
changes for whoever decodes them.

Conventions
    Segments are those of `vqkit.models.audio.level_matching`: they lie on a fixed grid, and each is searched with some context on both
    sides, so that a signal in blocks of any sizes gets the codes of the whole. The codes before a segment stay as they are.

References:
    Kroon & Deprettere, "A class of analysis-by-synthesis predictive coders" (1988), section II; Campos, Meierhans, Djelouah & Schroers,
    "Content adaptive optimization for neural image compression" (2019), arXiv:1906.01223 (a latent moved by gradient); van den Oord,
    Vinyals & Kavukcuoglu, VQ-VAE (2017), arXiv:1711.00937 (the straight-through gradient); Kingma & Ba, "Adam" (2015), arXiv:1412.6980.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.losses import BandLevels, LoudnessDisturbance
from vqkit.models.audio.level_matching import CONTEXT_FRAMES, SEGMENT_FRAMES, LevelMatching
from vqkit.models.input_checks import check_count
from vqkit.quantize import Quantizer
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float, Int

__all__ = ["LatentRefinement", "LatentSearch", "check_refine_steps"]

_RATE, _LAST_RATE = 0.06, 0.012  # of the first and last step, in standard deviations of the latent
_BETAS = (0.5, 0.9)  # of Adam: a few steps have no time for long averages
# of BandLevels beside LoudnessDisturbance: tones stay as loud as they are, and speech gains as well
_LEVEL_WEIGHT, _LEVEL_POWER = 8.0, 0.5
_LEVELS_MAY_LOSE = 0.02  # a fifth of a decibel; a tone that became quieter is not worth what else was gained
_LEVEL_WINDOW_SECONDS = 0.064
_LEAST_SPREAD = 1e-3  # of the latent of silence
_SEARCHED_AROUND = (
    8  # frames on both sides of a segment: fewer than the networks hear, but nothing has to be exact there
)
_MOST_STEPS = 1000


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

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Bitrate of the first ``stages`` stages in kbit/s."""

    def encode(self, wav: Tensor, kbps: float | None = None, /) -> Int[Tensor, "batch num_codes frames"]:
        """Codes."""

    def decode(self, codes: Tensor, samples: int | None = None, /) -> Float[Tensor, "batch channels samples"]:
        """Waveforms."""


class LatentSearch:
    """Latents whose codes decode to what is nearer to the goal for the ear: by loudness as listeners are disturbed, and levels of bands.

    Args:
        codec: codec in evaluation mode; its networks must have gradients.
        steps: steps of gradient descent; each takes about as long as three decodings.

    Raises:
        ValueError: steps is no integer in 0 … 1000, or a codec below 4000 Hz.
    """

    def __init__(self, codec: _Codec, steps: int) -> None:
        self._quantizer, self._frozen = codec.quantizer, _without_weight_gradients(codec)
        self._steps = check_refine_steps(steps)
        window = max(8, 4 * round(_LEVEL_WINDOW_SECONDS * codec.sample_rate / 4))
        self._loudness = LoudnessDisturbance(codec.sample_rate)
        self._levels = BandLevels(codec.sample_rate, window_samples=(window,), power=_LEVEL_POWER)
        self._wide_levels = BandLevels(codec.sample_rate, window_samples=(window,), power=1.0, num_bands=4)
        self._least_samples = 2 * window  # of what the distances look at

    def __call__(
        self,
        latent: Float[Tensor, "batch frames dim"],
        goal: Float[Tensor, "batch channels samples"],
        stages: int | None = None,
        before: Float[Tensor, "batch first_frames dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch frames dim"], Int[Tensor, "batch frames num_codes"]]:
        """The place, of those that the steps led through, whose codes sounded best, with levels of wide bands as right as in the first.

        And these codes.

        Args:
            latent: where the search begins.
            goal: what is to be heard.
            stages: stages that are decoded; all by default.
            before: quantized latents of the first frames, which are given.
        """
        codes = self._quantizer.encode(latent, stages=stages)
        if not self._steps:
            return latent, codes
        latent = latent.float()  # half precision has no room for such steps
        padded = functional.pad(goal, (0, max(0, self._least_samples - goal.shape[-1]))).to(latent)
        best, least, allowed = (latent, codes), float("inf"), float("inf")
        # what an inference mode around made could not take part in gradients
        with torch.inference_mode(False), torch.enable_grad():
            heard, moved = self._heard(padded.clone()), nn.Parameter(latent.clone())
            rate = _RATE * max(float(moved.detach().std(correction=0)), _LEAST_SPREAD)
            adam = _Adam(moved)
            for step in range(self._steps + 1):
                with torch.set_grad_enabled(step < self._steps):
                    made = self._made(moved, codes, goal.shape[-1], before)
                    distance, apart = self._distances(
                        functional.pad(made, (0, padded.shape[-1] - goal.shape[-1])), heard
                    )
                allowed = apart.item() + _LEVELS_MAY_LOSE if step == 0 else allowed
                if distance.item() < least and apart.item() <= allowed:
                    best, least = (moved.detach().clone(), codes), distance.item()
                if step == self._steps:
                    break
                (gradient,) = torch.autograd.grad(distance, moved)
                adam.step(gradient, rate * (_LAST_RATE / _RATE) ** (step / self._steps))
                codes = self._quantizer.encode(moved, stages=stages)
        return best

    def _made(self, moved: Tensor, codes: Tensor, samples: int, before: Tensor | None) -> Tensor:
        """What the codes of a latent decode to, with a gradient as though it were decoded itself."""
        with torch.no_grad():
            quantized = self._quantizer.decode(codes)
            if before is not None:
                quantized = torch.cat([before, quantized[:, before.shape[1] :]], dim=1)
        latent = straight_through(moved, quantized.to(moved))
        return self._frozen.synthesize(latent, samples, gradient=True).float()

    def _heard(self, wav: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What loudness, levels and levels of wide bands are told from; the goal's is computed once."""
        spectra = self._levels.spectra(wav)
        with torch.no_grad():
            wide = self._wide_levels.features(spectra)
        return self._loudness.features(self._loudness.spectra(wav)), self._levels.features(spectra), wide

    def _distances(self, made: Tensor, goal: tuple[list[Tensor], list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """How far a sound is from the goal, and how far its levels in a few wide bands are."""
        loudness, levels, wide = zip(self._heard(made), goal, strict=True)
        distance = self._loudness.between(*loudness) + _LEVEL_WEIGHT * self._levels.between(*levels)
        return distance, self._wide_levels.between(*wide)


class LatentRefinement:
    """Codes of a signal in blocks of any sizes, refined by listening to them.

    Args:
        codec: codec in evaluation mode that finds and decodes the codes; what it is made of must have gradients.
        stages: stages that will be kept; all by default.
        steps: steps of gradient descent for each segment; each takes about as long as three decodings.
        level_rounds: rounds of level matching before, see `vqkit.models.audio.level_matching.LevelMatching`.
        rate_weight: λ; every frame keeps only the stages that are worth their bits, as in `AudioTokenizer.encode`.

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
    ) -> None:
        if codec.quantizer.block != 1:
            raise ValueError("codes of several scales cannot be refined: refine_steps must be 0")
        self._codec, self._search = codec, LatentSearch(codec, steps)
        self._stages, self._rate_weight = stages, rate_weight
        self._matching = LevelMatching(codec, stages, level_rounds)
        empty = torch.zeros(codec.channels, 0)
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
        return self._codec.quantizer.stage_ends[-1 if self._stages is None else self._stages - 1]

    def _segment(self, frames: int) -> Tensor:
        """Find the codes of the next frames."""
        hop, context = self._codec.hop_samples, self._context
        stop = (context + frames + CONTEXT_FRAMES) * hop
        goal, start = self._goal[:, :stop], self._start[:, :stop]
        latent = self._codec.analyze(start[None])
        first, last = max(0, context - _SEARCHED_AROUND), context + frames + _SEARCHED_AROUND
        before = None if self._before is None else self._before[:, first:]
        moved, codes = self._search(
            latent[:, first:last], goal[None, :, first * hop : last * hop], self._stages, before
        )
        quantizer = self._codec.quantizer
        if self._rate_weight is not None:
            codes = quantizer.encode(moved, rate_weight=self._rate_weight, stages=self._stages)
        codes = codes[:, context - first : context - first + frames]
        known = quantizer.decode(codes)
        known = known if self._before is None else torch.cat([self._before, known], dim=1)
        self._before = known[:, -CONTEXT_FRAMES:]
        done = (context + frames - self._before.shape[1]) * hop
        self._goal, self._start = self._goal[:, done:], self._start[:, done:]
        return codes[0].cpu()


class _Adam:
    """Kingma & Ba's algorithm 1 on one tensor: ``torch.optim`` would import PyTorch's compiler, which takes a second at each start."""

    def __init__(self, moved: nn.Parameter) -> None:
        self._moved, self._steps = moved, 0
        self._mean, self._square = torch.zeros_like(moved), torch.zeros_like(moved)

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """Go one step against the gradient."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.lerp_(gradient.square(), 1 - _BETAS[1])
        mean, square = (
            average / (1 - beta**self._steps) for average, beta in zip((self._mean, self._square), _BETAS, strict=True)
        )
        self._moved.sub_(rate * mean / (square.sqrt() + 1e-8))


def check_refine_steps(steps: int) -> int:
    """The number of steps.

    Raises:
        ValueError: no integer in 0 … 1000.
    """
    return check_count("refine_steps", steps, _MOST_STEPS)


def _without_weight_gradients(codec: _Codec) -> _Codec:
    """The same codec over the same memory, whose networks have no gradients of their own: a step need not compute them."""
    network = cast(nn.Module, codec)
    shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    shared |= {id(b): b for b in network.buffers()}
    twin: Any = copy.copy(codec)
    twin._modules = {
        name: module if module is codec.quantizer else copy.deepcopy(module, shared)
        for name, module in network._modules.items()
    }
    return cast(_Codec, twin)
