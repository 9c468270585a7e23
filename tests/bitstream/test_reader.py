import gc
import io
import os
import re
import threading
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from vqkit.bitstream import BitstreamError, PlainCodes, StaticTables, VqkHeader, VqkReader, VqkWriter
from vqkit.bitstream.limits import MAX_GAP_FRAMES
from vqkit.bitstream.output import RecordWriter

SIZES = (16, 4375, 1, 300)
END_BYTES = 9  # marker, a byte for 53, two for the length, checksum


def read(data, **arguments):
    return VqkReader(io.BytesIO(bytes(data)), **arguments)


def chunk_offsets(data):
    """Offset of each chunk, of the end, and the file's size."""
    reader = read(data)
    return [entry.offset for entry, _ in reader.entries()] + [len(data) - END_BYTES, len(data)]


def test_a_whole_file(data, header, codes, tmp_path):
    path = tmp_path / "a.vqk"
    path.write_bytes(data)
    with VqkReader(path, model_hash="ab" * 8) as reader:
        assert reader.header == header
        assert (reader.frames, reader.length, reader.complete, reader.damage, reader.pending_bytes) == (
            53,
            5260,
            True,
            [],
            0,
        )
        reader.require_intact()
        assert torch.equal(reader.read(), codes)
        assert reader.read().dtype == torch.int64
        blocks = list(reader)
        assert [block.start_frame for block in blocks] == [0, 10, 20, 30, 40, 50]
        assert torch.equal(torch.cat([block.codes for block in blocks]), codes)
        for start, frames in ((0, 0), (0, 1), (9, 2), (10, 10), (52, 1), (53, 0), (5, 48), (13, 31)):
            assert torch.equal(reader.read(start, frames), codes[start : start + frames])
        assert torch.equal(reader.read(20), codes[20:])


def test_the_first_stages(data, codes):
    for stages, width in ((1, 1), (2, 3), (3, 4)):
        reader = read(data, stages=stages)
        assert reader.num_codes == width
        assert torch.equal(reader.read(), codes[:, :width])
        assert torch.equal(torch.cat([block.codes for block in reader]), codes[:, :width])


def test_an_empty_file_of_codes(header):
    file = io.BytesIO()
    VqkWriter(file, header).close()
    reader = read(file.getvalue())
    assert (reader.frames, reader.complete, list(reader), reader.read().shape) == (0, True, [], (0, 4))


def test_ranges_are_checked(data):
    reader = read(data)
    for start, frames in ((0, 54), (53, 1), (-1, 2), (0, -1), (60, None)):
        with pytest.raises(ValueError, match="the file has 53"):
            reader.read(start, frames)
    for stages in (0, 4):
        with pytest.raises(ValueError, match=f"stages is {stages}, the file has 1 to 3"):
            read(data, stages=stages)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a vqk file: it is empty"),
        (b"RI", "not a vqk file: it is b'RI'"),
        (b"RIFF1234WAVE", "not a vqk file: it begins with b'RIFF'"),
        (b"\x89VQ", "truncated: it ends within its header, after 3 bytes"),
        (b"\x89VQK\x01\x20abc", "truncated: it ends within its header, after 9 bytes"),
    ],
)
def test_what_is_no_file(content, message):
    with pytest.raises(BitstreamError, match=re.escape(message)):
        read(content)


def test_another_model(data, header, codes):
    with pytest.raises(
        BitstreamError,
        match="written by model 'test' with weights abababababababab, not by the one at hand with weights ff",
    ):
        read(data, model_hash="ff" * 8)
    tables = StaticTables.fit(header.code_sizes, [codes])
    other = StaticTables.fit(header.code_sizes, [codes[:20]])
    file = io.BytesIO()
    with VqkWriter(file, header, entropy_model=tables) as writer:
        writer.write(codes)
    with pytest.raises(
        BitstreamError, match=f"written with the static tables {tables.tables_hash} of model 'test', not with"
    ):
        read(file.getvalue(), entropy_model=other)
    blind = read(file.getvalue())
    assert (blind.frames, blind.complete) == (53, True)
    for use in (blind.read, lambda: list(blind)):
        with pytest.raises(
            BitstreamError, match=f"the codes need the static tables {tables.tables_hash} of model 'test', which"
        ):
            use()


