"""Probability models of codes in whole numbers, so that encoder and decoder agree on every machine.

What is guaranteed
    constriction's range coder works on 24-bit integer probabilities. ``Uniform(K)`` makes them by integer division. ``Categorical`` takes
    floats: with ``perfect=False`` symbol i gets ``floor(scale · w_0..i) − floor(scale · w_0..i−1) + 1`` of 2^24, where
    ``scale = (2^24 − K) / Σ w``. The weights made here are integers of sum 2^24 − K, so scale is 1 and every sum is an integer
    below 2^53: float64 holds all of it exactly, in any order of addition, and there is nothing to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vqkit.types import need

if TYPE_CHECKING:
    from torch import Tensor

PRECISION_BITS = 24  # of constriction's default models
_DIRECT_SIZE = 1 << 16  # a larger uniform alphabet is coded in parts: floor(2^24 / K) would waste more than 0.006 bit
_PART_SIZE = 1 << 12  # balances the waste of a part, 1.44 / 2^12 bit, with that of the last, incomplete row
_HISTOGRAM_SIZE = 1 << 20  # beyond it too little of the 2^24 is left to tell codes apart
_LARGEST_SIZE = 1 << 62


@dataclass(frozen=True)
class CodePart:
    """Digit of a code in mixed radix: ``size`` values, coded by ``model``."""

    size: int
    model: Any  # constriction.stream.model.Model, which has no type stubs


def code_parts(code_size: int, histogram: np.ndarray | None) -> list[CodePart]:
    """The models that code one position, the most significant part first; none for an alphabet of one code.

    Args:
        code_size: number of codes, 1 … 2^62.
        histogram: how often each code occurs, ``(code_size,)`` int64; None codes all alike, at log2(code_size) bits.

    Returns:
        The parts: code = (first · size of second + second) · size of third ….
    """
    models = need("constriction", "audio").stream.model
    if code_size == 1:
        return []
    if histogram is not None:
        return [CodePart(code_size, models.Categorical(exact_weights(histogram), perfect=False))]
    return [CodePart(size, models.Uniform(size)) for size in part_sizes(code_size)]


def part_sizes(code_size: int) -> list[int]:
    """Sizes of the parts of a uniform alphabet, the most significant first; their product is at least ``code_size``.

    Example:
        >>> part_sizes(4375), part_sizes(2**30)
        ([4375], [64, 4096, 4096])
    """
    sizes = []
    while code_size > _DIRECT_SIZE:
        rows = -(-code_size // _PART_SIZE)
        sizes.append(-(-code_size // rows))
        code_size = rows
    return [code_size, *reversed(sizes)]


def exact_weights(histogram: np.ndarray, total: int | None = None) -> np.ndarray:
    """Integers of sum 2^24 − K in proportion to a histogram of K counts; a zero counts as one, so that every code can be coded.

    Args:
        histogram: ``(..., code_size)`` int64, at least 0.
        total: another sum, from 0 to 2^24 − K.

    Returns:
        ``(..., code_size)`` float64 of whole numbers; code i then has probability ``(w_i + 1) / 2^24``.

    Example:
        >>> exact_weights(np.array([3, 1])).tolist()
        [12582910.0, 4194304.0]
    """
    size = histogram.shape[-1]
    free = (1 << PRECISION_BITS) - size if total is None else total
    # cumulative count × free must stay below 2^63
    excess = max(0, int(histogram.max()).bit_length() + size.bit_length() + PRECISION_BITS - 63)
    bounds = np.cumsum(np.maximum(histogram >> excess if excess else histogram, 1), axis=-1)
    ends = bounds * free // bounds[..., -1:]
    weights = ends.astype(np.float64)
    weights[..., 1:] -= ends[..., :-1]  # whole numbers below 2^24, exact in float64
    return weights


def check_code_sizes(code_sizes: Sequence[int]) -> None:
    """Raise ValueError unless every alphabet has 1 … 2^62 codes."""
    for position, size in enumerate(code_sizes):
        if not 1 <= size <= _LARGEST_SIZE:
            raise ValueError(f"code_sizes[{position}] is {size}, allowed are 1 to 2^62")


def check_frequencies(
    frequencies: Sequence[Tensor | np.ndarray | None] | None, code_sizes: Sequence[int]
) -> list[np.ndarray | None]:
    """Check the frequencies and return an int64 histogram, or None, for each code position.

    Raises:
        ValueError: the number, a length, a type or a value is wrong.
    """
    if frequencies is None:
        return [None] * len(code_sizes)
    if len(frequencies) != len(code_sizes):
        raise ValueError(f"{len(frequencies)} frequencies for {len(code_sizes)} code positions, expected one each")
    return [
        _checked(counts, size, position)
        for position, (counts, size) in enumerate(zip(frequencies, code_sizes, strict=True))
    ]


def _checked(counts: Tensor | np.ndarray | None, size: int, position: int) -> np.ndarray | None:
    if counts is None:
        return None
    array = np.asarray(counts) if isinstance(counts, np.ndarray) else counts.detach().cpu().numpy()
    name = f"frequencies[{position}]"
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype}, expected integer counts")
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({size},), a count for each code")
    if size > _HISTOGRAM_SIZE:
        raise ValueError(
            f"{name} has {size} counts, at most {_HISTOGRAM_SIZE} are allowed: pass None for a uniform model"
        )
    if array.min() < 0 or array.max() >= 1 << 62:
        raise ValueError(
            f"{name} holds {array.min() if array.min() < 0 else array.max()}, expected counts from 0 to below 2^62"
        )
    return array.astype(np.int64)
