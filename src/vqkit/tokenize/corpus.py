"""Sources of a corpus, and its plan: all units, one JSON line each, written once and read again by every resume.

{"unit": 0, "source": "files", "files": ["a.wav", …], "items": 512}
…
{"end": 1234, "items": 631808, "kinds": ["sound"]}
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqkit.files import NewFile
from vqkit.tokenize.folder_source import FolderSource
from vqkit.tokenize.item import Item
from vqkit.tokenize.kaldi_source import ScpSource
from vqkit.tokenize.source import Source, Unit
from vqkit.tokenize.table_source import ParquetSource, SavedSource
from vqkit.tokenize.tar_source import TarSource

__all__ = ["Corpus", "Plan"]

_SAVED = ("dataset_dict.json", "state.json")


class Corpus:
    """Corpus at a path: files, tars, Parquet files, a saved data set, or an ``.scp`` list.

    Args:
        root: File or folder.
        column: Column of tables.

    Raises:
        FileNotFoundError: There is nothing at the path.

    Example:
        >>> from vqkit.data import sample_folder
        >>> corpus = Corpus(sample_folder())
        >>> unit = next(corpus.units(most_items=2))
        >>> [item.key for item in corpus.items(unit)] == unit["files"]
        True
    """

    def __init__(self, root: str | Path, column: str | None = None) -> None:
        self.root = Path(root)
        if not self.root.exists():
            raise FileNotFoundError(f"no such file or folder: {root}")
        lower = self.root.name.lower()
        sources: list[Source]
        if self.root.is_dir() and any((self.root / name).is_file() for name in _SAVED):
            sources = [SavedSource(self.root, column)]
        elif self.root.is_dir():
            sources = [FolderSource(self.root), TarSource(self.root), ParquetSource(self.root, column)]
        elif lower.endswith(".scp"):
            sources = [ScpSource(self.root)]
        elif lower.endswith(TarSource.suffixes):
            sources = [TarSource(self.root)]
        elif lower.endswith(".parquet"):
            sources = [ParquetSource(self.root, column)]
        else:
            sources = [FolderSource(self.root)]
        self._sources = {source.name: source for source in sources}

    @property
    def kinds(self) -> set[str]:
        """Kinds of content that planning has come across."""
        return set().union(*(source.kinds for source in self._sources.values()))

    @property
    def left_out(self) -> int:
        """How many files planning has passed over, since nothing says that they hold items."""
        return sum(source.left_out for source in self._sources.values())

    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield all units, in an order that depends on the corpus alone."""
        for source in self._sources.values():
            yield from source.units(most_items)

    def items(self, unit: Unit) -> Iterator[Item]:
        """The items of a unit."""
        if "fault" in unit:
            return iter([Item(unit["file"], b"", unit["fault"])])
        return self._sources[unit["source"]].items(unit)


@dataclass(frozen=True)
class Plan:
    """Plan of a corpus that has been written to a file.

    Attributes:
        path: Path of the file.
        units: Number of units.
        items: Number of items in all units.
        kinds: Kinds of content.
        sha256: SHA-256 digest of the file.
    """

    path: Path
    units: int
    items: int
    kinds: tuple[str, ...]
    sha256: str

    @classmethod
    def write(cls, corpus: Corpus, path: Path, most_items: int) -> "Plan":
        """Go through a corpus once, holding one unit at a time.

        Raises:
            ValueError: It holds nothing that could be tokenized, or nothing that can be read.
        """
        items = unreadable = 0
        first = ""
        with NewFile(path, make_folders=True) as new:
            for unit, line in _planned(corpus, most_items):
                new.file.write(line)
                items += unit.get("items", 0)
                if "fault" in unit:
                    unreadable += 1
                    first = first or f"{unit['file']} is {unit['fault']}"
            if items and items == unreadable:
                raise ValueError(
                    first if corpus.root.is_file() else f"{corpus.root} holds nothing to tokenize: {first}"
                )
            if not items:
                raise ValueError(
                    f"{corpus.root} holds no sound and no images: allowed are files, .tar, .parquet, folders of datasets, and .scp lists"
                )
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read the end of a plan, and its checksum.

        Raises:
            ValueError: The file is no plan.
        """
        digest, last = hashlib.sha256(), b""
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                last = line
        end = _object(last, path)
        if "end" not in end:
            raise ValueError(f"{path} is no plan of a corpus: its last line is not the end")
        return cls(path, int(end["end"]), int(end["items"]), tuple(end["kinds"]), digest.hexdigest())

    def items_now(self, corpus: Corpus, most_items: int) -> int | None:
        """How many items the corpus has now; None where they are those of the plan."""
        digest, items = hashlib.sha256(), 0
        for unit, line in _planned(corpus, most_items):
            digest.update(line)
            items += unit.get("items", 0)
        return None if digest.hexdigest() == self.sha256 else items

    def __iter__(self) -> Iterator[Unit]:
        with self.path.open("rb") as file:
            for line in file:
                unit = _object(line, self.path)
                if "end" not in unit:
                    yield unit


def _planned(corpus: Corpus, most_items: int) -> Iterator[tuple[Unit, bytes]]:
    """Each unit and its line, and in the end nothing and the last line."""
    units = items = 0
    for unit in corpus.units(most_items):
        yield unit, _line({"unit": units, **unit})
        units, items = units + 1, items + unit["items"]
    yield {}, _line({"end": units, "items": items, "kinds": sorted(corpus.kinds)})


def _line(content: dict[str, Any]) -> bytes:
    # names that are no UTF-8 are escaped as Python holds them
    return (json.dumps(content) + "\n").encode()


def _object(line: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: a line is no JSON object")
    return content
