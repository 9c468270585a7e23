"""A named system: a public constructor around an expression of leaves and combinators."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.wrapper import Wrapper

__all__ = ["System"]


class System(Wrapper):
    """Delegates everything to the expression it holds.

    Args:
        quantizer: the expression.
    """

    options_of: ClassVar[type[Quantizer] | None] = None
    """The leaf whose keyword arguments a system takes as ``**options: Unpack[…]``; saved with the others, defaults included."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__(quantizer, quantizer.dim)

    @property
    def max_candidates(self) -> int:
        """What the expression can offer."""
        return self.quantizer.max_candidates

    @property
    def block(self) -> int:
        """Positions of a block of the expression along each axis."""
        return self.quantizer.block

    @property
    def packed_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code of a packed block."""
        return self.quantizer.packed_sizes

    @property
    def packed_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of a packed block."""
        return self.quantizer.packed_per_stage

    def pack(self, codes: Tensor) -> Tensor:
        """One vector of codes of each block, see `Multiscale.pack`."""
        return self.quantizer.pack(codes)

    def unpack(self, packed: Tensor, size: Sequence[int]) -> Tensor:
        """The inverse of `pack`, on a grid of a size, see `Multiscale.unpack`."""
        return self.quantizer.unpack(packed, size)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        return self.quantizer._quantize(x, mask)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.quantizer._encode(x, mask)

    def _encode_unchecked(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if type(self)._encode is not System._encode:  # a subclass finds its codes in another way
            return super()._encode_unchecked(x, mask)
        return self.quantizer._encode_unchecked(x, mask)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        if type(self)._encode is not System._encode:  # a subclass finds its codes in another way
            return super()._encode_first(x, mask, stages)
        return self.quantizer._encode_first(x, mask, stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        return self.quantizer._encode_at_rate(x, mask, rate_weight, stages)

    def _candidates(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return self.quantizer._candidates(x, count)

    def _start(self, x: Tensor, mask: Tensor | None) -> None:
        self.quantizer._start(x, mask)

    def _quantize_to(self, x: Tensor, mask: Tensor | None, codes: Tensor) -> Step:
        return self.quantizer._quantize_to(x, mask, codes)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self.quantizer._decode(codes, stages)

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.quantizer._fit(x, iterations)

    def _fit_rows(self, x: Tensor) -> Tensor:
        return self.quantizer._fit_rows(x)

    @property
    def _fits_fields(self) -> bool:
        return self.quantizer._fits_fields

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        self.quantizer._fit_fields(fields, **options)
