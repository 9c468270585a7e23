"""What changed between two settings of a run, in words."""

from typing import Any

__all__ = ["first_difference"]


def first_difference(before: Any, now: Any, where: str) -> str | None:
    """The first entry in which nested dictionaries of plain values differ; None where they are alike.

    Args:
        before: what was.
        now: what is wanted.
        where: name of what is compared.

    Example:
        >>> first_difference({"seed": 0, "data": {"size": 16}}, {"seed": 0, "data": {"size": 32}}, "run")
        'run.data.size = 16, not 32'
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            change = first_difference(before.get(key), now.get(key), f"{where}.{key}")
            if change:
                return change
        return None
    return None if before == now else f"{where} = {before!r}, not {now!r}"
