"""A residual search as one Triton kernel, for CUDA: all stages of a block of vectors while its residual stays in registers.

A program of the grid holds the residuals of a few vectors. Stage after stage it goes through the codes in tiles, keeps the best score and
code of every vector, and takes the best code from the residual, so that neither scores nor residuals reach memory. Products are of
float32 in full precision, whatever a program allows elsewhere. As in `StageTables`, r is relative to the mean code of the stage.

It is used by itself where inputs are on CUDA and triton is installed (it comes with PyTorch's CUDA builds on Linux); `Residual` has the
plain twin. With TRITON_INTERPRET=1 it runs on the CPU, slowly, for tests.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from vqkit.quantize.search import search_table
from vqkit.quantize.tables import StageTables, composed_table, digits
from vqkit.types import Float, Int

__all__ = ["FusedSearch"]

_MOST_DIM = 256  # the residuals of a block must fit in registers
_LEAST = 16  # sides of a tile of a product
_BLOCK, _TILE = 32, 64  # vectors of a program, and codes that it scores at once


class FusedSearch:
    """The tables of residual stages, ready for the kernel.

    Args:
        pieces: for each stage, the codes of its pieces: one (codes, dim) table, or several whose rows are concatenated.
    """

    def __init__(self, pieces: Sequence[Sequence[Float[Tensor, "codes dim"]]]) -> None:
        tables = [composed_table(stage) for stage in pieces]
        self._digits = [digits([len(piece) for piece in stage]).to(stage[0].device) for stage in pieces]
        ready = [search_table(table) for table in tables]
        self._mean, self.dim = ready[0].mean, tables[0].shape[1]
        following = [*(table.mean for table in ready[1:]), torch.zeros_like(self._mean)]
        direction = torch.cat([table.direction for table in ready])
        self._codes, self._bias = direction[:, :-1].contiguous(), direction[:, -1].contiguous()
        self._steps = torch.cat(
            [table - stage.mean + mean for table, stage, mean in zip(tables, ready, following, strict=True)]
        )
        ends = torch.tensor([0, *(len(table) for table in tables)]).cumsum(0)
        self._bounds, self._stages = ends.to(direction.device, torch.int32), len(tables)

    @staticmethod
    def fit(sizes: Sequence[Sequence[int]], dim: int) -> bool:
        """Whether triton is there, the vectors are short enough, and the composed tables small enough."""
        return dim <= _MOST_DIM and StageTables.fit(sizes, dim) and find_spec("triton") is not None

    def __call__(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, "vectors codes"]:
        """Codes of all stages; ties take the first code."""
        x = x.detach().contiguous()
        found = torch.empty(len(x), self._stages, dtype=torch.long, device=x.device)
        padded = max(_LEAST, 1 << (self.dim - 1).bit_length())
        grid = (max(1, -(-len(x) // _BLOCK)),)
        _kernel()[grid](
            x, self._mean, self._codes, self._bias, self._steps, self._bounds, found, len(x), self.dim, self._stages,
            BLOCK=_BLOCK, TILE=_TILE, WIDTH=padded,
        )  # fmt: skip
        return torch.cat([table[own] for table, own in zip(self._digits, found.unbind(dim=1), strict=True)], dim=1)


_compiled: Any = None


def _kernel() -> Any:
    """The kernel; importing triton takes a second, so it waits for the first call."""
    global _compiled
    if _compiled is None:
        from vqkit.quantize.fused_kernel import residual_search

        _compiled = residual_search
    return _compiled
