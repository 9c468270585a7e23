"""Sums and joined rows of tables by the compiled library, where `native.serves` said that it can; tables.py has the plain twins."""

from array import array
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from vqkit.quantize.native import call
from vqkit.types import Float, Int

__all__ = ["summed_pieces", "summed_rows"]


def summed_rows(
    codes: Int[Tensor, "vectors codes"], tables: Sequence[Tensor], sizes: Sequence[Sequence[int]]
) -> Float[Tensor, "vectors dim"] | None:
    """Σ of the rows of composed tables, −1 counting as zeros; None where some pieces of a stage are −1 and others not.

    Args:
        codes: codes in range, of as many stages as there are tables.
        tables: (composed codes, dim) of each stage, float32 and contiguous.
        sizes: sizes of the codebooks of each stage's pieces.
    """
    codes = codes.contiguous()
    out = torch.empty(len(codes), tables[0].shape[1], dtype=torch.float32, device=codes.device)
    places = array("q", [table.data_ptr() for table in tables])
    widths = array("q", map(len, sizes))
    every = array("q", chain.from_iterable(sizes))
    whole = call(
        "vqkit_sums", codes.data_ptr(), len(codes), codes.shape[1], len(tables), widths.buffer_info()[0], every.buffer_info()[0],
        places.buffer_info()[0], out.shape[1], torch.get_num_threads(), out.data_ptr(),
    )  # fmt: skip
    return out if whole else None


def summed_pieces(
    codes: Int[Tensor, "vectors codes"], table: Float[Tensor, "pieces rows width"], stages: int, base: int
) -> Float[Tensor, "vectors dim"]:
    """Every piece's row, at the number whose digits to the base are its codes of all stages plus 1.

    Args:
        codes: codes in range or −1, stage after stage, in a stage piece after piece.
        table: for each piece base^stages rows.
        stages: number of stages.
        base: codes of a piece plus 1.
    """
    codes = codes.contiguous()
    pieces, rows, width = table.shape
    out = torch.empty(len(codes), pieces * width, dtype=torch.float32, device=codes.device)
    call(
        "vqkit_copies", codes.data_ptr(), len(codes), stages, pieces, width, base, table.data_ptr(), rows,
        torch.get_num_threads(), out.data_ptr(),
    )  # fmt: skip
    return out
