"""Where records go: a file that appears under its name only when it is complete, or a stream that takes them as they come."""

import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Self

from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.records import chunk_record, end_record

__all__ = ["RecordWriter"]


class RecordWriter:
    """Writes a header, chunks whose stages are bytes already, and the end.

    Args:
        target: a path, written beside its place and then moved over it; or a stream, which is flushed after every record and stays open.
            A path that is a device or a pipe is a stream.
        header: of the file.
    """

    def __init__(self, target: str | Path | BinaryIO, header: VqkHeader) -> None:
        self.header = header
        self.bytes_written = 0
        self._path: Path | None = None  # where the file goes when it is complete
        self._temporary = ""
        self._own = isinstance(target, str | Path)
        self._file: BinaryIO
        if not isinstance(target, str | Path):
            self._file = target
        elif Path(target).exists() and not Path(target).is_file():
            self._file = open(target, "wb")  # noqa: SIM115  # a device or a pipe must not be replaced by a file
        else:
            self._path = Path(target).resolve()  # a link keeps pointing to the file
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, self._temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            self._file = os.fdopen(handle, "wb")
        try:
            self._put(header.to_bytes())
        except BaseException:
            self.discard()
            raise

    def chunk(self, start_frame: int, frames: int, stages: list[bytes]) -> None:
        """Write a chunk."""
        self._put(chunk_record(self.header, start_frame, frames, stages))

    def end(self, frames: int, length: int | None) -> None:
        """Write the end record."""
        self._put(end_record(self.header, frames, length))

    def close(self) -> None:
        """Give a file its name; a stream stays open."""
        if self._own:
            self._file.close()
        if self._path is None:
            return
        try:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(self._temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
            os.replace(self._temporary, self._path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave no file behind; a stream keeps what it was given."""
        if self._own:
            self._file.close()
        if self._path is not None:
            Path(self._temporary).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _put(self, record: bytes) -> None:
        self._file.write(record)
        self.bytes_written += len(record)
        if self._path is None:
            self._file.flush()
