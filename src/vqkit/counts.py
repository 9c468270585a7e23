"""Counts and rates that a caller gives. True and False are mistaken flags in their place, which Python would take for 1 and 0."""

import math
from typing import Any

import numpy as np

__all__ = ["check_numbers", "check_rate_weight", "check_stages", "is_flag", "is_whole"]


def is_flag(value: Any) -> bool:
    """Return whether a value is True or False, of Python or NumPy, and no number."""
    return isinstance(value, bool | np.bool_)


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer, of Python or NumPy, and no flag."""
    return isinstance(value, int | np.integer) and not is_flag(value)


def check_numbers(**named: Any) -> None:
    """Refuse True and False where counts or rates are meant; their range is the caller's to check.

    Args:
        named: values by the names that the message calls them; None is no value.

    Raises:
        ValueError: one of them is True or False.

    Example:
        >>> check_numbers(kbps=1.5, stages=True)
        Traceback (most recent call last):
            ...
        ValueError: stages must be a number, got True
    """
    for name, value in named.items():
        if is_flag(value):
            raise ValueError(f"{name} must be a number, got {value}")


def check_rate_weight(rate_weight: float | None) -> None:
    """Refuse what is no λ, the price of a bit; None is no λ, and allowed.

    Raises:
        ValueError: True or False, negative or not finite.
    """
    if rate_weight is None:
        return
    check_numbers(rate_weight=rate_weight)
    if not 0 <= rate_weight < math.inf:
        raise ValueError(f"rate_weight must be at least 0 and finite, got {rate_weight}")


def check_stages(stages: int, most: int, owner: str = "") -> int:
    """Refuse a number of first stages that does not exist.

    Args:
        stages: number of stages.
        most: number of stages that there are.
        owner: name of what has them, for the message: ``"the file"``.

    Returns:
        The number of stages.

    Raises:
        ValueError: a flag, a fraction, or not in 1 … ``most``.
    """
    if is_flag(stages) or isinstance(stages, float) or not 1 <= stages <= most:
        if owner:
            raise ValueError(f"stages is {stages}, {owner} has 1 to {most}")
        raise ValueError(f"stages must be in 1 … {most}, got {stages}")
    return stages
