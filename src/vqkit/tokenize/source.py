"""Corpora: what lies where, cut into units of some items each.

A unit is a small JSON object that says where its items are, so that a worker on another machine finds them, and so that planning holds
one unit at a time. Each source yields units in an order that depends on nothing but the corpus.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from vqkit.tokenize.item import Item

__all__ = ["Source", "Unit", "batched_units"]

Unit = dict[str, Any]
"""Location of a group of items: plain JSON, with the source's name as ``"source"``."""


class Source(ABC):
    """Base class of the ways in which a corpus is stored.

    Args:
        root: Path of the corpus.

    Attributes:
        name: Name of the source in units.
        kinds: Kinds of content seen while planning: ``"sound"``, ``"images"``, ``"video"``.
        left_out: Files passed over while planning, since nothing says that they hold items.
    """

    name: ClassVar[str]

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kinds: set[str] = set()
        self.left_out = 0

    @abstractmethod
    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield units of at most ``most_items`` items; a file that cannot be read is one with a ``fault``.

        Raises:
            ValueError: The corpus is damaged.
        """

    def unreadable(self, file: str, reason: str) -> Unit:
        """A unit whose only item is a file of several items that cannot be read, or not to its end."""
        return {"source": self.name, "file": file, "fault": reason, "items": 1}

    @abstractmethod
    def items(self, unit: Unit) -> Iterator[Item]:
        """Yield the items of a unit, one at a time; one that cannot be read has a ``fault``."""


def batched_units(
    name: str, field: str, entries: Iterator[Any], most_items: int, most_bytes: int = 1 << 18
) -> Iterator[Unit]:
    """Yield units that list their items, limited in the number of items and in the bytes of their JSON.

    Args:
        name: Name of the source.
        field: Field of the unit that holds the list.
        entries: Entries of the items, as JSON.
        most_items: Largest number of items in a unit.
        most_bytes: Largest size of a unit in bytes of JSON, exceeded by at most one entry.
    """
    held: list[Any] = []
    size = 0
    for entry in entries:
        held.append(entry)
        size += len(json.dumps(entry))
        if len(held) == most_items or size > most_bytes:
            yield {"source": name, field: held, "items": len(held)}
            held, size = [], 0
    if held:
        yield {"source": name, field: held, "items": len(held)}
