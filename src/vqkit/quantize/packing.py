"""Codes of several scales as one vector of codes a block, without the −1 of positions that have no code of a coarse scale.

Conventions
    Packed codes are stage after stage; in a stage cell after cell, row by row; in a cell the stage's codes. So the first stages come
    first. Of an unmasked grid `pack` and `unpack` are inverse.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from vqkit.quantize.cells import Cells, from_blocks, to_blocks
from vqkit.types import Int

__all__ = ["Packing"]


class Packing:
    """The layout of a quantizer's codes in blocks.

    Args:
        cells: the cells of each stage.
        code_sizes: alphabet of each code.
        codes_per_stage: codes of each stage.
        block: positions of a block along each axis.
        dims: axes.
    """

    def __init__(
        self, cells: Sequence[Cells], code_sizes: Sequence[int], codes_per_stage: Sequence[int], block: int, dims: int
    ) -> None:
        self.cells, self.widths, self.block, self.dims = tuple(cells), tuple(codes_per_stage), block, dims
        self.per_stage = tuple(scale.count * width for scale, width in zip(cells, codes_per_stage, strict=True))
        ends = list(accumulate(codes_per_stage))
        self.sizes = tuple(
            size
            for scale, width, end in zip(cells, codes_per_stage, ends, strict=True)
            for size in tuple(code_sizes[end - width : end]) * scale.count
        )

    def pack(self, codes: Int[Tensor, "batch *spatial codes"]) -> Int[Tensor, "batch *blocks packed"]:
        """Codes of the first stages or of all; cells beyond the end of the grid get the code 0."""
        blocks, within = to_blocks(codes, self.block, self.dims)
        blocks = torch.where(within[..., None], blocks, -1)
        stages = list(accumulate(self.widths)).index(codes.shape[-1]) + 1
        parts = blocks.split(self.widths[:stages], dim=-1)
        cells = [scale.gathered(part) for scale, part in zip(self.cells, parts, strict=False)]
        return torch.cat([cell.clamp_min(0).flatten(start_dim=-2) for cell in cells], dim=-1)

    def unpack(
        self, packed: Int[Tensor, "batch *blocks packed"], size: Sequence[int]
    ) -> Int[Tensor, "batch *spatial codes"]:
        """The inverse, on a grid of this size.

        Raises:
            ValueError: another number of blocks or of codes.
        """
        ends = list(accumulate(self.per_stage))
        blocks = tuple(-(-length // self.block) for length in size)
        if packed.shape[1:-1] != blocks or packed.shape[-1] not in ends:
            expected = ", ".join(["batch", *map(str, blocks), " or ".join(map(str, ends))])
            raise ValueError(f"packed codes must be ({expected}), got shape {tuple(packed.shape)}")
        place = torch.ones((1, *size), dtype=torch.bool, device=packed.device)
        copies, within = to_blocks(place, self.block, self.dims)
        inside = (copies & within).expand(packed.shape[0], *blocks, -1)
        stages = ends.index(packed.shape[-1]) + 1
        parts = packed.split(self.per_stage[:stages], dim=-1)
        codes = [
            scale.placed(part.unflatten(-1, (scale.count, -1)), inside)
            for scale, part in zip(self.cells, parts, strict=False)
        ]
        return from_blocks(torch.cat(codes, dim=-1), tuple(size), self.block)
