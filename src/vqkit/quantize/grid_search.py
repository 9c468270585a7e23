"""Codes of implicit codebooks (`FSQ`, `LFQ`) by thresholds: projection, comparison and code in one compiled pass over the vectors.

What bounds and rounds a projected value is monotone. So the level of a dimension is the number of thresholds that lie below the value,
those at which the rounding steps; neither tanh nor rounding is computed. Its plain twins are `FSQ._bound` and `LFQ._signs`;
codes differ only where a value lies on a threshold within rounding.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vqkit.quantize import native
from vqkit.quantize.memo import Memo
from vqkit.quantize.projection import Projection
from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float, Int

__all__ = ["GridSearch"]

_GROUP = 6  # as in native_grid.cpp
_MOST_THRESHOLDS = 1024  # beyond, to compare takes longer than to round
_MOST_CODES = 1 << 31


class GridSearch:
    """The compiled search of one quantizer.

    Args:
        thresholds: computes for each rounded dimension the float64 values between its levels, ascending.
        levels: number of levels of each rounded dimension.
        places: what one level of each adds to the code.
    """

    def __init__(
        self, thresholds: Callable[[], Sequence[Float[Tensor, " steps"]]], levels: Sequence[int], places: Sequence[int]
    ) -> None:
        self._thresholds, self._places = thresholds, tuple(places)
        self._fit = sum(levels) - len(levels) <= _MOST_THRESHOLDS and max(places) * max(levels) < _MOST_CODES
        self._kept: Memo[_Prepared] = Memo()

    def codes(
        self, x: Float[Tensor, "*shape dim"], projection: Projection, training: bool
    ) -> Int[Tensor, "*shape"] | None:
        """Codes of vectors; None where the plain way has to find them.

        Args:
            x: vectors before the projection.
            projection: what leads in.
            training: its weights move, so nothing is kept; and the plain way is needed for gradients anyway.
        """
        if training or projection.inward is None or not self._fit:
            return None
        if not takes_fast_paths(x) or not native.serves(x, torch.float32):
            return None
        weight, bias = projection.inward.weight, projection.inward.bias
        if weight.device.type != "cpu":  # the plain way says so
            return None
        return self._kept.of([weight, bias], lambda: _Prepared(weight, bias, self._thresholds(), self._places))(x)


class _Prepared:
    """Weights and thresholds in the order in which the loop reads them."""

    def __init__(self, weight: Tensor, bias: Tensor, thresholds: Sequence[Tensor], places: Sequence[int]) -> None:
        inner, self._dim = weight.shape
        groups = [part.T.flatten() for part in weight.detach().float().split(_GROUP)]
        self._tables = [
            torch.cat(groups),
            bias.detach().float().contiguous(),
            torch.cat(list(thresholds)).float(),
            torch.tensor([len(steps) for steps in thresholds]),
            torch.tensor(places),
        ]
        self._arguments: list[Any] = [self._dim, inner, *(table.data_ptr() for table in self._tables)]

    def __call__(self, x: Float[Tensor, "*shape dim"]) -> Int[Tensor, "*shape"]:
        x = x.detach().contiguous()
        codes = torch.empty(x.shape[:-1], dtype=torch.long, device=x.device)
        native.call(
            "vqkit_grid", x.data_ptr(), codes.numel(), *self._arguments, torch.get_num_threads(), codes.data_ptr()
        )
        return codes
