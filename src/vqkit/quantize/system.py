"""A named system: a public constructor around an expression of leaves and combinators."""

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer, Step

__all__ = ["System"]


class System(Quantizer):
    """Delegates everything to the expression it holds.

    Args:
        quantizer: the expression.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.dim = quantizer.dim
        self.straight_through, self.needs_grid = quantizer.straight_through, quantizer.needs_grid

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Those of the expression."""
        return self.quantizer.code_sizes

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Those of the expression."""
        return self.quantizer.codes_per_stage

    @property
    def codebook_numel(self) -> int:
        """That of the expression."""
        return self.quantizer.codebook_numel

    @property
    def dtype(self) -> torch.dtype:
        """That of the expression."""
        return self.quantizer.dtype

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        return self.quantizer._quantize(x, mask)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.quantizer._encode(x, mask)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self.quantizer._decode(codes, stages)

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.quantizer._fit(x, iterations)

    def _fit_rows(self, x: Tensor) -> Tensor:
        return self.quantizer._fit_rows(x)
