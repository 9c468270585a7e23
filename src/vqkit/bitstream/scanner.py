"""Find the records of a file from its first byte to its last, whatever lies between them.

After damage the search goes on at the next marker whose record has a right checksum. A chunk says at which frame it begins, so what is
missing before it is known to the frame. What may still become a record when more bytes arrive is left for the next call.

Work is bounded: a failed candidate is searched again from its second byte, unless failed ones have already cost four times the bytes seen
and 4 MiB; then it is skipped whole.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, IncompleteError
from vqkit.bitstream.header import MAGIC, VqkHeader, read_header
from vqkit.bitstream.limits import MAX_GAP_FRAMES
from vqkit.bitstream.records import CHUNK_MARKER, END_MARKER, Chunk, End, read_record

__all__ = ["Damage"]

_MARKERS = (CHUNK_MARKER, END_MARKER, MAGIC)
_CANDIDATE = re.compile(b"|".join(map(re.escape, _MARKERS)))
_BLOCK_BYTES = 1 << 16
_FREE_WORK, _WORK_PER_BYTE = 1 << 22, 4


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage: a place where a file differs from what was written.

    Attributes:
        offset: offset of the first damaged byte.
        size: damaged bytes.
        start_frame: the first frame lost.
        frames: number of lost frames; 0 if only bytes were added.
        reason: reason in words.
    """

    offset: int
    size: int
    start_frame: int
    frames: int
    reason: str

    def __str__(self) -> str:
        last = self.start_frame + self.frames - 1
        lost = f"frames {self.start_frame} to {last} are lost" if self.frames else "no frame is lost"
        return f"{self.reason} at byte {self.offset} ({self.size} bytes): {lost}"


@dataclass(frozen=True, slots=True)
class Found:
    """An intact chunk: its first frame counted from the first of the file, and its bytes."""

    start_frame: int
    offset: int
    chunk: Chunk
    record: bytes


