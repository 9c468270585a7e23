"""Which items of a data set a prior is fitted to, and which it is measured on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["prior_split"]

_HELD_OUT = 10  # where a data set names no others: every tenth


class _Item(Protocol):
    @property
    def split(self) -> str: ...


Item = TypeVar("Item", bound=_Item)


def prior_split(items: Sequence[Item], data: Path, called: str) -> tuple[list[Item], list[Item]]:
    """Items to fit, and others to measure: what is saved is chosen on the valid split, or on the test split where there is none.

    Args:
        items: with a ``split``.
        data: where they are from, for messages.
        called: what they are, for messages.

    Raises:
        ValueError: too few to hold some out.
    """
    train = [item for item in items if item.split == "train"] or [item for item in items if not item.split]
    for split in ("valid", "test"):
        held_out = [item for item in items if item.split == split]
        if train and held_out:
            return train, held_out
    if len(train) < 2:
        raise ValueError(f"{data} has {len(train)} {called} to fit and none to measure; at least two are needed")
    kept = [item for place, item in enumerate(train) if place % _HELD_OUT]
    return kept, train[::_HELD_OUT]
