"""Input and output of a tokenization: items and their codes. Nothing heavy is imported here, since every worker starts with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["BatchEncoder", "Encoded", "Encoder", "Item"]


@dataclass(frozen=True)
class Item:
    """Sound or image of a corpus.

    Attributes:
        key: Name of the item in the corpus, with forward slashes; the same on every machine, and unique.
        data: Path of a file, or the bytes of one.
        fault: Why the item cannot be read, where that is known already.
    """

    key: str
    data: Path | bytes
    fault: str = ""


@dataclass(frozen=True)
class Encoded:
    """Codes of an item.

    Attributes:
        kind: ``"sound"`` or ``"images"``.
        codes: (frames, num_codes) or (rows, columns, num_codes) integers.
        seconds: Duration of sound or video in seconds; 0 for an image.
        size: Number of samples of sound at the model's rate, or height and width of an image.
        notes: Notes on what was changed or is missing.
        vqk: The codes as a ``.vqk`` file; empty where none was requested.
    """

    kind: str
    codes: np.ndarray
    seconds: float
    size: tuple[int, ...]
    notes: tuple[str, ...] = ()
    vqk: bytes = field(default=b"", repr=False)


class Encoder(Protocol):
    """Interface of the encoders, which turn items into codes; picklable, since every worker gets a copy."""

    def describe(self) -> dict[str, Any]:
        """Describe the encoder, as JSON for the manifest; ``largest_code`` determines the integer type of the codes."""

    def load(self) -> Any:
        """Load all that `encode` needs, once in each worker."""

    def encode(self, loaded: Any, item: Item) -> Encoded:
        """Encode an item; an error that it raises is listed as the reason why the item has no codes."""


@runtime_checkable
class BatchEncoder(Encoder, Protocol):
    """Interface of encoders whose networks take several items at once.

    Attributes:
        batch: Largest number of items at once.
    """

    batch: int

    def encode_together(
        self, loaded: Any, items: Sequence[Item], at: Callable[[int], None]
    ) -> list[Encoded | Exception]:
        """Encode items; return each one's codes, or the reason why it has none; the same items give the same result every time.

        ``at`` is called with the number of the item that is read next, and with −1 before all are computed.
        """
