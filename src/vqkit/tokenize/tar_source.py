"""webdataset shards: tar files in which the members of a sample follow each other and share the name up to the first dot.

References:
    https://github.com/webdataset/webdataset (the naming convention).
"""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from vqkit.modality import modality_by_suffix
from vqkit.tokenize.item import Item
from vqkit.tokenize.source import Source, Unit

__all__ = ["TarSource"]

_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


class TarSource(Source):
    """Source of the samples of one ``.tar`` file or of all in a folder; of each the first member that is sound, an image or video counts.

    A plain tar can be read from any sample on; a compressed one (``.tar.gz``, …) is one unit.
    """

    name = "tar"
    suffixes = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield units: the offset of a first sample in its file, and the number of samples that follow."""
        for name in self._names():
            path = self._path(name)
            plain = name.lower().endswith(".tar")
            count, first, offset, fault = 0, 0, 0, ""
            try:
                with tarfile.open(path, "r:" if plain else "r:*") as tar:
                    for member in self._media(tar):
                        if plain and count == most_items:
                            yield {"source": self.name, "file": name, "offset": offset, "first": first, "items": count}
                            first, offset, count = first + count, member.offset, 0
                        elif not count and plain:
                            offset = member.offset
                        count += 1
            except _DAMAGE as error:
                fault = f"no tar file that can be read to its end: {error}"
            if count:
                yield {"source": self.name, "file": name, "offset": offset, "first": first, "items": count}
            if fault:
                yield self.unreadable(name, fault)

    def items(self, unit: Unit) -> Iterator[Item]:
        """Yield the members of a unit, each with all its bytes."""
        path, name = self._path(unit["file"]), unit["file"]
        with path.open("rb") as file:
            file.seek(unit["offset"])
            plain = name.lower().endswith(".tar")
            try:
                with tarfile.open(fileobj=file, mode="r:" if plain else "r:*") as tar:
                    # no further than the last one: behind it the file may be cut
                    for member in islice(self._media(tar), unit["items"]):
                        yield _item(f"{name}/{member.name}", tar, member)
            except _DAMAGE as error:  # since it was planned
                yield Item(name, b"", f"no tar file that can be read to its end: {error}")

    def _media(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        """Yield the first sound, image or video of each sample."""
        kinds = {suffix: what.plural for suffix, what in modality_by_suffix().items()}
        last = None
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # headers seen would pile up
            base = member.name.rpartition("/")[2]
            kind = kinds.get(Path(base).suffix.lower())
            sample = member.name[: len(member.name) - len(base)] + base.partition(".")[0]
            if member.isfile() and kind is not None and sample != last and not base.startswith("."):
                last = sample
                self.kinds.add(kind)
                yield member

    def _names(self) -> list[str]:
        if self.root.is_file():
            return [self.root.name]
        found = (path for path in self.root.rglob("*") if path.name.lower().endswith(self.suffixes) and path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def _path(self, name: str) -> Path:
        return self.root / name if self.root.is_dir() else self.root


def _item(key: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Item:
    try:
        data = tar.extractfile(member)
        return Item(key, b"" if data is None else data.read())
    except _DAMAGE as error:
        return Item(key, b"", str(error))