def test_a_stored_model_must_be_the_one_named(header, codes):
    tables, other = (StaticTables.fit(header.code_sizes, [part]) for part in (codes, codes[:20]))
    for stored, message in (
        (other.to_bytes(), "not with the static tables"),
        (b"junk", "the stored probability tables are not valid"),
    ):
        file = io.BytesIO()
        RecordWriter(file, replace(header, coding="static", tables_hash=tables.tables_hash, tables=stored))
        with pytest.raises(BitstreamError, match=message):
            read(file.getvalue())


def test_every_flipped_byte_loses_at_most_its_chunk(data, codes, header):
    offsets = chunk_offsets(data)
    for position in range(len(header.to_bytes()), len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        chunk = max(k for k, offset in enumerate(offsets) if offset <= position)
        reader = read(changed)
        if chunk == 6:  # the end
            assert not reader.complete
            assert torch.equal(reader.read(), codes)
            with pytest.raises(BitstreamError, match="truncated: the file ends after 53 frames without its end record"):
                reader.require_intact()
            continue
        expected = codes.clone()
        expected[10 * chunk : 10 * chunk + 10] = -1
        assert reader.frames == 53
        assert torch.equal(reader.read(), expected)
        (damage,) = reader.damage
        lost = min(10, 53 - 10 * chunk)
        assert (damage.start_frame, damage.frames, damage.offset) == (10 * chunk, lost, offsets[chunk])
        assert damage.size == offsets[chunk + 1] - offsets[chunk]
        assert [block.lost for block in reader] == [k == chunk for k in range(6)]
        with pytest.raises(BitstreamError, match=f"frames {10 * chunk} to {10 * chunk + lost - 1} are lost"):
            reader.require_intact()


def test_every_truncation_keeps_the_whole_chunks(data, codes, header):
    offsets = chunk_offsets(data)
    for size in range(len(header.to_bytes()), len(data)):
        reader = read(data[:size])
        whole = sum(offset <= size for offset in offsets[1:])
        frames = min(53, 10 * whole)
        assert (reader.frames, reader.complete, reader.damage, reader.length) == (frames, False, [], None)
        assert reader.pending_bytes == size - max(o for o in offsets if o <= size)
        assert torch.equal(reader.read(), codes[:frames])
        with pytest.raises(BitstreamError, match=f"truncated: the file ends after {frames} frames"):
            reader.require_intact()


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_deleted_and_inserted_bytes(data, codes, size):
    offsets = chunk_offsets(data)
    for position in range(offsets[0], offsets[5] - size, 5):
        deleted = [k for k in range(6) if offsets[k] < position + size and position < offsets[k + 1]]
        # a marker inserted behind a marker is one inserted before it
        inserted = [k for k in range(6) if offsets[k] < position < offsets[k + 1] and position != offsets[k] + 2]
        for hit, changed in (
            (deleted, data[:position] + data[position + size :]),
            (inserted, data[:position] + b"\xf5c" * size + data[position:]),
        ):
            expected = codes.clone()
            for chunk in hit:
                expected[10 * chunk : 10 * chunk + 10] = -1
            reader = read(changed)
            assert torch.equal(reader.read(), expected)
            assert reader.damage
            assert sum(damage.frames for damage in reader.damage) == 10 * len(hit)


def test_missing_repeated_and_exchanged_chunks(data, codes):
    offsets = chunk_offsets(data)
    head, chunks, end = (
        data[: offsets[0]],
        [data[a:b] for a, b in pairwise(offsets)][:6],
        data[offsets[6] :],
    )
    missing = read(head + b"".join(chunks[:1] + chunks[3:]) + end)
    assert [str(damage) for damage in missing.damage] == [
        f"chunks are missing at byte {offsets[1]} (0 bytes): frames 10 to 29 are lost"
    ]
    assert torch.equal(missing.read(0, 10), codes[:10])
    assert torch.equal(missing.read(30), codes[30:])
    assert (missing.read(10, 20) == -1).all()
    repeated = read(head + b"".join([*chunks[:3], chunks[1], *chunks[3:]]) + end)
    assert torch.equal(repeated.read(), codes)
    assert [(damage.frames, damage.size) for damage in repeated.damage] == [(0, len(chunks[1]))]
    assert "no frame is lost" in str(repeated.damage[0])
    tail = read(head + b"".join(chunks[:4]) + end)
    assert tail.frames == 53
    assert (tail.read(40) == -1).all()


def zeros(frames):
    """The stages of a chunk in which every code is 0."""
    return [PlainCodes(SIZES).encode(np.zeros((frames, 4), np.int64), *ends) for ends in ((0, 1), (1, 3), (3, 4))]


def test_a_claim_too_far_ahead_is_not_believed(header):
    for gap, frames in ((MAX_GAP_FRAMES, 10 + MAX_GAP_FRAMES + 10), (MAX_GAP_FRAMES + 1, 10)):
        file = io.BytesIO()
        writer = RecordWriter(file, header)
        writer.chunk(0, 10, zeros(10))
        writer.chunk(10 + gap, 10, zeros(10))
        reader = read(file.getvalue())
        assert reader.frames == frames
        assert (reader.read(0, 10) == 0).all()
        assert sum(len(block.codes) for block in reader) == frames


def test_right_checksums_around_codes_that_cannot_be(header):
    file = io.BytesIO()
    writer = RecordWriter(file, header)
    writer.chunk(0, 10, [b"\0" * 5, b"\xff" * 16])
    writer.chunk(10, 10, [b"\0" * 5, b"\0" * 16])
    writer.end(20, None)
    reader = read(file.getvalue())
    assert reader.damage == []
    assert [block.lost for block in reader] == [True, False]
    assert (reader.read(0, 10) == -1).all()
    assert reader.read(10, 1).tolist() == [[0, 0, 0, -1]]
    assert ["a chunk cannot be decoded: " in str(damage) for damage in reader.damage] == [True]


def test_a_growing_file(tmp_path, header, codes, data):
    path = tmp_path / "growing.vqk"
    path.write_bytes(data[: len(header.to_bytes())])
    with VqkReader(path) as reader, open(path, "ab") as file:
        seen = 0
        for start in range(len(header.to_bytes()), len(data), 7):
            file.write(data[start : start + 7])
            file.flush()
            frames = reader.frames
            assert frames >= seen
            assert torch.equal(reader.read(seen), codes[seen:frames])
            assert reader.damage == []
            seen = frames
        assert (seen, reader.complete) == (53, True)


def test_iterating_goes_on_where_the_file_has_grown(header, codes, data):
    file = io.BytesIO(data[:200])
    reader = VqkReader(file)
    blocks = []
    for block in reader:
        blocks.append(block.codes)
        if len(blocks) == 2:
            file.seek(0, io.SEEK_END)
            file.write(data[200:])
    assert torch.equal(torch.cat(blocks), codes)


def test_a_pipe(header, codes):
    receive, send = os.pipe()

    def write():
        with open(send, "wb", buffering=0) as file, VqkWriter(file, header) as writer:
            for block in codes.split(4):
                writer.write(block)

    thread = threading.Thread(target=write)
    thread.start()
    with open(receive, "rb") as file:
        reader = VqkReader(file)
        assert torch.equal(torch.cat([block.codes for block in reader]), codes)
        assert (reader.frames, reader.complete, reader.seekable) == (53, True, False)
        with pytest.raises(ValueError, match="a stream that cannot be seeked can only be iterated"):
            reader.read()
    thread.join()


def test_a_stream_goes_on_after_a_break(header, codes, data):
    class Stream(io.BytesIO):
        def seekable(self):
            return False

    changed = bytearray(data)
    changed[120] ^= 1  # frames 10 … 19
    reader, found = VqkReader(Stream(changed)), []
    for _ in range(10):
        for block in reader:
            found.append(block.codes)
            break
    expected = codes.clone()
    expected[10:20] = -1
    assert torch.equal(torch.cat(found), expected)
    assert [(damage.start_frame, damage.frames) for damage in reader.damage] == [(10, 10)]
    assert reader.complete


def test_a_file_inside_another(data, codes):
    file = io.BytesIO(b"something before" + data)
    file.seek(16)
    assert torch.equal(VqkReader(file).read(), codes)


def test_files_behind_each_other(data, header, codes):
    three = read(data * 3)
    assert (three.frames, three.complete, three.damage) == (159, True, [])
    assert torch.equal(three.read(), codes.repeat(3, 1))
    assert three.length == 2 * 5300 + 5260
    file = io.BytesIO()
    with VqkWriter(file, replace(header, model="renamed", metadata={"a": "b"})) as writer:
        writer.write(codes)
    assert torch.equal(read(data + file.getvalue()).read(), codes.repeat(2, 1))
    # a damaged header in the middle costs nothing; a missing end costs the padding only
    changed = bytearray(data * 2)
    changed[len(data) + 8] ^= 1
    reader = read(changed)
    assert torch.equal(reader.read(), codes.repeat(2, 1))
    assert [damage.frames for damage in reader.damage] == [0]
    assert torch.equal(read(data[:-END_BYTES] + data).read(), codes.repeat(2, 1))


def test_which_length_is_told(header, codes):
    def file(stated, closed):
        out = io.BytesIO()
        writer = VqkWriter(out, replace(header, length=stated))
        writer.write(codes)
        writer.flush()
        if closed is not None:
            writer.close(closed or None)
        return out.getvalue()

    unstated, told, open_ended = file(None, 0), file(None, 5260), file(5260, None)
    for data, length in (
        (unstated, None),
        (told, 5260),
        (open_ended, 5260),  # as the header says: the end may still come
        (file(5270, 0), 5270),
        (unstated + told, 5300 + 5260),
        (told + unstated, None),
        (told + open_ended, None),
        (open_ended + told, 5300 + 5260),
    ):
        assert read(data).length == length


def test_another_stream_is_no_part_of_this(data, header, codes):
    file = io.BytesIO()
    with VqkWriter(file, VqkHeader((16, 4375, 1, 301), (1, 2, 1), sample_rate=1000, hop_samples=100)) as writer:
        writer.write(codes)
    for other in (file.getvalue(), file.getvalue()[len(header.to_bytes()) :]):
        reader = read(data + other + data)
        assert torch.equal(reader.read(), codes.repeat(2, 1))
        assert [damage.frames for damage in reader.damage] == [0]


def test_garbage_behind_the_end(data, codes):
    reader = read(data + b"\n")
    assert torch.equal(reader.read(), codes)
    assert (reader.complete, reader.pending_bytes) == (True, 1)
    with pytest.raises(BitstreamError, match="1 bytes follow the end"):
        reader.require_intact()


def test_too_much_at_once(header):
    file = io.BytesIO()
    writer = RecordWriter(file, header)
    for second in range(40):
        writer.chunk(second * 10**6, 1, zeros(1))
    reader = read(file.getvalue())
    assert reader.frames == 39 * 10**6 + 1
    with pytest.raises(
        ValueError, match="39000001 frames of 4 codes are too many to read at once: iterate over the file"
    ):
        reader.read()


def test_a_reader_goes_with_its_last_reference(data):
    """Without waiting for the garbage collector: a file stays open, and its bytes in memory, no longer than it is used."""
    file = io.BytesIO(data)
    alive = weakref.ref(file)
    reader = VqkReader(file)
    list(reader)
    gc.disable()
    try:
        del reader, file
        assert alive() is None
    finally:
        gc.enable()
