"""Parquet files, and data sets that Hugging Face's ``datasets`` saved to disk: rows that hold the bytes of files, or paths to them.

Nothing is fetched and nothing unpickled, and only files in the corpus are read: whoever made a table would else choose what is read on
this machine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqkit.tokenize.item import Item
from vqkit.tokenize.source import Source, Unit
from vqkit.types import need

__all__ = ["ParquetSource", "SavedSource"]

_COLUMNS = ("audio", "image", "sound", "wav", "bytes", "path", "file")  # the first that is there, unless one is named
_BATCH = 16  # rows read at once
_DAMAGE = (OSError, ValueError, NotImplementedError)  # what pyarrow raises


class ParquetSource(Source):
    """Source of the rows of one ``.parquet`` file or of all in a folder.

    Args:
        root: File or folder.
        column: Column that holds bytes, ``{"bytes", "path"}``, or paths relative to the file's folder; by default the first there is of
            audio, image, sound, wav, bytes, path and file.
    """

    name = "parquet"

    def __init__(self, root: Path, column: str | None = None) -> None:
        super().__init__(root)
        self.column = column

    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield units that are ranges of rows within row groups."""
        parquet = need("pyarrow.parquet", "image")
        for name in self._names():
            try:
                file = parquet.ParquetFile(self._path(name))
                groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
                column = _column(file.schema_arrow.names, self.column)
                if sum(groups):
                    value = next(file.iter_batches(1, columns=[column])).column(0)[0].as_py()
                    self.kinds.add(_kind(column, value))
            except _NoColumn as error:
                yield self.unreadable(name, f"a Parquet file without sound or images: it {error}")
                continue
            except _DAMAGE as error:
                yield self.unreadable(name, _damaged(error))
                continue
            first = 0
            for group, rows in enumerate(groups):
                for start in range(0, rows, most_items):
                    count = min(most_items, rows - start)
                    place = {"file": name, "column": column, "group": group, "start": start, "first": first + start}
                    yield {"source": self.name, **place, "items": count}
                first += rows

    def items(self, unit: Unit) -> Iterator[Item]:
        """The rows, some at a time."""
        parquet = need("pyarrow.parquet", "image")
        path = self._path(unit["file"])
        number = -unit["start"]
        fault = ""
        try:
            batches = parquet.ParquetFile(path).iter_batches(
                _BATCH, row_groups=[unit["group"]], columns=[unit["column"]]
            )
            for batch in batches:
                for value in batch.column(0):
                    if number >= unit["items"]:
                        return
                    if number >= 0:
                        yield _item(_key(unit, number), value.as_py(), path.parent)
                    number += 1
        except _DAMAGE as error:  # of some pages, which planning does not read
            fault = _damaged(error)
        for rest in range(max(0, number), unit["items"]):
            yield Item(_key(unit, rest), b"", fault or "the file has fewer rows than when the run was planned")

    def _names(self) -> list[str]:
        if self.root.is_file():
            return [self.root.name]
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.parquet") if path.is_file())

    def _path(self, name: str) -> Path:
        return self.root / name if self.root.is_dir() else self.root


class SavedSource(Source):
    """A folder of ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``: its column of ``Audio`` or ``Image``.

    Args:
        root: The folder.
        column: By default the first of audio or images.
    """

    name = "datasets"

    def __init__(self, root: Path, column: str | None = None) -> None:
        super().__init__(root)
        self.column = column
        self._open: dict[str, Any] = {}

    def units(self, most_items: int) -> Iterator[Unit]:
        """Ranges of rows of each split."""
        from vqkit.data.image.sets.arrow import saved_folders

        for folder in saved_folders(self.root):
            name = "" if folder == self.root else folder.name
            table, column = self._table(name, self.column)
            for start in range(0, len(table), most_items):
                count = min(most_items, len(table) - start)
                yield {"source": self.name, "split": name, "column": column, "start": start, "items": count}

    def items(self, unit: Unit) -> Iterator[Item]:
        """The rows, undecoded."""
        table, column = self._table(unit["split"], unit["column"])
        place = f"{unit['split']}/" if unit["split"] else ""
        for row in range(unit["start"], unit["start"] + unit["items"]):
            yield _item(f"{place}{row:08d}", table[row][column], self.root / unit["split"])

    def _table(self, split: str, column: str | None) -> tuple[Any, str]:
        datasets = need("datasets", "image")
        if split not in self._open:
            table = datasets.load_from_disk(str((self.root / split).resolve()), keep_in_memory=False).with_format(None)
            kinds = {"sound": datasets.Audio, "images": datasets.Image}
            media = {n: kind for n, f in table.features.items() for kind, cls in kinds.items() if isinstance(f, cls)}
            try:
                name = _column([*media, *(n for n in table.features if n not in media)], column, list(media))
            except _NoColumn as error:
                raise ValueError(f"{self.root / split} {error}") from None
            self.kinds.add(media.get(name, "sound"))
            for other, kind in media.items():
                table = table.cast_column(other, kinds[kind](decode=False))
            self._open[split] = table.select_columns([name])
        return self._open[split], self._open[split].column_names[0]


class _NoColumn(ValueError):
    """A table has no column of sound or images, in words that follow its name."""


def _column(names: list[str], wanted: str | None, media: list[str] | None = None) -> str:
    if wanted is not None:
        if wanted not in names:
            raise _NoColumn(f"has no column {wanted!r}; it has {', '.join(names)}")
        return wanted
    found = media or [name for name in _COLUMNS if name in names]
    if not found:
        raise _NoColumn(f"has none of the columns {', '.join(_COLUMNS)}; name one with --column: {', '.join(names)}")
    return found[0]


def _damaged(error: Exception) -> str:
    return f"no Parquet file that can be read: {' '.join(str(error).split())}"


def _key(unit: Unit, number: int) -> str:
    return f"{unit['file']}/{unit['first'] + number:08d}"


def _kind(column: str, value: Any) -> str:
    from vqkit.data.content import content_of

    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return "images" if content_of(data[:4096]) == "image" else "sound"
    return "images" if column == "image" else "sound"


def _item(key: str, value: Any, folder: Path) -> Item:
    """A row as an item: bytes, or a file in the folder."""
    data = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(data, bytes | bytearray):
        return Item(key, bytes(data))
    path = data if isinstance(data, str) else path
    if not isinstance(path, str) or not path:
        return Item(key, b"", "the row holds neither the bytes of a file nor its path")
    place = folder / path
    if not place.resolve().is_relative_to(folder.resolve()):
        return Item(key, b"", f"its path {path} lies outside of the corpus; only files in it are read")
    return Item(key, place)
