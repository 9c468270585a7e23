"""The header of a TIFF file: its directories of tags, in either byte order, of 32 or 64 bits."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["TIFF_STARTS", "TiffPage", "tiff_pages"]

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FORMATS = {  # type of a field → format of struct; rationals are two integers
    1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
_MOST_PAGES = 65536  # more are not counted


@dataclass(frozen=True)
class TiffPage:
    """Directory of tags, which describes one page of a TIFF file.

    Attributes:
        file: file from which values are read on demand.
        order: byte order, ``"<"`` or ``">"``.
        fields: tag → type, number of values, and position in the file.
    """

    file: BinaryIO
    order: str
    fields: dict[int, tuple[int, int, int]]

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Values of a tag, rationals as fractions of floats; none where it is missing.

        Raises:
            ValueError: the file ends before them, or they are of an unknown type.
        """
        if tag not in self.fields:
            return ()
        kind, count, _ = self.fields[tag]
        form = _FORMATS.get(kind)
        if form is None:
            raise ValueError(f"tag {tag} is of type {kind}, which is unknown")
        values = struct.unpack(f"{self.order}{count * len(form)}{form[0]}", self.data(tag))
        if len(form) == 2:
            return tuple(a / b if b else 0.0 for a, b in zip(values[::2], values[1::2], strict=True))
        return values

    def integers(self, tag: int) -> tuple[int, ...]:
        """Values of a tag as integers."""
        return tuple(int(value) for value in self.numbers(tag))

    def integer(self, tag: int, default: int) -> int:
        """First value of a tag."""
        return next(iter(self.integers(tag)), default)

    def data(self, tag: int) -> bytes:
        """Bytes of a tag's values; errors as of `numbers`."""
        kind, count, position = self.fields[tag]
        size = count * struct.calcsize("=" + _FORMATS.get(kind, "B"))
        self.file.seek(position)
        data = self.file.read(size) if size <= _size(self.file) else b""
        if len(data) < size:
            raise ValueError(f"the file ends before the values of tag {tag}")
        return data


def tiff_pages(file: BinaryIO) -> Iterator[TiffPage]:
    """The directories of a TIFF file, the first first; the ones that a damaged or circular chain does not reach are left out.

    Raises:
        ValueError: there is not a whole first one.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    try:
        (position,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", head, 8 if big else 4)
    except struct.error:
        raise ValueError("the file ends within its header") from None
    seen: set[int] = set()
    while position and position not in seen and len(seen) < _MOST_PAGES:
        seen.add(position)
        try:
            page, position = _directory(file, position, order, big)
        except (struct.error, OverflowError, OSError):
            if len(seen) == 1:
                raise ValueError("the file ends before or within its directory of tags") from None
            return
        yield page
    if not seen:
        raise ValueError("it has no directory of tags")


def _directory(file: BinaryIO, position: int, order: str, big: bool) -> tuple[TiffPage, int]:
    number, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    width = struct.calcsize("=" + number)
    file.seek(position)
    (count,) = struct.unpack(order + number, file.read(width))
    each = struct.calcsize("=" + entry)
    if count > 65535:
        raise struct.error
    table = file.read(count * each)
    (following,) = struct.unpack(order + offset, file.read(struct.calcsize("=" + offset)) or bytes(8 if big else 4))
    fields = {}
    inline = struct.calcsize("=" + offset)
    for index in range(count):
        tag, kind, values, held = struct.unpack_from(order + entry, table, index * each)
        size = values * struct.calcsize("=" + _FORMATS.get(kind, "B"))
        place = position + width + (index + 1) * each - inline
        fields[tag] = (kind, values, place if size <= inline else struct.unpack(order + offset, held)[0])
    return TiffPage(file, order, fields), following


def _size(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size
