import math
from fractions import Fraction

import numpy as np
import pytest

from vqkit.bitstream import BitstreamError, PlainCodes
from vqkit.bitstream.plain_codes import group_length

SIZES = [1, 2, 3, 5, 6, 7, 100, 1000, 1783, 4375, 65536, 65537, 2**24 + 1, 2**31 + 1, 2**32 - 1, 2**32]


def bits_of(column, size):
    """Groups as Python's integers, written in binary."""
    text, group = "", group_length(size)
    for start in range(0, len(column), group):
        digits = column[start : start + group]
        value = 0
        for digit in digits:
            value = value * size + int(digit)
        width = (size ** len(digits) - 1).bit_length()
        text += f"{value:0{width}b}" if width else ""
    return text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frames", [0, 1, 2, 28, 29, 75])
def test_the_bits_are_those_of_plain_arithmetic(size, frames):
    codes = np.random.default_rng(frames).integers(0, size, (frames, 3))
    codes[: frames // 3, 1], codes[frames // 3 :, 1] = 0, size - 1
    codes[:, 2] %= 7
    coder = PlainCodes([size, size, 7])
    text = bits_of(codes[:, 0], size) + bits_of(codes[:, 1], size) + bits_of(codes[:, 2], 7)
    data = coder.encode(codes, 0, 3)
    assert data == int("0" + text + "0" * (-len(text) % 8), 2).to_bytes(-(-len(text) // 8), "big")
    assert np.array_equal(coder.decode(data, codes[:, :0], 3), codes)
    assert np.array_equal(coder.decode(coder.encode(codes, 1, 2), codes[:, :1], 2), codes[:, 1:2])


@pytest.mark.parametrize("size", SIZES)
def test_groups_waste_least(size):
    allowed = [g for g in range(1, 63) if size**g <= 2**62] or [1]
    bits = {g: Fraction((size**g - 1).bit_length(), g) for g in allowed}
    best = min(bits.values())
    assert group_length(size) == min(g for g in allowed if bits[g] == best)
    if size > 1:
        assert float(best) <= 1.033 * math.log2(size)


def test_bad_data():
    coder = PlainCodes([3, 1000])
    data = coder.encode(np.array([[2, 999]] * 29), 0, 1)  # 29 codes in 46 bits
    nothing = np.zeros((29, 0), np.int64)
    with pytest.raises(BitstreamError, match="5 bytes are not 46 bits"):
        coder.decode(data[:-1], nothing, 1)
    with pytest.raises(BitstreamError, match="7 bytes are not 46 bits"):
        coder.decode(data + b"\0", nothing, 1)
    with pytest.raises(BitstreamError, match="the bits that fill the last byte are not zero"):
        coder.decode(data[:-1] + bytes([data[-1] | 1]), nothing, 1)
    with pytest.raises(BitstreamError, match="a group of codes is out of range for 3 codes"):
        coder.decode(b"\xff\xff\xff\xff\xff\xfc", nothing, 1)
    with pytest.raises(BitstreamError, match="a group of codes is out of range for 1000 codes"):
        coder.decode(b"\xff\xc0", np.zeros((1, 1), np.int64), 2)
