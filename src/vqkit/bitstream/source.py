"""The bytes of a file, one after the other and, if it can be seeked, from any place."""

from pathlib import Path
from typing import BinaryIO

__all__ = ["ByteSource"]


class ByteSource:
    """A file that is read from where it stands.

    Args:
        source: path, or binary file or stream.

    Attributes:
        seekable: whether `fetch` is possible.
        size: bytes read one after the other so far.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self._own = isinstance(source, str | Path)
        self._file: BinaryIO = open(source, "rb") if isinstance(source, str | Path) else source  # noqa: SIM115
        self.seekable = self._file.seekable()
        self._begin = self._file.tell() if self.seekable else 0
        self.size = 0

    def next(self, size: int) -> bytes:
        """At most so many of the next bytes; none at the end of what there is. Of a stream, what has arrived."""
        arrived = getattr(self._file, "read1", self._file.read)  # read would wait for more of a pipe
        block = self.fetch(self.size, size) if self.seekable else arrived(size)
        self.size += len(block)
        return block

    def fetch(self, offset: int, size: int) -> bytes:
        """At most so many bytes from a place on."""
        self._file.seek(self._begin + offset)
        return self._file.read(size)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._file.close()
