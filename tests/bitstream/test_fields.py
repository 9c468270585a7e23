import re

import pytest

from vqkit.bitstream import BitstreamError
from vqkit.bitstream.fields import FieldReader, IncompleteError, block_bytes, number_bytes, runs_bytes


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**32, 2**62, 2**63 - 1])
def test_numbers_return(value):
    data = number_bytes(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    fields = FieldReader(data)
    assert fields.number("n", 2**63) == value
    fields.finish("it")
    for end in range(len(data)):
        with pytest.raises(IncompleteError) as caught:
            FieldReader(data[:end]).number("n", 2**63)
        assert caught.value.needed == end + 1


def test_blocks_text_and_runs_return():
    data = block_bytes("Grüße".encode()) + block_bytes(b"\xff\0") + runs_bytes([7, 7, 7, 300, 7]) + runs_bytes([])
    fields = FieldReader(data)
    assert fields.text("t") == "Grüße"
    assert fields.block("b", 2) == b"\xff\0"
    assert fields.runs("r", 5, 300) == (7, 7, 7, 300, 7)
    assert fields.runs("r", 5, 300) == ()
    fields.finish("it")


@pytest.mark.parametrize(
    ("data", "read", "message"),
    [
        (b"\x80\x00", lambda f: f.number("n", 9), "n is not spelt in the shortest way"),
        (b"\xff" * 10, lambda f: f.number("n", 2**80), "n has more than 63 bits"),
        (b"\x05", lambda f: f.number("n", 4), "n is 5, allowed are 0 to 4"),
        (b"\x05", lambda f: f.number("n", 9, least=6), "n is 5, allowed are 6 to 9"),
        (b"\x05abcde", lambda f: f.block("b", 4), "the length of b is 5, allowed are 0 to 4"),
        (b"\x02\xff\xfe", lambda f: f.text("t"), "t is not UTF-8"),
        (b"\x02\x07\x01\x07\x01", lambda f: f.runs("r", 9, 9), "r has two runs of 7 in a row"),
        (b"\x01\x07\x00", lambda f: f.runs("r", 9, 9), "a run of r is 0, allowed are 1 to 9"),
        (b"\x02\x07\x05\x08\x05", lambda f: f.runs("r", 9, 9), "a run of r is 5, allowed are 1 to 4"),
        (b"\x01\x07\xff\xff\xff\xff\x7f", lambda f: f.runs("r", 9, 9), "a run of r is 34359738367, allowed are 1 to 9"),
        (b"\x00\x00", lambda f: f.number("n", 9) or f.finish("it"), "it has 1 bytes too many"),
    ],
)
def test_bad_fields(data, read, message):
    with pytest.raises(BitstreamError, match=re.escape(message)):
        read(FieldReader(data))
