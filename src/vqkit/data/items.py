"""Items of a data set of any modality, and the split of a data set that names none.

A folder of files without splits is a data set for every command: the hash of its name puts each file into one, so that every command and
every machine finds the same split, and a new file moves no other.
"""

import hashlib
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

__all__ = ["HASHED", "Item", "SplitError", "hashed_splits", "kept"]

HASHED = {"valid": 0.1, "test": 0.1}
"""Share of the names that the hash puts into each split; the others are the training split."""


class SplitError(ValueError):
    """Error of a data set that lacks a requested split or group.

    Args:
        message: text on what is missing, and what there is.
        field: ``"split"`` or ``"group"``.
    """

    def __init__(self, message: str, field: str = "split") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Item:
    """File of a data set, or one entry of a file of many.

    Attributes:
        path: path of the file.
        name: path of the item within the data set, with forward slashes; the same on every machine.
        split: "train", "valid", "test", another word of the data set, or "" where none is known.
        group: the manifest's group, or "".
        label: the class, as a word or a number: the manifest's, or the innermost folder that is no split; or "".
    """

    path: Path
    name: str
    split: str = ""
    group: str = ""
    label: str = field(default="", kw_only=True)


_Item = TypeVar("_Item", bound=Item)


def hashed_splits(names: Iterable[str]) -> dict[str, str]:
    """Split names by their hashes: a tenth each is "valid" and "test", the rest "train"; none is empty from three names on.

    Example:
        >>> splits = hashed_splits(f"{number}.wav" for number in range(1000))
        >>> [list(splits.values()).count(split) for split in ("train", "valid", "test")]
        [790, 107, 103]
    """
    places = {name: _place(name) for name in names}
    splits = {name: _split_at(place) for name, place in places.items()}
    for wanted in ("train", *HASHED):  # too few names for chance to reach every split
        most = max(("train", *HASHED), key=list(splits.values()).count)
        if wanted not in splits.values() and list(splits.values()).count(most) > 1:
            first = min((name for name, split in splits.items() if split == most), key=places.__getitem__)
            splits[first] = wanted
    return splits


def kept(items: Sequence[_Item], source: Path, what: str, split: str | None, group: str | None = None) -> list[_Item]:
    """Return the items of a split and a group; where no item has a split, those that the hash of their names puts into it.

    Args:
        items: all items of a data set.
        source: the data set, for messages.
        what: name of the items, for messages.
        split: name of a split; None keeps all.
        group: name of a group; None keeps all.

    Raises:
        SplitError: there is no such split or group, or there are too few items to split them.
    """
    if split in ("train", *HASHED) and not any(item.split for item in items):
        if len(items) < 3:
            raise SplitError(
                f"{source} has {len(items)} item{'s' * (len(items) != 1)} of {what} and no splits; three are needed to split it"
            )
        splits = hashed_splits(item.name for item in items)
        counts = [f"{list(splits.values()).count(name)} {name}" for name in ("train", *HASHED)]
        warnings.warn(
            f"{source} has no splits, so the hash of each file's name decides: {', '.join(counts)}", stacklevel=3
        )
        items = [replace(item, split=splits[item.name]) for item in items]
    for field_, wanted in (("split", split), ("group", group)):
        if wanted is None:
            continue
        found = [item for item in items if getattr(item, field_) == wanted]
        if not found:
            known = sorted({getattr(item, field_) for item in items} - {""})
            there = f"there is {', '.join(map(repr, known))}" if known else f"no {field_} is stated there"
            raise SplitError(f"{source} has no {what} of {field_} {wanted!r}; {there}", field_)
        items = found
    return list(items)


def _place(name: str) -> float:
    """Hash a name to a number in 0 … 1; the same for both ways in which systems spell "é"."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64


def _split_at(place: float) -> str:
    end = 0.0
    for split, share in HASHED.items():
        end += share
        if place < end:
            return split
    return "train"
