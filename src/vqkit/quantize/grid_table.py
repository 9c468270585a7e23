"""Decoding of implicit codebooks (`FSQ`, `LFQ`) by a table of all their vectors, where there are few enough: one look-up a vector.

The plain twin computes every code's digits and projects them. The table is its result for all codes, so a vector does not depend on what
else is decoded beside it, as it may in a matrix product. What evaluation gives out in `forward` is looked up as well.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.memo import Memo
from vqkit.quantize.projection import Projection
from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float, Int

__all__ = ["GridTable"]

_MOST_FLOATS = 1 << 22  # 16 MiB


class GridTable:
    """The vectors of all codes of one quantizer, kept for as long as its projection is unwritten.

    Args:
        size: number of codes.
        projection: what leads out; without a map there is no table, for digits are cheap.
    """

    def __init__(self, size: int, projection: Projection) -> None:
        self._size, self._kept = size, Memo[Tensor]()
        self._fit = projection.outward is not None and size * projection.outward.out_features <= _MOST_FLOATS

    def decoded(
        self,
        codes: Int[Tensor, "*shape 1"],
        projection: Projection,
        training: bool,
        plain: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "*shape dim"] | None:
        """Vectors of codes, zeros for −1; None where the plain way is better, or gradients need it.

        Args:
            codes: codes in range.
            projection: what leads out.
            training: its weights move, so nothing is kept.
            plain: the plain decoding.
        """
        if not self._fit or training or torch.is_grad_enabled() or not takes_fast_paths(codes):
            return None
        assert projection.outward is not None
        weights = [projection.outward.weight, projection.outward.bias]
        table = self._kept.of(weights, lambda: F.pad(plain(torch.arange(self._size)[:, None]), (0, 0, 0, 1)))
        return F.embedding(torch.where(codes < 0, self._size, codes)[..., 0], table)
