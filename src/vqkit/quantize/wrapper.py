"""What all quantizers share that work through one inner quantizer: its rate, its stages and its size."""

import torch

from vqkit.quantize.base import Quantizer

__all__ = ["Wrapper"]


class Wrapper(Quantizer):
    """A quantizer around another one, whose codes are the codes of the inner one.

    Args:
        quantizer: the inner quantizer.
        dim: length of the vectors that the wrapper takes.
    """

    def __init__(self, quantizer: Quantizer, dim: int) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.dim = dim
        self.straight_through, self.needs_grid = quantizer.straight_through, quantizer.needs_grid

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of the inner quantizer's codes."""
        return self.quantizer.code_sizes

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of the inner quantizer."""
        return self.quantizer.codes_per_stage

    @property
    def code_density(self) -> tuple[float, ...]:
        """Share of the positions that have each code of the inner quantizer."""
        return self.quantizer.code_density

    @property
    def rate_weights(self) -> tuple[float, ...]:
        """The λ of other rates of the inner quantizer."""
        return self.quantizer.rate_weights

    @property
    def codebook_numel(self) -> int:
        """Floats that the inner quantizer stores in codebooks."""
        return self.quantizer.codebook_numel

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the inner quantizer's codebook."""
        return self.quantizer.dtype
