"""One unit: its items encoded, its token files written, and a record of it. Doing it again gives the same files."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqkit.files import write_whole
from vqkit.tokenize.corpus import Corpus
from vqkit.tokenize.item import Encoder
from vqkit.tokenize.shard import Row, write_shard
from vqkit.tokenize.source import Unit

__all__ = ["SHARDS", "STATE", "UnitWork", "finished_record", "shard_name"]

SHARDS, STATE = "shards", ".vqkit"
_ABANDON = (MemoryError, BrokenPipeError)


def shard_name(number: int) -> str:
    """Name of a unit's files, without suffix; they sort in the order of the units."""
    return f"{number:08d}"


@dataclass(frozen=True)
class UnitWork:
    """What a worker does; picklable.

    Args:
        source: The corpus.
        column: Column of tables.
        target: Folder that gets the token files.
        encoder: Makes codes.
        formats: Formats of the files.
        dtype: Name of the integers.
        about: Kept in the files.
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
    ) -> dict[str, Any]:
        """Do a unit.

        Args:
            loaded: Result of `load`.
            unit: Unit of the plan.
            skip: Items, by their index in the unit, that are listed as failed without a try, each with its reason.
            at: Told the index of the item at hand.

        Returns:
            The record, which was also written.

        Raises:
            OSError: The token files cannot be written. What is wrong with an item becomes a line of the record instead.
        """
        corpus, models = loaded
        rows: list[Row] = []
        failures: list[list[str]] = []
        for index, item in enumerate(corpus.items(unit)):
            at(index)
            reason = skip.get(index, item.fault)
            if not reason:
                try:
                    rows.append((item.key, self.encoder.encode(models, item)))
                    continue
                except _ABANDON:
                    raise
                except Exception as error:  # whatever an item contains, the others are still to be done
                    reason = _reason(error)
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


def record_path(target: Path, number: int) -> Path:
    """Where the record of a unit lies; a folder holds a thousand."""
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
