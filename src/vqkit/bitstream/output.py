"""Output of records: to a file that appears under its name only when it is complete, or to a stream, record by record."""

from pathlib import Path
from typing import BinaryIO, Self

from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.records import chunk_record, end_record
from vqkit.files import NewFile

__all__ = ["RecordWriter"]


class RecordWriter:
    """Writer of a header, of chunks whose stages are bytes already, and of the end.

    Args:
        target: a path, written beside its place and then moved over it; or a stream, which is flushed after every record and stays open.
            A path that is a device or a pipe is a stream.
        header: header of the file.
    """

    def __init__(self, target: str | Path | BinaryIO, header: VqkHeader) -> None:
        self.header = header
        self.bytes_written = 0
        self._new: NewFile | None = None  # a stream's, which stays open
        self._file: BinaryIO
        if isinstance(target, str | Path):
            self._new = NewFile(target, make_folders=True, devices=True)
            self._file = self._new.file
        else:
            self._file = target
        self._at_once = self._new is None or self._new.is_device
        try:
            self._put(header.to_bytes())
        except BaseException:
            self.discard()
            raise

    def chunk(self, start_frame: int, frames: int, stages: list[bytes], counts: bytes | None = None) -> None:
        """Write a chunk; ``counts`` where frames have their own numbers of stages."""
        self._put(chunk_record(self.header, start_frame, frames, stages, counts))

    def end(self, frames: int, length: int | None) -> None:
        """Write the end record."""
        self._put(end_record(self.header, frames, length))

    def close(self) -> None:
        """Give a file its name; a stream stays open."""
        if self._new is not None:
            self._new.commit()

    def discard(self) -> None:
        """Leave no file behind; a stream keeps what it was given."""
        if self._new is not None:
            self._new.discard()

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
        if self._at_once:
            self._file.flush()
