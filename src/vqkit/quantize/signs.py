"""Stages of two-code pieces: every choice is the sign of one projection, and one product gives all of them.

A piece with the codes m ± ½d takes the second where d·(r − m) > 0. The residual of a later stage needs no vectors either: with b_t = ±½ the
choices of the stages before, in the same piece, r_s = z − Σ_{t<s} (m_t + b_t·d_t), and

    d_s·(r_s − m_s) = d_s·(z − Σ_t m_t) + d_s·Σ_{t>s} m_t − Σ_{t<s} b_t·(d_s·d_t),

so that after one product of z − Σ m_t with all d_s only one number a piece and stage is left (IVQ's yin-yang: 24).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import native
from vqkit.quantize.native_sums import summed_pieces
from vqkit.quantize.search import float32_products
from vqkit.types import Float, Int

__all__ = ["StageSigns"]

_MOST_COMBINED = 5  # stages: 243 combinations of a piece
_ROWS = 2048  # at once: what a chunk's vectors take stays in the cache


class StageSigns:
    """A residual quantizer whose stages all cut the vector alike into pieces of two codes, ready for search.

    Args:
        tables: for each stage the (2, piece dim) tables of its pieces.
    """

    def __init__(self, tables: Sequence[Sequence[Float[Tensor, "2 dim"]]]) -> None:
        books = torch.stack([torch.stack(list(pieces)) for pieces in tables])  # (stages, pieces, 2, piece dim)
        self.stages, self.pieces, _, width = books.shape
        middle = books.mean(dim=2)
        difference = books[:, :, 1] - books[:, :, 0]
        self._middle = middle.sum(dim=0).flatten()
        projection = difference.new_zeros(self.stages, self.pieces, self.pieces, width)
        projection[:, range(self.pieces), range(self.pieces)] = difference
        self._projection = projection.flatten(2).flatten(0, 1)  # (stages · pieces, dim)
        later = middle.sum(dim=0) - middle.cumsum(dim=0)
        self._thresholds = -(difference * later).sum(dim=-1, keepdim=True)  # (stages, pieces, 1)
        self._products = torch.einsum("spw,tpw->stp", difference, difference).contiguous()
        self._books = books
        self._by_piece = difference.permute(
            1, 2, 0
        ).contiguous()  # (pieces, piece dim, stages), for the compiled search
        self._sums: dict[int, Tensor] = {}

    @staticmethod
    def fit(sizes: Sequence[Sequence[int]]) -> bool:
        """Whether the stages have this form."""
        return len({len(pieces) for pieces in sizes}) == 1 and all(size == 2 for pieces in sizes for size in pieces)

    def search(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, "vectors codes"]:
        """Codes of all stages; a tie takes code 0."""
        if native.serves(x, torch.float32) and self.stages <= native.MOST_STAGES:
            middle, threshold = self._middle.view(self.pieces, -1), self._thresholds[..., 0].contiguous()
            return native.sign_codes(x, self._by_piece, middle, threshold, self._products)
        if len(x) == 1:
            return self._search_one(x[0])
        codes = torch.empty(len(x), self.stages * self.pieces, dtype=torch.long)
        with float32_products(x.device):
            for start in range(0, len(x), _ROWS):
                margins = torch.mm(self._projection, (x[start : start + _ROWS] - self._middle).T)
                margin = margins.view(self.stages, self.pieces, -1)
                chosen = torch.empty_like(margins, dtype=torch.bool)
                for s, bits in enumerate(chosen.view_as(margin)):
                    torch.gt(margin[s], self._thresholds[s], out=bits)
                    if s + 1 < self.stages:
                        half = bits.to(x.dtype).sub_(0.5)
                        margin[s + 1 :].addcmul_(self._products[s + 1 :, s, :, None], half, value=-1)
                codes[start : start + _ROWS] = chosen.T
        return codes

    def _search_one(self, x: Float[Tensor, " dim"]) -> Int[Tensor, "1 codes"]:
        """`search` of one vector, in NumPy but for the product: an operator of PyTorch takes longer than what is computed here."""
        with float32_products(x.device):
            margin = torch.mv(self._projection, x - self._middle).numpy().reshape(self.stages, self.pieces)
        codes = np.empty(margin.shape, dtype=np.int64)
        for s, threshold in enumerate(self._thresholds.numpy()):
            bits = margin[s] > threshold[:, 0]
            codes[s] = bits
            margin[s + 1 :] -= self._products.numpy()[s + 1 :, s] * (bits - np.float32(0.5))
        return torch.from_numpy(codes.reshape(1, -1))

    def decode(self, codes: Int[Tensor, "vectors codes"], stages: int) -> Float[Tensor, "vectors dim"] | None:
        """Vectors of the codes of the first stages, −1 counting as zeros, by the compiled library; None without it.

        The codes of a piece in all stages, −1 among them, are one of 3^stages combinations, and their sum is a row of a table.
        """
        if not native.serves(codes, torch.long) or stages > _MOST_COMBINED:
            return None
        if stages not in self._sums:
            self._sums[stages] = self._summed(stages)
        return summed_pieces(codes, self._sums[stages], stages, 3)

    def _summed(self, stages: int) -> Float[Tensor, "pieces combinations width"]:
        total = self._books.new_zeros(self.pieces, 1, self._books.shape[-1])
        for book in self._books[:stages]:  # in this order, so that it is the plain loop's sum bit for bit
            total = (total[:, :, None] + F.pad(book, (0, 0, 1, 0))[:, None]).flatten(1, 2)
        return total.contiguous()
