"""The first stages of a quantizer or a file: how many codes and bits they have, and how many of them fit into a rate."""

import math
from collections.abc import Sequence
from itertools import accumulate

from vqkit.counts import check_numbers

__all__ = ["stage_bits", "stage_ends", "stages_within"]


def stage_ends(codes_per_stage: Sequence[int]) -> tuple[int, ...]:
    """Number of codes of the first stage, of the first two stages, ….

    Args:
        codes_per_stage: number of codes of each stage.

    Example:
        >>> stage_ends((2, 2, 1))
        (2, 4, 5)
    """
    return tuple(accumulate(codes_per_stage))


def stage_bits(
    code_sizes: Sequence[int], codes_per_stage: Sequence[int], density: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Bits of the first stage, of the first two stages, …, before entropy coding.

    Args:
        code_sizes: alphabet of each code.
        codes_per_stage: number of codes of each stage.
        density: share of the vectors that have each code; 1 by default.

    Example:
        >>> stage_bits((4, 4, 8), (2, 1))
        (4.0, 7.0)
    """
    shares = [1.0] * len(code_sizes) if density is None else density
    bits = (0.0, *accumulate(share * math.log2(size) for size, share in zip(code_sizes, shares, strict=True)))
    return tuple(bits[end] for end in stage_ends(codes_per_stage))


def stages_within(rates: Sequence[float], limit: float, name: str, owner: str, unit: str) -> int:
    """Count the first stages whose rate is within a limit.

    Args:
        rates: rate of the first stage, of the first two, ….
        limit: highest rate.
        name: name of the limit, for the message.
        owner: owner of these rates, for the message: ``"this codec has"``.
        unit: unit of the rates, for the message.

    Returns:
        At least 1.

    Raises:
        ValueError: not even the first stage fits, or the limit is True or False.

    Example:
        >>> stages_within((0.6, 1.2, 1.8), 1.3, "kbps", "this codec has", "kbit/s")
        2
    """
    check_numbers(**{name: limit})
    # rates may be rounded to nine digits, and sums of logarithms end a little beside whole numbers
    stages = sum(rate <= limit * (1 + 1e-9) + 1e-9 for rate in rates)
    if stages == 0:
        known = ", ".join(f"{rate:.4g}" for rate in rates)
        raise ValueError(f"{name}={limit:g} is below the first stage; {owner} the rates {known} {unit}")
    return stages
