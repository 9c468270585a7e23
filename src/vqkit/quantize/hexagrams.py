"""Hexagrams: the binary indices behind IVQ, their lines, and their symmetries.

Conventions
    A hexagram of L lines is an index i in 0 … 2^L − 1 with bits b1 … bL, b1 the most significant. A stage of k pieces covers L/k
    consecutive lines a piece; a piece's code is the big-endian number of its lines.

References:
    IVQ, sections 3.2.1 and 3.2.3.
"""

import torch
from torch import Tensor

from vqkit.types import Int

__all__ = ["cuo", "cuozong", "digits", "from_digits", "orbits", "zong"]


def digits(index: Int[Tensor, "*shape"], lines: int, pieces: int) -> Int[Tensor, "*shape pieces"]:
    """The code of each piece of a hexagram.

    Example:
        >>> digits(torch.tensor(0b110100), lines=6, pieces=3)
        tensor([3, 1, 0])
    """
    width = lines // pieces
    shifts = torch.arange(pieces - 1, -1, -1, device=index.device) * width
    return index[..., None] >> shifts & ((1 << width) - 1)


def from_digits(codes: Int[Tensor, "*shape pieces"], lines: int) -> Int[Tensor, "*shape"]:
    """The hexagram of the codes of its pieces; −1 where the codes are −1 (masked).

    Example:
        >>> from_digits(torch.tensor([3, 1, 0]), lines=6)
        tensor(52)
    """
    pieces = codes.shape[-1]
    shifts = torch.arange(pieces - 1, -1, -1, device=codes.device) * (lines // pieces)
    return torch.where((codes < 0).any(dim=-1), -1, (codes.clamp_min(0) << shifts).sum(dim=-1))


def zong(index: Int[Tensor, "*shape"], lines: int) -> Int[Tensor, "*shape"]:
    """Reverse the order of the lines.

    Example:
        >>> zong(torch.tensor(0b100110), lines=6) == 0b011001
        tensor(True)
    """
    return from_digits(digits(index, lines, lines).flip(-1), lines)


def cuo(index: Int[Tensor, "*shape"], lines: int) -> Int[Tensor, "*shape"]:
    """Negate every line.

    Example:
        >>> cuo(torch.tensor(0b100110), lines=6) == 0b011001
        tensor(True)
    """
    return index ^ ((1 << lines) - 1)


def cuozong(index: Int[Tensor, "*shape"], lines: int) -> Int[Tensor, "*shape"]:
    """Negate every line, then reverse their order.

    Example:
        >>> cuozong(torch.tensor(0b000111), lines=6) == 0b000111
        tensor(True)
    """
    return zong(cuo(index, lines), lines)


def orbits(lines: int) -> list[tuple[int, ...]]:
    """The groups of hexagrams that zong and cuo map onto each other.

    Example:
        >>> len(orbits(6))
        20
    """
    every = torch.arange(1 << lines)
    related = torch.stack([every, zong(every, lines), cuo(every, lines), cuozong(every, lines)], dim=1)
    return sorted({tuple(sorted(set(row))) for row in related.tolist()})
