"""Reading of a sound file or pipe of any make as samples of one rate and one number of channels.

file ─ links ─ decoder of each ─ silence for what is missing ─ rate and channels of the first ─ blocks
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.audio.containers import ByteQueue, FileSlice, Link, LinkStream, links_of
from vqkit.data.audio.readers.findings import Findings
from vqkit.data.audio.readers.link import LinkReader
from vqkit.data.audio.readers.pieces import Alike

__all__ = ["SoundReader"]

_KEPT_IN_MEMORY = 1 << 26
_LONGEST_FIRST_BOX = 1 << 12


class SoundReader:
    """The sound of a file or pipe, once from a sample on to its real end.

    Args:
        source: path of an existing file; or an open binary file or pipe, which stays open.
        name: name for messages.
        strict: whether what is missing or cannot be decoded is an error.

    Attributes:
        sample_rate: sample rate in Hz; that of the first link.
        channels: number of channels, likewise.
        findings: notes and losses so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, empty, or nothing that can be read.
    """

    def __init__(self, source: Path | BinaryIO, name: str, strict: bool = False) -> None:
        self.findings = Findings(name, strict)
        self._file: BinaryIO | None = None
        self._temporary: list[Any] = []
        self._links: tuple[Link, ...] | None = None  # None: they come through a pipe
        self._path = source if isinstance(source, Path) else None
        if isinstance(source, Path):
            check_file(source)
            self._links = _links_at(*_identity(source))
            if len(self._links) > 1:
                self._file = source.open("rb")
        else:
            self._begin(source)
        self._readers = self._opened()
        try:
            first = next(self._readers, None)
        except BaseException:
            self.close()
            raise
        if first is None:
            raise ValueError(f"{name} is not audio: it is empty")
        self._first = first
        self.sample_rate, self.channels = self._first.sample_rate, len(self._first.layout)

    def _begin(self, file: BinaryIO) -> None:
        """Look at what was given open: a file that can be sought in, or a pipe."""
        self._base = 0
        self._given = file
        size = None
        with suppress(OSError, AttributeError):
            if file.seekable():
                self._base = file.tell()
                size = file.seek(0, 2) - self._base
                file.seek(self._base)
        if size is None:
            self._queue = ByteQueue(file)
        else:
            self._links = links_of(file, size)

    @property
    def num_samples(self) -> int | None:
        """Samples a channel, if known exactly: of a file that is not several joined."""
        return self._first.num_samples if self._links is not None and len(self._links) == 1 else None

    @property
    def seconds(self) -> float | None:
        """Duration in seconds as the header states it, perhaps an estimate; None where it states none, or more may follow."""
        if self._links is None:
            return None if self._first.seconds is None else self._first.seconds
        if len(self._links) == 1:
            return self._first.seconds
        total = 0.0
        quiet = Findings(self.findings.name)
        for link in self._links:
            with suppress(ValueError):
                reader = LinkReader(self._part(link), link, quiet)
                if reader.seconds is None:
                    return None
                total += reader.seconds
                reader.close()
        return total

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """The samples from this one on, as they come.

        Yields:
            float32 of shape ``(samples, channels)``.

        Raises:
            ValueError: something is missing or cannot be decoded, and strict was asked for.
        """
        alone = self._links is not None and len(self._links) == 1
        skip = 0 if alone else start
        alike = Alike(self.sample_rate, self._first.layout, self.findings)
        reader: LinkReader | None = self._first
        while reader is not None:
            self.findings.begin_seconds = alike.samples / self.sample_rate
            for piece in reader.pieces(start if alone else 0):
                for samples in alike.push(piece):
                    yield samples[skip:]
                    skip = max(0, skip - len(samples))
            reader.close()
            reader = next(self._readers, None)
        for samples in alike.finish():
            yield samples[skip:]

    def _opened(self) -> Iterator[LinkReader]:
        """A reader for each link; those after the first that cannot be read are losses."""
        first = True
        for source, link in self._sources():
            try:
                reader = LinkReader(source, link, self.findings)
            except ValueError as error:
                if first:
                    raise
                reason = str(error).removeprefix(f"{self.findings.name} ")
                self.findings.warn(f"a part at byte {link.start} cannot be read: it {reason}")
                if isinstance(source, LinkStream):
                    source.drain()
                continue
            first = False
            yield reader

    def _sources(self) -> Iterator[tuple[Path | FileSlice | LinkStream, Link]]:
        if self._links is not None:
            for link in self._links:
                yield self._part(link), link
            return
        while not self._queue.at_end():
            stream = LinkStream(self._queue)
            if not stream.link.kind and stream.link.start:  # behind the sound: tags, or nothing
                return
            if stream.link.kind == "mp4" and not _index_first(self._queue):
                yield self._kept(stream), stream.link
            else:
                yield stream, stream.link
            stream.drain()

    def _kept(self, stream: LinkStream) -> FileSlice:
        """Buffer all bytes of a link that cannot be decoded before its end, so that they can be seeked; on the disk, if they are many."""
        kept = SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115  # closed with the reader
        self._temporary.append(kept)
        shutil.copyfileobj(stream, kept)
        return FileSlice(kept, 0, kept.tell())  # type: ignore[arg-type]

    def _part(self, link: Link) -> Path | FileSlice | LinkStream:
        assert self._links is not None
        if self._path is not None and len(self._links) == 1:
            return self._path
        file, base = (self._file, 0) if self._file is not None else (self._given, self._base)
        assert file is not None
        part = FileSlice(file, base + link.start, base + link.stop)
        return LinkStream(ByteQueue(part)) if link.kind == "ogg" else part  # type: ignore[arg-type]

    def close(self) -> None:
        """Close what was opened here; what was given open stays open."""
        if hasattr(self, "_first"):
            self._first.close()
        for file in (self._file, *self._temporary):
            if file is not None:
                file.close()


def _index_first(queue: ByteQueue) -> bool:
    """Return whether an MP4 file's index stands before its content, right behind the first box, so that it reads from front to back."""
    size = int.from_bytes(queue.peek(4), "big")
    return size <= _LONGEST_FIRST_BOX and queue.peek(size + 8)[size + 4 :] in (b"moov", b"styp", b"sidx", b"moof")


def check_file(path: Path) -> None:
    """Refuse a path that cannot be read as a sound file, without opening it: a FIFO would wait for ever.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is no regular file, or an empty one.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such audio file: {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an audio file")
    if not path.is_file():
        raise ValueError(f"{path} is no regular file (a pipe or a device); open it and give it as a stream")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")


def _identity(path: Path) -> tuple[str, int, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino


@lru_cache(maxsize=1 << 16)
def _links_at(path: str, size: int, changed: int, inode: int) -> tuple[Link, ...]:
    """The links of a file, looked at once: training reads parts of the same files again and again."""
    with open(path, "rb") as file:
        return links_of(file, size)
