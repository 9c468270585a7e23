"""Residual stages as plain tables: all stages of a few hundred vectors searched in the cache, and decoded by one sum of rows.

A stage is one table where it is a nearest-code search (`VQ`), or a product of such searches small enough that its composed codes, all
concatenations of the pieces' codes, are one (IVQ: 64 rows). Then the residual needs no pass of its own: relative to the mean code ē of the
stage that comes next, it moves from stage to stage by a row of a table,

    r_0 = z − ē_0,   r_{s+1} = r_s − (e_s − ē_s + ē_{s+1}),

and decoding is z_q = Σ_s e_s, in this order, so that it is the plain loop's sum bit for bit. `Residual` has the plain twin.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import native
from vqkit.quantize.native_sums import summed_pieces, summed_rows
from vqkit.quantize.search import best_codes, chunk_rows, float32_products, search_table
from vqkit.types import Float, Int

__all__ = ["MOST_COMPOSED", "PieceTables", "StageTables", "composed_table", "digits"]

MOST_COMPOSED = 256
"""Codes of a composed table: beyond, searching the pieces one by one is less work."""

_MOST_FLOATS = 1 << 24  # of stacked tables, 64 MiB
_MOST_ROWS = 1 << 16  # of pieces' tables


class _Stage(NamedTuple):
    direction: Tensor  # (codes, dim + 1) of `SearchTable`
    step: Tensor  # (codes, dim + 1): what a code takes from the residual; the column of ones keeps its 1
    digits: Tensor | None  # (codes, pieces): the codes of the pieces, where the table is composed


class StageTables:
    """The tables of a residual quantizer, ready for search and decoding; whoever writes to them afterwards needs new ones.

    Args:
        tables: for each stage, the codes of its pieces: one (codes, dim) table, or several whose rows are concatenated.
    """

    def __init__(self, tables: Sequence[Sequence[Float[Tensor, "codes dim"]]]) -> None:
        self.sizes = [tuple(len(piece) for piece in pieces) for pieces in tables]
        self.widths = [len(pieces) for pieces in tables]
        whole = [composed_table(pieces).contiguous() for pieces in tables]
        self.dim = whole[0].shape[1]
        self._whole = whole
        self._stages: list[_Stage] = []
        self._mean = whole[0]
        self._stacked: Tensor | None = None
        self._offsets = self._places = torch.empty(0)

    @staticmethod
    def fit(sizes: Sequence[Sequence[int]], dim: int) -> bool:
        """Whether tables with such numbers of codes are worth it."""
        composed = all(len(pieces) == 1 or prod(pieces) <= MOST_COMPOSED for pieces in sizes)
        return composed and sum(prod(pieces) for pieces in sizes) * dim <= _MOST_FLOATS

    def _prepared(self) -> list[_Stage]:
        if not self._stages:
            ready = [search_table(table) for table in self._whole]
            self._mean = ready[0].mean
            ahead = [*(table.mean for table in ready[1:]), torch.zeros_like(self._mean)]
            for table, (mean, direction), following, sizes in zip(self._whole, ready, ahead, self.sizes, strict=True):
                step = F.pad(table - mean + following, (0, 1))
                self._stages.append(_Stage(direction, step, digits(sizes) if len(sizes) > 1 else None))
        return self._stages

    def search(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, "vectors codes"]:
        """Codes of all stages, each the nearest to what the stages before it left."""
        stages = self._prepared()
        if len(x) == 1:
            return self._search_one(x[0])
        codes = torch.empty(len(x), sum(self.widths), dtype=torch.long)
        most = max(len(stage.direction) for stage in stages)
        rows = chunk_rows(most, len(x))
        held, moved = x.new_ones(rows, self.dim + 1), x.new_empty(rows, self.dim + 1)
        scores = x.new_empty(most * rows)
        with float32_products(x.device):
            for start in range(0, len(x), rows):
                part = x[start : start + rows]
                residual, taken = held[: len(part)], moved[: len(part)]
                torch.sub(part, self._mean, out=residual[:, :-1])
                column = 0
                for stage, width in zip(stages, self.widths, strict=True):
                    best = best_codes(stage.direction, residual, scores)
                    if column + width < codes.shape[1]:
                        residual -= torch.index_select(stage.step, 0, best, out=taken)
                    found = best[:, None] if stage.digits is None else stage.digits[best]
                    codes[start : start + rows, column : column + width] = found
                    column += width
        return codes

    def _search_one(self, x: Float[Tensor, " dim"]) -> Int[Tensor, "1 codes"]:
        """`search` of one vector, in NumPy but for the products: an operator of PyTorch takes longer than what is computed here."""
        residual = x.new_ones(self.dim + 1)
        scores = x.new_empty(max(len(stage.direction) for stage in self._stages))
        left, score = residual.numpy(), scores.numpy()  # the same memory
        np.subtract(x.numpy(), self._mean.numpy(), out=left[:-1])
        codes: list[int] = []
        with float32_products(x.device):
            for stage in self._stages:
                count = len(stage.step)
                torch.mv(stage.direction, residual, out=scores[:count])
                best = int(score[:count].argmax())
                left -= stage.step.numpy()[best]
                codes += (best,) if stage.digits is None else stage.digits.numpy()[best].tolist()
        return torch.tensor([codes], device=x.device)

    def decode(self, codes: Int[Tensor, "vectors codes"], stages: int) -> Float[Tensor, "vectors dim"] | None:
        """Σ of the rows of the first stages, −1 counting as zeros; None where some pieces of a stage are −1 and others not."""
        if native.serves(codes, torch.long):
            return summed_rows(codes, self._whole[:stages], self.sizes[:stages])
        if self._stacked is None:
            self._stacked = torch.cat([*self._whole, torch.zeros(1, self.dim, dtype=torch.float32)])
            bounds = [0]
            for table in self._whole:
                bounds.append(bounds[-1] + len(table))
            self._offsets = torch.tensor(bounds[:-1])
            self._places = _places(self.sizes)
        places = self._places[: sum(self.widths[:stages]), :stages]
        if len(places) == stages:
            index = codes + self._offsets[:stages]
        else:
            with float32_products(codes.device):  # of whole numbers below 2²⁴
                index = torch.addmm(self._offsets[:stages].float(), codes.float(), places).long()
        if int(codes.min() if codes.numel() else 0) < 0:
            gone = [run < 0 for run in codes.split(self.widths[:stages], dim=1)]
            if any((part.any(dim=1) != part.all(dim=1)).any() for part in gone):
                return None
            index = torch.where(torch.stack([part[:, 0] for part in gone], dim=1), len(self._stacked) - 1, index)
        return F.embedding_bag(index, self._stacked, mode="sum")


class PieceTables:
    """The codebooks of a stage's pieces, ready for decoding all pieces at once; whoever writes to them afterwards needs new ones.

    Args:
        tables: (codes, width) of each piece, all of one width.

    Example:
        >>> tables = PieceTables([torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0]])])
        >>> tables.decode(torch.tensor([[1, 0], [0, -1]])).tolist()
        [[3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 0.0, 0.0]]
    """

    def __init__(self, tables: Sequence[Float[Tensor, "codes width"]]) -> None:
        different = list({id(table): table for table in tables}.values())
        # a row of zeros before each table, for −1
        self._rows = torch.cat([F.pad(table, (0, 0, 1, 0)) for table in different])
        ends = [0, *accumulate(len(table) + 1 for table in different)]
        first = {id(table): end + 1 for table, end in zip(different, ends, strict=False)}
        self._first = torch.tensor([first[id(table)] for table in tables])
        self._alike = len({len(table) for table in tables}) == 1 and len(different) == len(tables)

    @staticmethod
    def fit(tables: Sequence[Tensor]) -> bool:
        """Whether different tables are small enough: to look whether they are still the same takes longer the more rows they have."""
        return sum(map(len, tables)) <= _MOST_ROWS and sum(table.numel() for table in tables) <= _MOST_FLOATS

    def decode(self, codes: Int[Tensor, "vectors pieces"]) -> Float[Tensor, "vectors dim"]:
        """The rows of every vector's codes, one after the other; −1 gives zeros."""
        if self._alike and native.serves(codes, torch.long):
            tables = self._rows.unflatten(0, (len(self._first), -1))
            return summed_pieces(codes, tables, 1, tables.shape[1])
        found = F.embedding(codes + self._first, self._rows)
        return found.view(len(codes), len(self._first) * self._rows.shape[1])


def composed_table(pieces: Sequence[Float[Tensor, "codes dim"]]) -> Float[Tensor, "composed dim"]:
    """All concatenations of a code of each piece, the last piece's code running fastest.

    Example:
        >>> composed_table([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])]).tolist()
        [[1.0, 3.0], [1.0, 4.0], [2.0, 3.0], [2.0, 4.0]]
    """
    whole = pieces[0]
    for piece in pieces[1:]:
        left = whole[:, None].expand(-1, len(piece), -1)
        whole = torch.cat([left, piece[None].expand(len(whole), -1, -1)], dim=-1).flatten(0, 1)
    return whole


def digits(sizes: Sequence[int]) -> Int[Tensor, "composed pieces"]:
    """The codes of the pieces of every composed code."""
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes)).view(-1, len(sizes))


def _places(sizes: Sequence[Sequence[int]]) -> Float[Tensor, "codes stages"]:
    """What each code counts in the index of its stage's composed code."""
    columns = [
        torch.tensor([float(prod(pieces[i + 1 :])) for i in range(len(pieces))], dtype=torch.float32)
        for pieces in sizes
    ]
    return torch.block_diag(*(column[:, None] for column in columns))
