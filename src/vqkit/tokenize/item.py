"""What flows through a tokenization: an item goes in, its codes come out. Nothing heavy is imported here: every worker starts with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["BatchEncoder", "Encoded", "Encoder", "Item"]


@dataclass(frozen=True)
class Item:
    """One sound or image of a corpus.

    Attributes:
        key: Its name in the corpus, with forward slashes; the same on every machine, and unique.
        data: A file, or the bytes of one.
        fault: Why it cannot be read, where that is known already.
    """

    key: str
    data: Path | bytes
    fault: str = ""


@dataclass(frozen=True)
class Encoded:
    """The codes of an item.

    Attributes:
        kind: ``"sound"`` or ``"images"``.
        codes: (frames, num_codes) or (rows, columns, num_codes) integers.
        seconds: Length of sound; 0 of an image.
        size: Samples of sound at the model's rate, or height and width of an image.
        notes: What was changed or is missing.
        vqk: The same as a ``.vqk`` file; empty where none was wanted.
    """

    kind: str
    codes: np.ndarray
    seconds: float
    size: tuple[int, ...]
    notes: tuple[str, ...] = ()
    vqk: bytes = field(default=b"", repr=False)


class Encoder(Protocol):
    """What makes codes of items; picklable, since every worker gets it."""

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON for the manifest; ``largest_code`` says which integers hold its codes."""

    def load(self) -> Any:
        """Whatever `encode` needs, loaded once in each worker."""

    def encode(self, loaded: Any, item: Item) -> Encoded:
        """Codes of an item; what it raises is listed as the reason why the item has none."""


@runtime_checkable
class BatchEncoder(Encoder, Protocol):
    """An encoder whose networks take several items at once.

    Attributes:
        batch: How many.
    """

    batch: int

    def encode_together(
        self, loaded: Any, items: Sequence[Item], at: Callable[[int], None]
    ) -> list[Encoded | Exception]:
        """Codes of items, or for each that has none the reason; the same items give the same every time.

        ``at`` is called with the number of the item that is read next, and with −1 before all are computed.
        """
