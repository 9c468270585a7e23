"""Lloyd–Max scalar quantization of Gaussian coordinates: fixed levels, no training, no data."""

import math
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float

__all__ = ["LloydMax", "gaussian_levels"]

_ITERATIONS = 1000


class LloydMax(Quantizer):
    """Every coordinate by itself, to the nearest of the 2^bits levels that serve N(0, scale²) best.

    Args:
        dim: length of the vectors; each coordinate has its own code.
        bits: bits a coordinate, at most 8.
        scale: standard deviation of the coordinates; `fit` measures it.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = LloydMax(dim=4, bits=2).eval()
        >>> q.decode(torch.tensor([[[0, 1, 2, 3]]])).round(decimals=3).tolist()
        [[[-1.5099999904632568, -0.453000009059906, 0.453000009059906, 1.5099999904632568]]]

    References:
        Max, "Quantizing for minimum distortion" (1960), IRE Transactions on Information Theory 6, table I.
    """

    straight_through = True
    codebook_numel = 0  # the levels follow from the bits
    dtype = torch.float32
    deviation: Tensor

    def __init__(self, dim: int, bits: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.dim, self.bits = positive("dim", dim), positive("bits", bits)
        if bits > 8:
            raise ValueError(f"bits must be at most 8, got {bits}")
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale!r}")
        self.scale = float(scale)
        self._levels = Constant(lambda: gaussian_levels(bits))
        self.register_buffer("deviation", torch.empty((), dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does."""
        self.deviation.fill_(self.scale)

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """One code a coordinate."""
        return (1 << self.bits,) * self.dim

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One stage."""
        return (self.dim,)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        codes = self._encode(x.detach(), mask)
        return straight_through(x, self._decode(codes, 1)), codes, {}

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        levels = self._levels.on(x.device)
        bounds = (levels[1:] + levels[:-1]) / 2
        codes = torch.bucketize(x / self.deviation.float(), bounds)
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        values = self._levels.on(codes.device)[codes.clamp_min(0)] * self.deviation.float()
        return torch.where(codes < 0, 0.0, values)

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.deviation.copy_(x.square().mean().sqrt().clamp_min(1e-12))


def gaussian_levels(bits: int) -> Float[Tensor, " levels"]:
    """The 2^bits levels with the least mean squared error for N(0, 1), by Lloyd's iteration on the density itself."""
    return torch.tensor(_gaussian_levels(bits), dtype=torch.float32)


@cache
def _gaussian_levels(bits: int) -> tuple[float, ...]:
    half = 1 << bits - 1  # the levels are symmetric: those above 0, from the smallest
    normal = NormalDist()
    levels = [
        normal.inv_cdf(0.5 + (i + 0.5) / (2 * half)) * math.sqrt(3) for i in range(half)
    ]  # Panter and Dite's density
    for _ in range(_ITERATIONS):
        edges = [0.0, *((a + b) / 2 for a, b in pairwise(levels)), math.inf]
        density = [math.exp(-0.5 * edge * edge) / math.sqrt(2 * math.pi) for edge in edges]
        above = [0.5 * math.erfc(edge / math.sqrt(2)) for edge in edges]
        levels = [(density[i] - density[i + 1]) / (above[i] - above[i + 1]) for i in range(half)]
    return (*(-level for level in reversed(levels)), *levels)
