"""Split of a data set into the items that a prior is fitted to and those that it is measured on."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from vqkit.data.items import Item, hashed_splits

__all__ = ["prior_split"]

_Item = TypeVar("_Item", bound=Item)


def prior_split(items: Sequence[_Item], data: Path, called: str) -> tuple[list[_Item], list[_Item]]:
    """Split items into those to fit and those to measure: the valid split chooses what is saved, or the test split where there is none.

    Where a data set names no such split, the hash of each item's name decides, as it does for training.

    Args:
        items: all items of the data set.
        data: the data set, for messages.
        called: what the items are, for messages.

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
    splits = hashed_splits(item.name for item in train)
    measured = next(split for split in ("valid", "test") if split in splits.values())
    fitted, held_out = ([item for item in train if splits[item.name] == split] for split in ("train", measured))
    warnings.warn(
        f"{data} names no {called} to measure, so the hash of each name decides: {len(fitted)} to fit, {len(held_out)} to measure",
        stacklevel=2,
    )
    return fitted, held_out
