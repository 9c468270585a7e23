"""Constructor arguments, checked in one place with one form of message."""

from collections.abc import Collection

__all__ = ["one_of", "positive", "share"]


def positive(name: str, value: int) -> int:
    """An integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return value


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def share(name: str, value: float) -> float:
    """A number in 0 … 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0 … 1, got {value!r}")
    return value
