"""Quantization with a step size that the first code names, and whole numbers chosen by error and rate."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.straight_through import straight_through
from vqkit.quantize.wrapper import Wrapper
from vqkit.types import Float

__all__ = ["Stepped", "cauchy_bits"]

_MAX_STEPS = 256
_COARSER = 4  # every fourth step is tried for a vector beyond reach
_FIT_ROUNDS, _FIT_ROWS = 150, 2048
_SMALLEST = 1e-30  # of a probability: log2 of it is finite


class Stepped(Wrapper):
    """z_q = Δ_s·q(round(z/Δ_s)): the first code s names one of several steps, so one quantizer serves many rates.

    Each coordinate is rounded to the whole number n, of the nearest, the next one towards 0, and 0, with the least
    (z/Δ − n)² + slope·bits(n): rare numbers must be worth their bits, and most of them are 0. ``bits`` is −log2 of the probability of n
    under a Cauchy distribution of the coordinate's own scale, which a fit finds. The inner quantizer has to represent whole numbers, as
    ``FSQ(2, [9, 9], scale=4.5, bound="clamp")`` does those from −4 to 4.

    Encoding takes the finest step, and a coarser one for a vector whose numbers the inner quantizer cannot hold. With ``rate_weight`` λ it
    takes the step with slope·Δ² = λ, where error + λ·bits is least, instead of the finest; all stages stay. In training every batch
    element draws a step. The inner quantizer learns the whole numbers, and gets no gradient from the task.

    Args:
        quantizer: inner quantizer; its first stage also holds the code of the step.
        steps: step sizes, from the finest to the coarsest.
        slope: error, in squared steps, that a bit is worth.

    Raises:
        ValueError: an argument out of range, or an inner quantizer that looks at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import FSQ
        >>> q = Stepped(FSQ(2, [9, 9], scale=4.5, bound="clamp"), steps=[0.5, 1.0]).eval()
        >>> z = torch.tensor([[[1.6, -0.3]]])
        >>> q.decode(q.encode(z)), q.decode(q.encode(z, rate_weight=1.0))
        (tensor([[[ 1.5000, -0.5000]]]), tensor([[[2., 0.]]]))

    References:
        Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables" (1996); Chou, Lookabaugh & Gray,
        "Entropy-constrained vector quantization" (1989).
    """

    def __init__(self, quantizer: Quantizer, steps: Sequence[float], *, slope: float = 0.13) -> None:
        super().__init__(quantizer, quantizer.dim)
        self.steps = tuple(float(step) for step in steps)
        if (
            not 1 <= len(self.steps) <= _MAX_STEPS
            or not self.steps[0] > 0
            or any(b <= a for a, b in pairwise(self.steps))
        ):
            raise ValueError(
                f"steps must be 1 to {_MAX_STEPS} positive numbers, each larger than the one before, got {list(steps)}"
            )
        if not (slope > 0 and math.isfinite(slope + self.steps[-1])):
            raise ValueError(f"slope must be positive, and all finite, got {slope} and steps up to {self.steps[-1]}")
        if quantizer.needs_grid:
            raise ValueError("Stepped rounds single vectors: put Interpolated around it")
        self.slope, self.straight_through = slope, True
        self.log_scale: Tensor
        self.register_buffer("log_scale", torch.empty(quantizer.dim, dtype=torch.float32))
        self.reset_parameters()
        self._each_step = Constant(lambda: torch.tensor(self.steps, dtype=torch.float32))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does: with coordinates of scale 1."""
        self.log_scale.zero_()

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Number of steps, then the alphabets of the inner quantizer."""
        return (len(self.steps), *self.quantizer.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of the inner quantizer; the first also has the step's."""
        first, *others = self.quantizer.codes_per_stage
        return (1 + first, *others)

    @property
    def code_density(self) -> tuple[float, ...]:
        """Every position has the code of the step, and the inner quantizer's as it gives them."""
        return (1.0, *self.quantizer.code_density)

    @property
    def rate_weights(self) -> tuple[float, ...]:
        """The λ of each step, from the most bits to the fewest."""
        return tuple(self.slope * step * step for step in self.steps)

    def _whole(self, x: Tensor, step: Tensor) -> Tensor:
        """Whole numbers of the least error and rate; ``step`` broadcasts to x."""
        size, scaled = (x / step).abs(), step / self.log_scale.float().exp()
        best = size.round()
        least = (size - best).square() + self.slope * cauchy_bits(best, scaled)
        for other in ((best - 1).clamp_min(0), torch.zeros_like(best)):
            cost = (size - other).square() + self.slope * cauchy_bits(other, scaled)
            best, least = torch.where(cost < least, other, best), torch.minimum(cost, least)
        return best * x.sign()

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        if not self.training:
            codes = self._encode(x, mask)
            return straight_through(_real(x, mask), self._decode(codes, self.num_stages)), codes, {}
        index = torch.randint(len(self.steps), (x.shape[0],), device=x.device)
        index = index.view(-1, *[1] * (x.ndim - 1)).expand(*x.shape[:-1], 1)
        step = self._each_step.on(x.device)[index]
        with torch.no_grad():
            whole = self._whole(x, step)
        inner, codes, losses = self.quantizer._quantize(whole, mask)
        z_q = step * inner.detach()
        if mask is not None:
            index, z_q = torch.where(mask[..., None], index, -1), torch.where(mask[..., None], z_q, 0.0)
        return straight_through(_real(x, mask), z_q), torch.cat([index, codes], dim=-1), losses

    def _encode_with(self, x: Tensor, mask: Tensor | None, index: int) -> Tensor:
        """Codes with one step. A vector with numbers beyond the inner quantizer's reach takes the coarser step that has the least error."""
        best, least, cut = self._with_step(x, mask, index)
        for coarser in range(index + _COARSER, len(self.steps), _COARSER):
            codes, error, _ = self._with_step(x, mask, coarser)
            better = cut & (error < least)
            best, least = torch.where(better[..., None], codes, best), torch.where(better, error, least)
        return best

    def _with_step(self, x: Tensor, mask: Tensor | None, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Codes with one step, their squared error, and whether the inner quantizer cuts a number off."""
        step = self._each_step.on(x.device)[index]
        whole = self._whole(x, step)
        codes = self.quantizer._encode(whole, mask)
        found = self.quantizer._decode(codes, self.quantizer.num_stages)
        first = torch.full_like(codes[..., :1], index)
        first = first if mask is None else torch.where(mask[..., None], first, -1)
        error = (x - step * found).square().sum(dim=-1)
        return torch.cat([first, codes], dim=-1), error, ((found - whole).abs() > 0.5).any(dim=-1)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self._encode_with(x, mask, 0)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        found = [abs(math.log(max(rate_weight, 1e-30) / each)) for each in self.rate_weights]
        return self.first_stages(self._encode_with(x, mask, found.index(min(found))), stages)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        index, inner = codes.tensor_split([1], dim=-1)
        return self._each_step.on(codes.device)[index.clamp_min(0)] * self.quantizer._decode(inner, stages)

    def _fit(self, x: Tensor, iterations: int) -> None:
        """Scales by maximum likelihood at all steps; the inner quantizer is fitted to whole numbers of all steps."""
        self.log_scale.copy_(self._likeliest(x))
        rows = torch.arange(len(x), device=x.device) % len(self.steps)
        self.quantizer._fit(self._whole(x, self._each_step.on(x.device)[rows][:, None]), iterations)

    @torch.enable_grad()
    def _likeliest(self, x: Tensor) -> Tensor:
        """Logarithms of the scales that make the coordinates, spread evenly over an interval of a step, cost the fewest bits."""
        log_scale = (
            x.abs().median(dim=0).values.clamp_min(1e-2 * self.steps[0]).log().requires_grad_()
        )  # of Cauchy variables the scale
        optimizer = torch.optim.Adam([log_scale], 0.1)
        for round_ in range(_FIT_ROUNDS):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - round_ / _FIT_ROUNDS)
            rows = torch.randint(len(x), (_FIT_ROWS,), device=x.device)
            step = self._each_step.on(x.device)[torch.randint(len(self.steps), (_FIT_ROWS, 1), device=x.device)]
            numbers = x[rows] / step + torch.rand(_FIT_ROWS, self.dim, dtype=torch.float32, device=x.device) - 0.5
            optimizer.zero_grad()
            cauchy_bits(numbers, step / log_scale.exp()).mean(dim=0).sum().backward()
            optimizer.step()
        return log_scale.detach()


def _real(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else torch.where(mask[..., None], x, 0.0)


def cauchy_bits(numbers: Float[Tensor, "*shape"], step: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """−log2 of the probability of an interval of one step, which broadcasts, around each number of steps, for a Cauchy variable of scale 1.

    P(n) = (arctan((n + ½)Δ) − arctan((n − ½)Δ)) / π, as one arctan, so that nothing cancels far out.

    Example:
        >>> cauchy_bits(torch.tensor([0.0, 1.0, 100.0]), torch.tensor(2.0))
        tensor([ 1.0000,  2.7604, 15.9392])
    """
    share = torch.atan2(step, 1 + (numbers.square() - 0.25) * step.square()) / math.pi
    return -share.clamp_min(_SMALLEST).log2()
