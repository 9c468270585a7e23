"""Search for a latent whose codes decode to what is nearest for the ear: some steps of gradient descent through the decoder.

z ─┬─ quantizer ─ codes ─ decoder ─ what it sounds like beside the goal ─┐
   └──────────────── moved against its gradient, some steps ─────────────┘

References:
    Campos, Meierhans, Djelouah & Schroers, "Content adaptive optimization for neural image compression" (2019), arXiv:1906.01223 (a
    latent moved by gradient); van den Oord, Vinyals & Kavukcuoglu, VQ-VAE (2017), arXiv:1711.00937 (the straight-through gradient);
    Kingma & Ba, "Adam" (2015), arXiv:1412.6980.
"""

import copy
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.losses import BandLevels, LoudnessDisturbance, LowWave
from vqkit.models.audio.stage_choice import StageChoice
from vqkit.models.input_checks import check_count
from vqkit.quantize import Quantizer
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float, Int

__all__ = ["LatentSearch", "check_refine_steps"]

_RATE, _LAST_RATE = 0.06, 0.012  # of the first and last step, in standard deviations of the latent
_BETAS = (0.5, 0.9)  # of Adam: a few steps have no time for long averages
# of BandLevels beside LoudnessDisturbance: tones stay as loud as they are, and speech gains as well
_LEVEL_WEIGHT, _LEVEL_POWER = 8.0, 0.5
_WAVE_WEIGHT = 4.0  # of LowWave: less noise between the low harmonics of voices
_LEVELS_MAY_LOSE = 0.02  # a fifth of a decibel; a tone that became quieter is not worth what else was gained
_LEVEL_WINDOW_SECONDS = 0.064
_LEAST_SPREAD = 1e-3  # of the latent of silence
_MOST_STEPS = 1000


class _Codec(Protocol):
    """Interface of `AudioTokenizer` that the search relies on."""

    sample_rate: int
    quantizer: Quantizer

    def synthesize(self, z: Tensor, samples: int | None = None, /, *, gradient: bool = False) -> Tensor:
        """Waveforms of latents."""


class LatentSearch:
    """Latents whose codes decode to what is nearer to the goal for the ear.

    By three distances: of loudness, as listeners are disturbed by it; of the levels of bands; and of the wave below a kilohertz.

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
        self._wave = LowWave(codec.sample_rate, window_samples=self._loudness.window_samples)
        self._wide_levels = BandLevels(codec.sample_rate, window_samples=(window,), power=1.0, num_bands=4)
        self._least_samples = 2 * window  # of what the distances look at

    def __call__(
        self,
        latent: Float[Tensor, "batch frames dim"],
        goal: Float[Tensor, "batch channels samples"],
        stages: int | None = None,
        before: Float[Tensor, "batch first_frames dim"] | None = None,
        choice: StageChoice | None = None,
        frames: slice = slice(None),
    ) -> tuple[Float[Tensor, "batch frames dim"], Int[Tensor, "batch frames num_codes"]]:
        """The place, of those that the steps led through, whose codes sounded best, with levels of wide bands as right as in the first.

        And these codes.

        Args:
            latent: where the search begins.
            goal: what is to be heard.
            stages: stages that are decoded; all by default.
            before: quantized latents of the first frames, which are given.
            choice: chooses the stages of each frame by the first gradient; ``stages`` are then the most that it gives.
            frames: frames of which they are chosen; the others keep the usual number.
        """
        full = self._quantizer.encode(latent, stages=stages)
        codes = full if choice is None else choice.kept(full)
        if not self._steps:
            return latent, codes
        latent = latent.float()  # half precision has no room for such steps
        padded = functional.pad(goal, (0, max(0, self._least_samples - goal.shape[-1]))).to(latent)
        best, least, allowed = (latent, codes), float("inf"), float("inf")
        # what an inference mode around made could not take part in gradients
        with torch.inference_mode(False), torch.enable_grad():
            chosen: Tensor | None = None
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
                first = step == (0 if choice is None else 1)  # with the stages that are written
                if first or (distance.item() < least and apart.item() <= allowed):
                    best = moved.detach().clone(), codes
                    least = distance.item() if apart.item() <= allowed else float("inf")
                if step == self._steps:
                    break
                (gradient,) = torch.autograd.grad(distance, moved)
                if choice is not None and chosen is None:
                    chosen = torch.full(moved.shape[:-1], choice.usual, device=moved.device)
                    chosen[:, frames] = choice.choose(moved.detach()[:, frames], full[:, frames], gradient[:, frames])
                adam.step(gradient, rate * (_LAST_RATE / _RATE) ** (step / self._steps))
                full = self._quantizer.encode(moved, stages=stages)
                codes = full if choice is None else choice.kept(full, chosen)
        return best

    def _made(self, moved: Tensor, codes: Tensor, samples: int, before: Tensor | None) -> Tensor:
        """What the codes of a latent decode to, with a gradient as though it were decoded itself."""
        with torch.no_grad():
            quantized = self._quantizer.decode(codes)
            if before is not None:
                quantized = torch.cat([before, quantized[:, before.shape[1] :]], dim=1)
        latent = straight_through(moved, quantized.to(moved))
        return self._frozen.synthesize(latent, samples, gradient=True).float()

    def _heard(self, wav: Tensor) -> tuple[list[Tensor], ...]:
        """What loudness, levels, the low wave and levels of wide bands are told from; the goal's is computed once."""
        fine, spectra = self._loudness.spectra(wav), self._levels.spectra(wav)
        with torch.no_grad():
            wide = self._wide_levels.features(spectra)
        return self._loudness.features(fine), self._levels.features(spectra), self._wave.features(fine), wide

    def _distances(self, made: Tensor, goal: tuple[list[Tensor], ...]) -> tuple[Tensor, Tensor]:
        """How far a sound is from the goal, and how far its levels in a few wide bands are."""
        loudness, levels, wave, wide = zip(self._heard(made), goal, strict=True)
        distance = self._loudness.between(*loudness) + _LEVEL_WEIGHT * self._levels.between(*levels)
        return distance + _WAVE_WEIGHT * self._wave.between(*wave), self._wide_levels.between(*wide)


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
