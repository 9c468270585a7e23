"""Codes of a quantizer ↔ ids of a generator: one id a code, or one id for all codes of a stage.

A stage of several small codes (six binary ones of an IVQ stage, two pieces of a LooC) is one number with the codes as its digits, the first
one the most significant. For IVQ that number is the hexagram. A generator then predicts the codes of a stage jointly, in fewer positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Self

import torch
from torch import Tensor

from vqkit.quantize import Quantizer
from vqkit.types import Int

__all__ = ["StagePacking"]


@dataclass(frozen=True)
class StagePacking:
    """Packing of the codes of a frame into ids, one id for each group of neighbouring codes.

    Args:
        groups: alphabets of the codes behind each id, id after id.

    Example:
        >>> from vqkit import IVQ
        >>> packing = StagePacking.of_stages(IVQ(12, variant="bottom-up"))
        >>> packing.id_sizes
        (64, 64, 64, 64)
        >>> ids = packing.pack(torch.tensor([[1, 0, 0, 0, 0, 0, 2, 0, 0, 4, 0, 32]]))
        >>> ids, packing.unpack(ids)
        (tensor([[32, 32, 32, 32]]), tensor([[ 1,  0,  0,  0,  0,  0,  2,  0,  0,  4,  0, 32]]))
    """

    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of_codes(cls, code_sizes: Sequence[int]) -> Self:
        """Return the packing with one id for each code: ids are the codes themselves."""
        return cls(tuple((size,) for size in code_sizes))

    @classmethod
    def of_stages(cls, quantizer: Quantizer) -> Self:
        """Return the packing with one id for each stage of a quantizer."""
        return cls.from_sizes(quantizer.code_sizes, quantizer.codes_per_stage)

    @classmethod
    def from_sizes(cls, code_sizes: Sequence[int], codes_per_stage: Sequence[int]) -> Self:
        """Return the packing with one id for each stage, from the sizes that a ``.vqk`` file states."""
        ends = list(accumulate(codes_per_stage))
        return cls(tuple(tuple(code_sizes[end - n : end]) for end, n in zip(ends, codes_per_stage, strict=True)))

    @classmethod
    def fitting(cls, quantizer: Quantizer, id_sizes: Sequence[int]) -> Self:
        """The packing by which the ids of a generator are codes of a quantizer, of all its stages or of the first ones.

        Raises:
            ValueError: there is none: generator and quantizer do not fit together.
        """
        wanted = tuple(id_sizes)
        for packing in (cls.of_codes(quantizer.code_sizes), cls.of_stages(quantizer)):
            if packing.id_sizes[: len(wanted)] == wanted:
                first = cls(packing.groups[: len(wanted)])
                if sum(map(len, first.groups)) in accumulate(quantizer.codes_per_stage):
                    return first
        raise ValueError(
            f"the generator has ids of sizes {wanted}, the quantizer {type(quantizer).__name__} has codes of "
            f"{tuple(quantizer.code_sizes)}: they do not fit together"
        )

    @property
    def id_sizes(self) -> tuple[int, ...]:
        """Alphabet of each id."""
        return tuple(prod(sizes) for sizes in self.groups)

    def pack(self, codes: Int[Tensor, "*shape codes"]) -> Int[Tensor, "*shape ids"]:
        """Ids of codes; −1 where one of the codes is.

        Raises:
            ValueError: another number of codes.
        """
        if codes.shape[-1] != sum(map(len, self.groups)):
            raise ValueError(f"expected {sum(map(len, self.groups))} codes a frame, got {codes.shape[-1]}")
        found = []
        for sizes, part in zip(self.groups, codes.split([len(sizes) for sizes in self.groups], dim=-1), strict=True):
            number = torch.zeros_like(part[..., 0])
            for digit, size in zip(part.unbind(dim=-1), sizes, strict=True):
                number = number * size + digit
            found.append(torch.where((part < 0).any(dim=-1), -1, number))
        return torch.stack(found, dim=-1)

    def unpack(self, ids: Int[Tensor, "*shape ids"]) -> Int[Tensor, "*shape codes"]:
        """The inverse of `pack`."""
        found = []
        for sizes, number in zip(self.groups, ids.unbind(dim=-1), strict=True):
            digits, rest = [], number
            for size in reversed(sizes):
                digits.append(torch.where(number < 0, -1, rest % size))
                rest = rest // size
            found += digits[::-1]
        return torch.stack(found, dim=-1)
