import re
import zlib

import pytest

from vqkit.bitstream import BitstreamError, VqkHeader
from vqkit.bitstream.fields import FieldReader, IncompleteError, block_bytes, number_bytes
from vqkit.bitstream.header import MAGIC, read_header

SOUND = VqkHeader(
    code_sizes=(1024,) * 8,
    codes_per_stage=(2,) * 4,
    sample_rate=24000,
    hop_samples=320,
    channels=2,
    length=123456,
    model="vqkit/general",
    model_hash="0123456789abcdef" * 2,
    licence="CC-BY-4.0",
    metadata={"title": "Grüße", "artist": ""},
)
IMAGE = VqkHeader(code_sizes=(4375, 2, 1), grid=(16, 24), image_size=(250, 380), coding="static", tables_hash="ab" * 16)

BY_NEED = VqkHeader((16, 9), sample_rate=300, hop_samples=2, variable_stages=True)


def with_checksum(body: bytes, version: int = 1) -> bytes:
    content = MAGIC + bytes([version]) + block_bytes(body)
    return content + zlib.crc32(content).to_bytes(4, "little")


def body_of(header: VqkHeader) -> bytes:
    fields = FieldReader(header.to_bytes(), 5)
    return fields.block("body", 2**20)


def block_bytes_of(header: VqkHeader) -> bytes:
    """The core."""
    return FieldReader(body_of(header)).block("core", 2**20)


