"""Lists as Kaldi, ESPnet and VERSA keep them: ``wav.scp``, whose lines are a name and a file, or a place in an ark file.

    utt1 sound/utt1.flac
    utt2 data/wav.ark:1045

An ark of sound holds wav files, each behind its name. Lines that end in ``|`` are commands, which are not run.

References:
    https://kaldi-asr.org/doc/io.html (script files, archives).
"""

from collections.abc import Iterator
from pathlib import Path

from vqkit.tokenize.item import Item
from vqkit.tokenize.source import Source, Unit, batched_units

__all__ = ["ScpSource"]

_MOST_LINE = 1 << 16


class ScpSource(Source):
    """Source of the files of one ``.scp`` list; paths are relative to the working directory, as Kaldi has them, or else to its folder."""

    name = "scp"

    def units(self, most_items: int) -> Iterator[Unit]:
        """Yield units that are groups of lines."""
        self.kinds.add("sound")
        yield from batched_units(self.name, "lines", self._lines(), most_items)

    def items(self, unit: Unit) -> Iterator[Item]:
        """Yield the files of a unit as paths, and the entries of arks as bytes."""
        for key, place in unit["lines"]:
            yield self._item(key, place)

    def _lines(self) -> Iterator[list[str]]:
        with self.root.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                key, _, place = line.strip().partition(" ")
                if key and not place.strip():
                    raise ValueError(
                        f"{self.root}, line {number}: expected a name and a file, got {line.strip()[:80]!r}"
                    )
                if len(line) > _MOST_LINE:
                    raise ValueError(f"{self.root}, line {number} has {len(line)} characters, allowed are {_MOST_LINE}")
                if key:
                    yield [key, place.strip()]

    def _item(self, key: str, place: str) -> Item:
        if place.endswith("|"):
            return Item(key, b"", "it is a command, which is not run: write its output to a file")
        name, colon, offset = place.rpartition(":")
        if not (colon and offset.isdecimal() and name.lower().endswith(".ark")):
            return Item(key, self._path(place))
        try:
            with self._path(name).open("rb") as file:
                file.seek(int(offset))
                data = _entry(file)
        except (OSError, ValueError) as error:
            return Item(key, b"", f"{place}: {error}")
        return Item(key, data)

    def _path(self, name: str) -> Path:
        path = Path(name)
        return path if path.is_absolute() or path.exists() else self.root.parent / name


def _entry(file) -> bytes:  # type: ignore[no-untyped-def]
    """A wav file of an ark: as long as its header says."""
    head = file.read(12)
    if head[:2] == b"\0B":
        raise ValueError("it holds a matrix of features, not sound")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        raise ValueError("no wav file begins there")
    size = int.from_bytes(head[4:8], "little")
    if size in (0, 0xFFFFFFFF):
        raise ValueError("its header does not say how long it is")
    rest = file.read(size - 4)
    if len(rest) != size - 4:
        raise ValueError("it is cut off")
    return bytes(head + rest)
