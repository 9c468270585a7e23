"""The two records that follow the header: a chunk of about a second, and the end.

    chunk  F5 63  start frame  frames  stages  bytes of each stage  CRC-32 of this head  stage after stage  CRC-32 of the stages
           where frames have their own numbers of stages, these stand before the stages, and their bytes before those of the stages
    end    F5 65  frames  length + 1, or 0  CRC-32

Numbers are LEB128, checksums four bytes with the lowest first. The byte F5 never occurs in UTF-8. The checksum of a head continues the
stream id, that of the stages continues the checksum of their head: stages under another head, or chunks of another stream, do not pass.
"""

import zlib
from dataclasses import dataclass

from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, number_bytes
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.limits import MAX_CHUNK_BYTES, MAX_COUNT

CHUNK_MARKER = b"\xf5c"
END_MARKER = b"\xf5e"
MARKER_BYTES = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """Position of a chunk: its frames in the signal and its bytes in the record.

    Attributes:
        start_frame: the first frame, counted from the header before it.
        frames: number of frames.
        stage_bytes: bytes of each stage that is there.
        count_bytes: bytes that say how many stages each frame has; None where all have the same.
        checksum: checksum of the head.
        head_bytes: length of the head, up to the stages or their counts.
    """

    start_frame: int
    frames: int
    stage_bytes: tuple[int, ...]
    checksum: int
    head_bytes: int
    count_bytes: int | None = None

    @property
    def end_frame(self) -> int:
        """Index of the frame behind the chunk's last."""
        return self.start_frame + self.frames

    @property
    def size(self) -> int:
        """Length of the record in bytes."""
        return self.head_bytes + (self.count_bytes or 0) + sum(self.stage_bytes) + 4

    def intact(self, record: bytes) -> bool:
        """Return whether the checksum of the stages is right."""
        return zlib.crc32(record[self.head_bytes : -4], self.checksum) == int.from_bytes(record[-4:], "little")

    def stages(self, record: bytes) -> list[bytes]:
        """The bytes of each stage."""
        stages, position = [], self.head_bytes + (self.count_bytes or 0)
        for size in self.stage_bytes:
            stages.append(record[position : position + size])
            position += size
        return stages

    def counts(self, record: bytes) -> bytes | None:
        """The bytes that say how many stages each frame has; None where all have the same."""
        return None if self.count_bytes is None else record[self.head_bytes : self.head_bytes + self.count_bytes]


@dataclass(frozen=True, slots=True)
class End:
    """The record behind the last chunk: frames since the header, samples if stated, bytes of the record."""

    frames: int
    length: int | None
    size: int


def chunk_record(
    header: VqkHeader, start_frame: int, frames: int, stages: list[bytes], counts: bytes | None = None
) -> bytes:
    """Write a chunk as it stands in a file; ``counts`` where frames have their own numbers of stages."""
    assert (counts is not None) == header.variable_stages
    parts = stages if counts is None else [counts, *stages]
    numbers = (start_frame, frames, len(stages), *map(len, parts))
    head = CHUNK_MARKER + b"".join(map(number_bytes, numbers))
    checksum = zlib.crc32(head, header.stream_id)
    content = b"".join(parts)
    return b"".join([head, _word(checksum), content, _word(zlib.crc32(content, checksum))])


def end_record(header: VqkHeader, frames: int, length: int | None) -> bytes:
    """Write the end record as it stands in a file."""
    content = END_MARKER + number_bytes(frames) + number_bytes(0 if length is None else length + 1)
    return content + _word(zlib.crc32(content, header.stream_id))


def read_record(header: VqkHeader, data: bytes | bytearray, fields: FieldReader) -> Chunk | End:
    """Read the head of a chunk, whose stages need not be there yet, or an end; ``fields`` reads ``data`` from the record's first byte on.

    Raises:
        IncompleteError: it goes on behind the end of the data.
        BitstreamError: it is neither, or damaged.
    """
    position = fields.position
    marker = fields.take(MARKER_BYTES)
    if marker == CHUNK_MARKER:
        start = fields.number("the start frame", MAX_COUNT)
        frames = fields.number("frames", header.largest_chunk, least=1)
        count = fields.number("stages", header.num_stages, least=1)
        counted = fields.number("bytes of stage counts", MAX_CHUNK_BYTES) if header.variable_stages else None
        sizes = tuple(fields.number("bytes of a stage", MAX_CHUNK_BYTES) for _ in range(count))
        checksum = _check(header, data, position, fields)
        if (total := sum(sizes) + (counted or 0)) > MAX_CHUNK_BYTES:
            raise BitstreamError(f"a chunk of {total} bytes, allowed are {MAX_CHUNK_BYTES}")
        return Chunk(start, frames, sizes, checksum, fields.position - position, counted)
    if marker == END_MARKER:
        total, length = fields.number("frames", MAX_COUNT), fields.number("length", MAX_COUNT)
        _check(header, data, position, fields)
        return End(total, length - 1 if length else None, fields.position - position)
    raise BitstreamError("no record begins here")


def _check(header: VqkHeader, data: bytes | bytearray, position: int, fields: FieldReader) -> int:
    checksum = zlib.crc32(data[position : fields.position], header.stream_id)
    if fields.word() != checksum:
        raise BitstreamError("the checksum of a record is wrong")
    return checksum


def _word(value: int) -> bytes:
    return value.to_bytes(4, "little")
