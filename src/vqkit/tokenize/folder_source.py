"""A folder of sound and image files; other kinds of sources that lie in it are passed over here."""

from collections.abc import Iterator
from pathlib import Path

from vqkit.modality import MODALITIES, modality_by_suffix
from vqkit.tokenize.item import Item
from vqkit.tokenize.source import Source, Unit, batched_units
from vqkit.tokenize.tar_source import TarSource

__all__ = ["FolderSource"]

_OTHERS = (*TarSource.suffixes, ".parquet")  # kinds of sources that a corpus has beside this one


class FolderSource(Source):
    """Source of all files in a folder tree that are sound, images or film, by their suffix or, without a known one, by content.

    Hidden files are passed over; what cannot be read is listed as failed in its unit. A folder is read one directory at a time.
    """

    name = "files"

    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield units that are lists of names relative to the root."""
        yield from batched_units(self.name, "files", self._names(), most_items)

    def items(self, unit: Unit) -> Iterator[Item]:
        """Yield the files of a unit; nothing is opened here."""
        root = self.root if self.root.is_dir() else self.root.parent
        for name in unit["files"]:
            yield Item(name, root / name)

    def _names(self) -> Iterator[str]:
        # imported here: it brings torch, and only planning needs it
        from vqkit.data.content import content_of_file
        from vqkit.data.folders import entries

        by_content = {what.content: what.plural for what in MODALITIES}
        kinds = {suffix: what.plural for suffix, what in modality_by_suffix().items()}
        if self.root.is_file():
            self.kinds.add(by_content.get(content_of_file(self.root), "sound"))
            yield self.root.name
            return
        for entry in entries(self.root):
            if entry.is_folder:
                continue
            kind = kinds.get(entry.path.suffix.lower())
            if kind is None and not entry.problem:
                kind = by_content.get(_content(entry.path, content_of_file))
            if kind is not None:
                self.kinds.add(kind)
                yield entry.path.relative_to(self.root).as_posix()
            elif not entry.path.name.lower().endswith(_OTHERS):
                self.left_out += 1


def _content(path: Path, content_of_file) -> str:  # type: ignore[no-untyped-def]
    try:
        return str(content_of_file(path))
    except OSError:
        return ""
