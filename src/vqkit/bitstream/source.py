"""Byte source: a file read sequentially and, if it can be seeked, from any offset."""

from pathlib import Path
from typing import BinaryIO

__all__ = ["ByteSource"]


class ByteSource:
    """File or stream that is read from its current position.

    Args:
        source: path, or binary file or stream.

    Attributes:
        seekable: whether `fetch` is possible.
        size: number of bytes read sequentially so far.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self._own = isinstance(source, str | Path)
        self._file: BinaryIO = open(source, "rb") if isinstance(source, str | Path) else source  # noqa: SIM115
        self.seekable = self._file.seekable()
        self._begin = self._file.tell() if self.seekable else 0
        self.size = 0

    def next(self, size: int) -> bytes:
        """Return at most ``size`` of the next bytes: of a stream, those that have arrived; none at the end of the data."""
        arrived = getattr(self._file, "read1", self._file.read)  # read would wait for more of a pipe
        block = self.fetch(self.size, size) if self.seekable else arrived(size)
        self.size += len(block)
        return block

    def fetch(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset`` on, counted from the position at the start."""
        self._file.seek(self._begin + offset)
        return self._file.read(size)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._file.close()
