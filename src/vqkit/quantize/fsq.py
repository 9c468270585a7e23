"""Finite scalar quantization: bound a few dimensions and round them."""

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of, positive, share
from vqkit.quantize.grid_search import GridSearch
from vqkit.quantize.grid_table import GridTable
from vqkit.quantize.projection import Projection
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Int

__all__ = ["FSQ"]

_MARGIN = 1e-3  # keeps tanh's limits away from the rounding edge
_BENT, _CLAMPED = (0.4, 0.6, 0.8, 1.0, 1.3), (0.2, 0.3, 0.4, 0.5, 0.6)  # standard deviations that a fit tries


class FSQ(Quantizer):
    """Round each of a few dimensions to one of L_i levels; the codebook is implicit and there is no loss.

    y = round(tanh(p + shift)·(L − 1)/2 − offset), with offset ½ for even L; the value given out is y / ⌊L/2⌋ in [−1, 1].
    With ``bound="sigmoid"`` 2σ(1.6p) − 1 takes the place of tanh and makes a standard Gaussian nearly even in (−1, 1); since the
    outermost cells are half as wide, tanh fills the levels more evenly all the same (tests/quantize/test_field.py).
    With ``bound="clamp"`` p is cut to ±scale and [−scale, scale] into L equal cells, whose middles are the values: nothing is companded,
    and what is left lies within ±scale/L, where a next stage of that scale goes on.
    When ``dim`` differs from the number of levels, linear projections lead in and out.

    Args:
        dim: length of the vectors.
        levels: levels of each rounded dimension, each at least 2; the one code has ∏ levels values, the first level least significant.
        scale: size of the values given out, a number or one for each level. A later stage of a residual sees a smaller vector and needs
            a smaller scale, or it sees only zeros.
        bound: ``"tanh"``, ``"sigmoid"`` or ``"clamp"``.
        noise: in training, share of the vectors that get uniform noise of a cell's width instead of rounding.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = FSQ(dim=64, levels=[7, 5, 5, 5, 5])
        >>> q.code_sizes, round(q.bits_per_vector, 1), q(torch.randn(2, 9, 64)).z_q.shape
        ((4375,), 12.1, torch.Size([2, 9, 64]))

    References:
        Mentzer et al., "Finite scalar quantization: VQ-VAE made simple" (2023), arXiv:2309.15505. ``"sigmoid"``: iFSQ (2026),
        arXiv:2601.17124. Noise: Ballé et al., "End-to-end optimized image compression" (2017), arXiv:1611.01704, section 3.
    """

    straight_through = False

    def __init__(
        self,
        dim: int,
        levels: Sequence[int],
        *,
        scale: float | Sequence[float] = 1.0,
        bound: str = "tanh",
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.bound, self.noise = one_of("bound", bound, ("tanh", "sigmoid", "clamp")), share("noise", noise)
        self.dim = positive("dim", dim)
        self.levels = tuple(levels)
        if not self.levels or any(not isinstance(level, int) or level < 2 for level in self.levels):
            raise ValueError(f"levels must be integers of at least 2, got {list(levels)!r}")
        if math.prod(self.levels) >= 2**62:
            raise ValueError(f"levels must have a product below 2^62, got {math.prod(self.levels)}")
        scales = [float(scale)] * len(self.levels) if isinstance(scale, (int, float)) else [float(s) for s in scale]
        if len(scales) != len(self.levels) or not all(s > 0 for s in scales):
            raise ValueError(
                f"scale must be positive, one number or one for each of {len(self.levels)} levels, got {scale!r}"
            )
        self.projection = Projection(dim, len(self.levels))
        self.scale = tuple(scales)
        self._table = GridTable(math.prod(self.levels), self.projection)
        places = [1, *accumulate(self.levels[:-1], mul)]
        self._search = GridSearch(self._thresholds, self.levels, places)
        self._sizes = Constant(lambda: torch.tensor(self.levels))
        self._basis = Constant(lambda: torch.tensor(places))
        self._half_width = Constant(lambda: torch.tensor(self.levels) // 2)
        self._scales = Constant(lambda: torch.tensor(self.scale, dtype=torch.float32))
        self._half = Constant(lambda: (torch.tensor(self.levels).float() - 1) * (1 + _MARGIN) / 2)
        self._offset = Constant(lambda: torch.tensor([0.0 if level % 2 else 0.5 for level in self.levels]).float())
        # two levels have no middle one to put 0 on: the boundary lies there, or tanh would be flat at the start
        self._shift = Constant(
            lambda: torch.atanh(self._offset.value / self._half.value) * (torch.tensor(self.levels) > 2)
        )

    @property
    def level_sizes(self) -> Int[Tensor, " levels"]:
        """The levels as a tensor on the CPU."""
        return self._sizes.value

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """One code of ∏ levels values."""
        return (math.prod(self.levels),)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One code."""
        return (1,)

    @property
    def codebook_numel(self) -> int:
        """None: the codebook is a grid."""
        return 0

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the projections; float32 without them."""
        return self.projection.dtype

    def _bound(self, y: Tensor) -> Tensor:
        """Values whose nearest integers are the levels −⌊L/2⌋ … ⌈L/2⌉ − 1."""
        half, offset, shift = (constant.on(y.device) for constant in (self._half, self._offset, self._shift))
        y = y / self._scales.on(y.device)
        if self.bound == "clamp":
            return _clamped(y) * self._sizes.on(y.device) / 2 - offset
        return torch.tanh(self._slope * y + shift) * half - offset

    @property
    def _slope(self) -> float:
        return 0.8 if self.bound == "sigmoid" else 1.0  # 2σ(1.6p) − 1 = tanh(0.8p)

    def _thresholds(self) -> list[Tensor]:
        """For each dimension the projected values at which `_round` of `_bound` steps: the inverse of the bound, between levels."""
        found = []
        constants = zip(self.levels, self.scale, self._half.value, self._offset.value, self._shift.value, strict=True)
        for level, scale, half, offset, shift in constants:
            middle = torch.arange(level - 1, dtype=torch.float64) - level // 2 + 0.5 + offset
            if self.bound == "clamp":
                found.append(scale * middle * 2 / level)
            else:
                found.append(scale * (torch.atanh(middle / half) - shift) / self._slope)
        return found

    def _round(self, bounded: Tensor) -> Tensor:
        lowest = -self._half_width.on(bounded.device)  # the margin reaches beyond the last level where there are many
        return torch.minimum(torch.maximum(bounded.round(), lowest), lowest + self._sizes.on(bounded.device) - 1)

    def _index(self, rounded: Tensor) -> Tensor:
        whole = torch.float32 if self.code_sizes[0] <= 1 << 24 else torch.long  # float32 counts exactly so far
        half_width, basis = (constant.on(rounded.device, whole) for constant in (self._half_width, self._basis))
        return ((rounded.to(whole) + half_width) * basis).sum(dim=-1).long()

    def _values(self, rounded: Tensor) -> Tensor:
        if self.bound == "clamp":
            middle = (rounded + self._offset.on(rounded.device)) * 2 / self._sizes.on(rounded.device)
            return middle * self._scales.on(rounded.device)
        return rounded / self._half_width.on(rounded.device) * self._scales.on(rounded.device)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        if not self.training and not torch.is_grad_enabled():
            codes = self._encode(x, mask)
            return self._decode(codes, 1), codes, {}
        bounded = self._bound(self.projection.into(x))
        found = self._search.codes(x, self.projection, self.training)
        # in evaluation what comes out must be what `decode` makes of the codes
        levels = self._round(bounded).detach() if found is None else self._levels(found[..., None])
        codes = self._index(levels) if found is None else found
        rounded = straight_through(bounded, levels)
        if self.noise and self.training:
            noisy = torch.rand(bounded.shape[:-1], device=bounded.device)[..., None] < self.noise
            rounded = torch.where(noisy, bounded + torch.rand_like(bounded) - 0.5, rounded)
        z_q = self.projection.out_of(self._values(rounded))
        with torch.no_grad():  # bit for bit what `decode` looks up
            known = self._table.decoded(codes[..., None], self.projection, self.training, self._decode_plain)
        z_q = z_q if known is None else straight_through(z_q, known)
        if mask is not None:
            z_q, codes = torch.where(mask[..., None], z_q, 0.0), torch.where(mask, codes, -1)
        return z_q, codes[..., None], {}

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        found = self._search.codes(x, self.projection, self.training)
        codes = self._index(self._round(self._bound(self.projection.into(x)))) if found is None else found
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        found = self._table.decoded(codes, self.projection, self.training, self._decode_plain)
        return self._decode_plain(codes) if found is None else found

    def _decode_plain(self, codes: Tensor) -> Tensor:
        """The plain twin: the levels of a code, projected."""
        return torch.where(codes < 0, 0.0, self.projection.out_of(self._values(self._levels(codes.clamp_min(0)))))

    def _levels(self, codes: Tensor) -> Tensor:
        """The inverse of `_index`, of (…, 1) codes."""
        digits = codes // self._basis.on(codes.device) % self._sizes.on(codes.device)
        return (digits - self._half_width.on(codes.device)).float()

    def _fit(self, x: Tensor, iterations: int) -> None:
        best, scale = torch.inf, torch.tensor(self.scale, dtype=torch.float64, device=x.device)
        kept: dict[str, Tensor] = {}
        for deviation in _CLAMPED if self.bound == "clamp" else _BENT:
            self.projection.fit_inward(x, deviation)
            if self.projection.inward is not None:
                self.projection.inward.weight.mul_(scale[:, None])
                self.projection.inward.bias.mul_(scale)
            values = self._values(self._round(self._bound(self.projection.into(x))))
            self.projection.fit_outward(values, x)
            error = (self.projection.out_of(values) - x).square().mean().item()
            if error < best:
                best, kept = error, {name: value.clone() for name, value in self.projection.state_dict().items()}
        self.projection.load_state_dict(kept)


class _Clamp(torch.autograd.Function):
    """Cut to ±1, with a gradient inside and, outside, only where it leads back in."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.where((y.abs() <= 1) | (y * grad > 0), grad, 0.0)  # a step against grad then shortens y


def _clamped(y: Tensor) -> Tensor:
    clamped: Tensor = _Clamp.apply(y)
    return clamped