class Scanner:
    """Scanner that reads a file once, from its beginning.

    Args:
        read: gives at most so many of the next bytes; none at the end of what there is.

    Attributes:
        header: header of the file.
        frames: seen so far, lost ones included.
        complete: the last thing seen is an end record.

    Raises:
        BitstreamError: no valid header.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = bytearray()
        self._ready: deque[Found | Damage] = deque()
        self._offset = 0  # of the buffer in the file
        self._garbage: int | None = None  # where bytes began that belong to no record
        self._covered = 0  # damage before this byte is reported
        self._work = 0
        self._base = self._expected = 0  # frames before this segment, and in it so far
        self.complete = False
        self._length: int | None = None
        self.header = self._open()

    @property
    def frames(self) -> int:
        """Frames seen so far, lost ones included."""
        return self._base + self._expected

    @property
    def length(self) -> int | None:
        """Samples in all, as the end record states them; before it has come, as the header does if it is the only one."""
        if self.complete:
            return self._length
        return None if self._base else self.header.length

    @property
    def pending_bytes(self) -> int:
        """Bytes at the end that are no whole record, or not yet."""
        begin = self._offset if self._garbage is None else max(self._garbage, self._covered)
        return max(0, self._offset + len(self._buffer) - begin)

    def scan(self) -> Iterator[Found | Damage]:
        """Yield the chunks and damage that arrived since the last call, in order; the next call continues an iteration left early."""
        while self._ready or self._buffer or self._fill():
            if self._ready:
                yield self._ready.popleft()
                continue
            fields = FieldReader(self._buffer)
            try:
                record = self._record(fields)
            except IncompleteError as error:
                if not self._fill_to(error.needed):
                    ahead = self._look_ahead()
                    if ahead is None:
                        return
                    self._skip(ahead)
            except BitstreamError:
                self._skip_failed(fields.position)
            else:
                self._accept(record, fields.position)

    # --- bytes

    def _open(self) -> VqkHeader:
        while True:
            fields = FieldReader(self._buffer)
            try:
                header = read_header(fields)
            except IncompleteError as error:
                if not self._fill_to(error.needed):
                    break
                continue
            self._drop(fields.position)
            return header
        if not self._buffer:
            raise BitstreamError("not a vqk file: it is empty")
        if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
            raise BitstreamError(f"not a vqk file: it is {bytes(self._buffer)!r}")
        raise BitstreamError(f"truncated: it ends within its header, after {len(self._buffer)} bytes")

    def _fill(self) -> bool:
        block = self._read(_BLOCK_BYTES)
        self._buffer += block
        return bool(block)

    def _fill_to(self, size: int) -> bool:
        while len(self._buffer) < size:
            if not self._fill():
                return False
        return True

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._offset += size

    def _skip(self, size: int) -> None:
        """Bytes that belong to no record."""
        if self._garbage is None:
            self._garbage = self._offset
        self._drop(size)

    def _skip_failed(self, examined: int) -> None:
        self._skip(self._next_candidate(0, examined))

    def _next_candidate(self, position: int, examined: int) -> int:
        """The next place where a record might begin, behind a failed one at ``position``."""
        self._work += examined
        exhausted = self._work > _FREE_WORK + _WORK_PER_BYTE * (self._offset + len(self._buffer))
        found = _CANDIDATE.search(self._buffer, position + (max(examined, 1) if exhausted else 1))
        # a marker may be cut by the end of the buffer
        return found.start() if found else max(position + 1, len(self._buffer) - len(MAGIC) + 1)

    # --- records

    def _record(self, fields: FieldReader) -> Chunk | End | VqkHeader:
        """A whole record, its stages perhaps altered."""
        position = fields.position
        rest = bytes(self._buffer[position : position + len(MAGIC)])
        if not any(marker.startswith(rest[: len(marker)]) for marker in _MARKERS):
            raise BitstreamError("no record begins here")
        if MAGIC.startswith(rest):
            header = read_header(fields)
            if not header.same_stream(self.header):
                raise BitstreamError("another stream begins here")
            return header
        record = read_record(self.header, self._buffer, fields)
        if isinstance(record, Chunk) and len(self._buffer) < position + record.size:
            raise IncompleteError(position + record.size)
        return record

    def _look_ahead(self) -> int | None:
        """Return the start of an intact record behind one that seems to extend beyond the end; None where there is none."""
        position = self._next_candidate(0, 1)
        while position < len(self._buffer):
            fields = FieldReader(self._buffer, position)
            try:
                record = self._record(fields)
            except BitstreamError:
                position = self._next_candidate(position, fields.position - position)
                continue
            if not isinstance(record, Chunk) or record.intact(self._bytes_of(record, position)):
                return position
            position = self._next_candidate(position, record.size)
        return None

    def _bytes_of(self, chunk: Chunk, position: int = 0) -> bytes:
        return bytes(self._buffer[position : position + chunk.size])

    def _accept(self, record: Chunk | End | VqkHeader, size: int) -> None:
        if isinstance(record, Chunk):
            self._accept_chunk(record)
        elif isinstance(record, End):
            self._accept_end(record)
        else:
            self._lose_until(self._expected)
            self._new_segment()
            self._drop(size)

    def _accept_chunk(self, chunk: Chunk) -> None:
        again = chunk.start_frame == 0 and self._expected > 0
        if not again and not self._believable(chunk.start_frame):
            self._skip(chunk.size)
            return
        record = self._bytes_of(chunk)
        intact = chunk.intact(record)
        self._lose_until(self._expected if again else chunk.start_frame)
        if again:
            self._new_segment()
        self.complete = False
        start = self._base + chunk.start_frame
        self._expected = chunk.end_frame
        if intact:
            self._ready.append(Found(start, self._offset, chunk, record))
            self._drop(chunk.size)
        else:
            self._ready.append(Damage(self._offset, chunk.size, start, chunk.frames, "a chunk is altered"))
            self._covered = self._offset + chunk.size
            self._skip_failed(chunk.size)

    def _accept_end(self, end: End) -> None:
        if not self._believable(end.frames):
            self._skip(end.size)
            return
        self._lose_until(end.frames)
        cells = prod(self.header.grid)
        before = self._base // cells * self.header.hop_samples
        self._new_segment()
        self.complete = True
        self._length = None if end.length is None else before + end.length
        self._drop(end.size)

    def _believable(self, frame: int) -> bool:
        return self._expected <= frame <= self._expected + MAX_GAP_FRAMES

    def _new_segment(self) -> None:
        self._base, self._expected = self.frames, 0
        self.complete = False

    def _lose_until(self, frame: int) -> None:
        """Report the bytes skipped before the record at hand and the frames missing before ``frame``."""
        begin = self._offset if self._garbage is None else min(max(self._garbage, self._covered), self._offset)
        frames = frame - self._expected
        if frames or begin < self._offset:
            reason = "bytes that are no intact chunk" if begin < self._offset else "chunks are missing"
            self._ready.append(Damage(begin, self._offset - begin, self.frames, frames, reason))
        self._expected, self._garbage = frame, None
