"""Does a quantizer use its codes, and what to change if it does not.

A code that nothing chooses costs its share of the rate and says nothing. It is easily overlooked: the loss falls all the same.
"""

from itertools import chain
from typing import Self

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.product import Product
from vqkit.ranks import sum_over_ranks
from vqkit.types import Int

__all__ = ["CodeUse", "advice", "usage_advice"]

_FEW = 0.75  # share of the codes below which a position uses few: one of two is few, three of four are not
_FEW_OF_SHARED = 0.51  # where positions share a codebook, each has its own favourites, and together they use all of it
_TOKENS = 10  # vectors for each code without which nobody can tell
_COUNTED = 1 << 20  # larger alphabets are not counted


def usage_advice(quantizer: Quantizer, codes: Int[Tensor, "*shape codes"]) -> str | None:
    """Say in one line whether a quantizer uses few of its codes, and what to change.

    Args:
        quantizer: what made the codes.
        codes: codes of data that it was not trained on, ten times as many vectors as codes or more; −1 is not counted.

    Returns:
        The line; None where at least three quarters of the codes are used at every position (half, where positions share a codebook), or
        there are too few vectors to tell.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> quantizer = VQ.paper(dim=8, codebook_size=64)
        >>> print(usage_advice(quantizer, torch.zeros(1, 900, 1, dtype=torch.long)))
        VQ uses 1 of 64 codes: build it with revive='split', which moves unused codes next to those in use
    """
    return CodeUse(quantizer).update(codes).advice()


class CodeUse:
    """Codes that occur in a stream, of all ranks together.

    Args:
        quantizer: what makes the codes.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        self.quantizer = quantizer
        device = next(chain(quantizer.parameters(), quantizer.buffers(), [torch.empty(0)])).device
        sizes = quantizer.code_sizes
        self._hits = [
            torch.zeros(size, dtype=torch.int64, device=device) if size <= _COUNTED else None for size in sizes
        ]
        self._tokens = torch.zeros(len(sizes), dtype=torch.int64, device=device)

    def update(self, codes: Int[Tensor, "*shape codes"]) -> Self:
        """Count codes; −1 is not counted."""
        columns = codes.detach().reshape(-1, self.quantizer.num_codes)
        self._tokens += (columns >= 0).sum(dim=0)
        for held, column in zip(self._hits, columns.unbind(dim=1), strict=True):
            if held is not None:
                held += torch.bincount(column[column >= 0], minlength=len(held))
        return self

    def advice(self) -> str | None:
        """What `usage_advice` says of all codes so far; with several ranks each has to call."""
        tokens = sum_over_ranks(self._tokens).tolist()
        counted = zip(self.quantizer.code_sizes, self._hits, strict=True)
        used = [size if held is None else int((sum_over_ranks(held) > 0).sum()) for size, held in counted]
        return advice(self.quantizer, used, tokens)


def advice(quantizer: Quantizer, used: list[int], tokens: list[int]) -> str | None:
    """The line of `usage_advice`, from what was counted.

    Args:
        quantizer: what made the codes.
        used: codes that occur at each position.
        tokens: how many codes each position had.
    """
    shares = [
        found / min(size, count // _TOKENS) if count >= 2 * _TOKENS else 1.0
        for found, size, count in zip(used, quantizer.code_sizes, tokens, strict=True)
    ]
    few = sum(share < (_FEW_OF_SHARED if _shares_codebooks(quantizer) else _FEW) for share in shares)
    if not few:
        return None
    worst = min(range(len(shares)), key=lambda i: shares[i])
    where = "" if len(shares) == 1 else f" at position {worst}, and few at {few} of {len(shares)} positions"
    named = f"{type(quantizer).__name__} uses {used[worst]} of {quantizer.code_sizes[worst]} codes{where}"
    return f"{named}: {_remedy(quantizer, max(2, used[worst]))}"


def _remedy(quantizer: Quantizer, used: int) -> str:
    books = [part for part in quantizer.modules() if isinstance(part, Codebook)]
    if not books:
        return "take fewer levels or bits, or call fit(latents) before the training"
    if any(book.revive in ("none", "restart") for book in books):
        return "build it with revive='split', which moves unused codes next to those in use"
    if any(book.init == "uniform" for book in books):
        return "build it with init='kmeans', or call fit(latents) before the training"
    if _shares_codebooks(quantizer):
        return "give each piece a codebook of its own, or call fit(latents) before the training"
    return f"train longer or with larger batches, raise restart_threshold, or take a codebook_size of about {used}"


def _shares_codebooks(quantizer: Quantizer) -> bool:
    return any(isinstance(part, Product) and part.repeats > 1 for part in quantizer.modules())
