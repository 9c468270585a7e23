"""What a hostile file may cost; how files are read is tested with the reader."""

import io
import time
import zlib

import pytest

from vqkit.bitstream import VqkHeader, VqkReader
from vqkit.bitstream.fields import number_bytes
from vqkit.bitstream.output import RecordWriter

SIZE = 1 << 18
FEW, MANY = VqkHeader((16,) * 4), VqkHeader((16,) * 1024)


def head(header, start, *sizes):
    """The head of a chunk of one frame, with its checksum."""
    content = b"\xf5c" + b"".join(map(number_bytes, (start, 1, len(sizes), *sizes)))
    return content + zlib.crc32(content, header.stream_id).to_bytes(4, "little")


HOSTILE = {
    "markers": (FEW, b"\xf5c"),
    "half markers": (FEW, b"\xf5"),
    "headers": (FEW, b"\x89VQK"),
    "headers that claim much": (FEW, b"\x89VQK\x01" + number_bytes(SIZE // 2)),
    "heads that claim much": (FEW, head(FEW, 0, *[SIZE // 8] * 3)),
    "heads with many stages": (MANY, b"\xf5c\x00\x01" + number_bytes(1024) + b"\x01" * 7),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded(name):
    header, pattern = HOSTILE[name]
    data = header.to_bytes() + pattern * (SIZE // len(pattern))
    begin = time.process_time()
    reader = VqkReader(io.BytesIO(data))
    assert sum(len(block.codes) for block in reader) == reader.frames
    # about a second on a slow machine; without the bound some take minutes
    assert time.process_time() - begin < 10


def test_many_small_altered_chunks():
    heads = b"".join(head(FEW, start, 0) + bytes(4) for start in range(SIZE // 20))
    reader = VqkReader(io.BytesIO(FEW.to_bytes() + heads))
    assert reader.frames == SIZE // 20
    assert sum(damage.frames for damage in reader.damage) == reader.frames


def test_a_chunk_that_ends_with_the_file_is_waited_for():
    file = io.BytesIO()
    RecordWriter(file, FEW).chunk(0, 1, [b"\x10", b"\x20"])
    data = file.getvalue()
    for size in range(len(FEW.to_bytes()), len(data)):
        growing = io.BytesIO(data[:size])
        reader = VqkReader(growing)
        assert (reader.frames, reader.pending_bytes) == (0, size - len(FEW.to_bytes()))
        growing.seek(size)
        growing.write(data[size:])
        assert reader.read().tolist() == [[1, 2, -1, -1]]
