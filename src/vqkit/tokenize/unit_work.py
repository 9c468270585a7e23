"""Work on one unit: encode its items, write its token files and a record. Doing it again gives the same files."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqkit.files import write_whole
from vqkit.tokenize.corpus import Corpus
from vqkit.tokenize.item import BatchEncoder, Encoded, Encoder, Item
from vqkit.tokenize.shard import Row, write_shard
from vqkit.tokenize.source import Unit

__all__ = ["SEVERAL", "SHARDS", "STATE", "UnitWork", "finished_record", "shard_name"]

SHARDS, STATE = "shards", ".vqkit"
SEVERAL = -2  # in place of an item's index
_ABANDON = (MemoryError, BrokenPipeError)
_BATCHES = 8  # of a window: the more, the less the items of a batch differ in length
_WINDOW_BYTES = 1 << 28  # of items in memory


def shard_name(number: int) -> str:
    """Name of a unit's files, without suffix; they sort in the order of the units."""
    return f"{number:08d}"


@dataclass(frozen=True)
class UnitWork:
    """Work of a worker on a unit; picklable.

    Args:
        source: Path of the corpus.
        column: Name of the column of tables.
        target: Folder for the token files.
        encoder: Encoder of the items.
        formats: Formats of the token files.
        dtype: Name of the codes' integer type.
        about: Metadata for the token files.
    """

    source: str
    column: str | None
    target: Path
    encoder: Encoder
    formats: tuple[str, ...]
    dtype: str
    about: Mapping[str, Any]

    def load(self) -> tuple[Corpus, Any]:
        """The corpus and what the encoder needs."""
        return Corpus(self.source, self.column), self.encoder.load()

    def __call__(
        self,
        loaded: tuple[Corpus, Any],
        unit: Unit,
        skip: Mapping[int, str],
        at: Callable[[int], None] = lambda index: None,
        alone: bool = False,
    ) -> dict[str, Any]:
        """Do a unit.

        Args:
            loaded: Result of `load`.
            unit: Unit of the plan.
            skip: Items, by their index in the unit, that are listed as failed without a try, each with its reason.
            at: Called with the index of the current item; `SEVERAL` for several at once, −1 for none.
            alone: Whether items are encoded one after the other although the encoder takes several: after processes that ended while
                they computed several, so that the item is named whose turn it was.

        Returns:
            The record, which was also written.

        Raises:
            OSError: The token files cannot be written. What is wrong with an item becomes a line of the record instead.
        """
        corpus, models = loaded
        rows: list[Row] = []
        failures: list[list[str]] = []
        for window in self._windows(corpus, unit, alone):
            tried = [(index, item) for index, item in window if not skip.get(index, item.fault)]
            found = dict(zip((index for index, _ in tried), self._encoded(models, tried, at), strict=True))
            for index, item in window:  # in the order of the unit
                result = found.get(index)
                if isinstance(result, Encoded):
                    rows.append((item.key, result))
                else:
                    reason = skip.get(index, item.fault) if result is None else _reason(result)
                    failures.append([item.key, reason])
        at(-1)
        paths = write_shard(
            self.target / SHARDS, shard_name(unit["unit"]), rows, self.formats, np.dtype(self.dtype), dict(self.about)
        )
        record = {
            "unit": unit["unit"],
            "items": len(rows),
            "codes": sum(encoded.codes.size for _, encoded in rows),
            "seconds": sum(encoded.seconds for _, encoded in rows),
            "files": [_described(path) for path in paths],
            "failures": failures,
        }
        write_whole(record_path(self.target, unit["unit"]), json.dumps(record).encode())
        return record

    def _windows(self, corpus: Corpus, unit: Unit, alone: bool) -> Iterator[list[tuple[int, Item]]]:
        """The items with their index, some at a time: as many as make batches of like lengths, and as few as fit into memory."""
        batch = self.encoder.batch if isinstance(self.encoder, BatchEncoder) and not alone else 1
        most = batch * _BATCHES if batch > 1 else 1
        window: list[tuple[int, Item]] = []
        size = 0
        for index, item in enumerate(corpus.items(unit)):
            window.append((index, item))
            size += 0 if isinstance(item.data, Path) else len(item.data)
            if len(window) == most or size > _WINDOW_BYTES:
                yield window
                window, size = [], 0
        if window:
            yield window

    def _encoded(
        self, models: Any, items: list[tuple[int, Item]], at: Callable[[int], None]
    ) -> list[Encoded | Exception]:
        """Encode the items; return each one's codes, or the error that prevented them."""
        encoder = self.encoder
        several = isinstance(encoder, BatchEncoder) and encoder.batch > 1
        if several and len(items) > 1:
            places = [index for index, _ in items]
            try:
                made = encoder.encode_together(  # type: ignore[attr-defined]
                    models, [item for _, item in items], lambda number: at(SEVERAL if number < 0 else places[number])
                )
            except _ABANDON:
                raise
            except Exception:  # of which item is not known
                made = None
            if made is not None:
                for result in made:
                    if isinstance(result, _ABANDON):
                        raise result
                return list(made)
        results: list[Encoded | Exception] = []
        for index, item in items:
            at(index)
            try:
                if several:
                    results += encoder.encode_together(models, [item], lambda number: None)  # type: ignore[attr-defined]
                else:
                    results.append(encoder.encode(models, item))
            except _ABANDON:
                raise
            except Exception as error:  # whatever an item contains, the others are still to be done
                results.append(error)
        return results


def record_path(target: Path, number: int) -> Path:
    """Return the path of a unit's record; a folder holds a thousand."""
    return target / STATE / "records" / f"{number // 1000:06d}" / f"{shard_name(number)}.json"


def finished_record(target: Path, number: int) -> dict[str, Any] | None:
    """The record of a unit that was done, if its files are there and have their size."""
    try:
        record: dict[str, Any] = json.loads(record_path(target, number).read_bytes())
        sizes = [os.stat(target / SHARDS / entry["name"]).st_size for entry in record["files"]]
        return record if sizes == [entry["bytes"] for entry in record["files"]] else None
    except (OSError, ValueError, KeyError):
        return None


def _described(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or "failed"
    return text if isinstance(error, ValueError | OSError | ImportError) else f"{type(error).__name__}: {text}"