@pytest.mark.parametrize("header", [SOUND, IMAGE, BY_NEED, VqkHeader((2**32,) * 1024), VqkHeader((1,), length=0)])
def test_headers_return(header):
    data = header.to_bytes()
    fields = FieldReader(data + b"more")
    assert read_header(fields) == header
    assert fields.position == len(data)
    for end in range(0, len(data), max(1, len(data) // 50)):
        with pytest.raises(IncompleteError):
            read_header(FieldReader(data[:end]))


def test_what_follows_from_a_header():
    assert (SOUND.num_codes, SOUND.num_stages, SOUND.stage_ends, SOUND.frame_rate) == (8, 4, (2, 4, 6, 8), 75.0)
    assert SOUND.rates_kbps == (1.5, 3.0, 4.5, 6.0)
    assert VqkHeader((7, 8)).codes_per_stage == (1, 1)
    assert IMAGE.frame_rate is None
    assert IMAGE.rates_kbps == ()
    # a video of 24 pictures a second, each of 4 × 6 codes
    assert VqkHeader((256,), sample_rate=24, hop_samples=1, grid=(4, 6)).rates_kbps == (24 * 24 * 8 / 1000,)
    assert VqkHeader((2,)).largest_chunk == 2**16
    assert VqkHeader((2,) * 1024).largest_chunk == 256
    # counts are decoded one by one
    assert VqkHeader((2,) * 12, variable_stages=True).largest_chunk == 2**20 // (12 + 256)
    assert (SOUND.version, BY_NEED.version) == (1, 3)
    assert not BY_NEED.same_stream(VqkHeader((16, 9), sample_rate=300, hop_samples=2))


def test_notes_do_not_change_the_stream():
    other = VqkHeader(
        (1024,) * 8, (2,) * 4, sample_rate=24000, hop_samples=320, channels=2, model_hash=SOUND.model_hash
    )
    assert other.same_stream(SOUND)
    assert other.stream_id == SOUND.stream_id
    assert not other.same_stream(IMAGE)


def test_the_bytes_as_documented():
    header = VqkHeader((16, 16, 5), (1, 2), sample_rate=300, hop_samples=2, model="m", metadata={"a": "b"})
    core = bytes([2, 16, 2, 5, 1, 2, 1, 1, 2, 1, 0, 0, 0xAC, 2, 2, 0, 0, 0, 0, 0])
    notes = bytes([0, 1, 1]) + b"m" + bytes([0, 1]) + b"a" + bytes([1]) + b"b"
    body = bytes([len(core)]) + core + notes
    content = b"\x89VQK\x01" + bytes([len(body)]) + body
    assert header.to_bytes() == content + zlib.crc32(content).to_bytes(4, "little")
    assert header.stream_id == zlib.crc32(core)


def test_every_changed_byte_is_noticed():
    data = SOUND.to_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(BitstreamError):
            read_header(FieldReader(changed + bytes(300)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF\x00\x00\x00\x00", "not a vqk file: it begins with b'RIFF'"),
        (with_checksum(body_of(SOUND), 4), "format version 4, and this vqkit reads up to 3: a newer one is needed"),
        (with_checksum(body_of(SOUND), 2), "it is not spelt as this version spells it"),
        (MAGIC + b"\x09" + number_bytes(2**40), "format version 9, and this vqkit reads up to 3"),
        (MAGIC + b"\x01" + number_bytes(2**40), "the header claims 1099511627776 bytes, allowed are 1048576"),
        (SOUND.to_bytes()[:-1] + b"\x00", "the header is damaged: its checksum is wrong"),
        # version 3 says how the numbers of stages are coded, and a file that has none is of version 1
        (with_checksum(body_of(SOUND), 3), "the header is not valid: the bytes end early"),
        (with_checksum(body_of(BY_NEED), 1), "the header is not valid: the core has 1 bytes too many"),
        (
            with_checksum(block_bytes(block_bytes_of(BY_NEED)[:-1] + b"\0") + bytes(4), 3),
            "the coding of stage counts is 0, allowed are 1 to 1",
        ),
        (with_checksum(body_of(SOUND), 0), "the header is not valid: it is not spelt as this version spells it"),
        (with_checksum(body_of(SOUND) + b"\0"), "the header is not valid: the header has 1 bytes too many"),
        (with_checksum(body_of(SOUND)[:-1]), "the header is not valid: the bytes end early"),
        (with_checksum(b""), "the header is not valid: the bytes end early"),
        (with_checksum(body_of(SOUND).replace(b"title", b"tit\xffe")), "a name of metadata is not UTF-8"),
        # two entries, and the second has the name of the first
        (
            with_checksum(body_of(VqkHeader((2,), metadata={"a": "", "b": ""})).replace(b"\x01b", b"\x01a")),
            "metadata has a name twice",
        ),
        # no codes at all; an empty codes_per_stage stands for nothing
        (with_checksum(block_bytes(bytes(11)) + bytes(4)), "code_sizes has 0 codes, allowed are 1 to 1024"),
        (with_checksum(block_bytes(bytes([1, 2, 1]) + bytes(10)) + bytes(4)), "it is not spelt as this version"),
    ],
)
def test_bad_headers(data, message):
    with pytest.raises(BitstreamError, match=re.escape(message)):
        read_header(FieldReader(data))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"code_sizes": ()}, "code_sizes has 0 codes, allowed are 1 to 1024"),
        ({"code_sizes": (2,) * 1025}, "code_sizes has 1025 codes"),
        ({"code_sizes": (4, 0)}, "code_sizes are (4, 0) …, allowed are 1 to 2^32"),
        ({"code_sizes": (2**32 + 1,)}, "allowed are 1 to 2^32"),
        ({"codes_per_stage": (1,)}, "codes_per_stage has sum 1, expected numbers of at least 1 with sum 2"),
        ({"codes_per_stage": (2, 0)}, "codes_per_stage has sum 2, expected numbers of at least 1"),
        ({"sample_rate": 24000}, "sample_rate is 24000 and hop_samples 0: give both or neither"),
        ({"sample_rate": -1, "hop_samples": 1}, "sample_rate is -1, allowed are 0 to 4294967296"),
        ({"channels": 2**33}, "channels is 8589934592"),
        ({"length": -5}, "length is -5"),
        ({"grid": (0, 4)}, "grid is (0, 4), allowed are up to 8 numbers from 1 to 16777216"),
        ({"image_size": (1,) * 9}, "image_size is"),
        ({"model_hash": "ABCD"}, "model_hash is 'ABCD', expected up to 32 bytes in lower-case hexadecimal"),
        ({"model_hash": "abc"}, "model_hash is 'abc'"),
        ({"model_hash": "00" * 33}, "model_hash is"),
        ({"coding": "huffman"}, "coding is 'huffman', allowed are plain, static, context"),
        ({"coding": "static"}, "coding 'static' does not go with tables_hash ''"),
        ({"tables": b"x"}, "coding 'plain' does not go with tables_hash ''"),
        ({"licence": "x" * 65537}, "'licence' is not text of at most 65536 bytes"),
        ({"metadata": {"year": 1999}}, "'year' is not text"),
        ({"metadata": {str(n): "" for n in range(257)}}, "metadata has 257 entries, allowed are 256"),
        ({"metadata": {str(n): "x" * 65000 for n in range(17)}}, "the header has 1105"),
    ],
)
def test_bad_fields_of_a_header(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        VqkHeader(**{"code_sizes": (4, 9), **fields})
