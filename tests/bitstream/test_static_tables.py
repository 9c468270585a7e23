import math

import numpy as np
import pytest
import torch

from vqkit.bitstream import BitstreamError, StaticTables, encode_codes, read_tables
from vqkit.bitstream.static_tables import small_counts


@pytest.fixture
def skewed():
    generator = torch.Generator().manual_seed(0)
    sizes = [64, 1, 70000, 5]
    return sizes, torch.stack([torch.rand(5000, generator=generator).pow(3).mul(s).long() for s in sizes], dim=1)


def test_codes_return_at_their_entropy(skewed):
    sizes, codes = skewed
    tables = StaticTables.fit(sizes, codes.split(999))
    assert [None if c is None else len(c) for c in tables.counts] == [64, None, None, 5]
    table = codes.numpy()
    for start, stop in ((0, 1), (1, 2), (0, 4), (2, 4)):
        data = tables.encode(table, start, stop)
        assert np.array_equal(tables.decode(data, table[:, :start], stop), table[:, start:stop])
        bits = 0.0
        for column in range(start, stop):
            if sizes[column] <= 2**16:
                counts = np.bincount(table[:, column], minlength=sizes[column])
                bits -= sum(c * math.log2(c / 5000) for c in counts if c)
            else:
                bits += 5000 * math.log2(sizes[column])
        assert bits / 8 <= len(data) + 1e-6
        assert len(data) <= 1.001 * bits / 8 + 2


def test_the_bytes_are_those_of_encode_codes(skewed):
    sizes, codes = skewed
    tables = StaticTables.fit(sizes, [codes])
    counts = [None if c is None else torch.from_numpy(c.astype(np.int64)) for c in tables.counts]
    assert tables.encode(codes.numpy(), 0, 4) == encode_codes(codes, sizes, counts)


def test_masked_codes_are_left_out():
    codes = torch.tensor([[0, 1], [-1, -1], [2, 1]])
    assert [c.tolist() for c in StaticTables.fit([3, 2], [codes]).counts] == [[1, 1, 1], [1, 2]]


def test_tables_return(skewed):
    tables = StaticTables.fit(skewed[0], [skewed[1]])
    data = tables.to_bytes()
    assert len(data) == 4 + 11 + 2 * 64 + 2 * 5
    back = read_tables(data)
    assert isinstance(back, StaticTables)
    assert back.to_bytes() == data
    assert back.tables_hash == tables.tables_hash
    assert len(back.tables_hash) == 32
    for end in range(len(data)):
        with pytest.raises(BitstreamError):
            read_tables(data[:end])
    with pytest.raises(BitstreamError, match="the static tables has 1 bytes too many"):
        read_tables(data + b"\0")
    with pytest.raises(BitstreamError, match="not an entropy model: it begins with b'PK"):
        read_tables(b"PK\x03\x04")
    with pytest.raises(BitstreamError, match="these are no static tables"):
        StaticTables.from_bytes(b"VQKc" + data[4:])


def test_large_counts_are_scaled():
    assert small_counts(np.array([2**40, 2**39, 1, 0])).tolist() == [65535, 32767, 1, 1]
    assert small_counts(np.zeros(3, np.int64)).tolist() == [1, 1, 1]


def test_bad_tables():
    for sizes, counts, message in (
        ([4], [], "0 counts for 1 code positions"),
        ([4], [None], r"counts\[0\] has shape None, for 4 codes"),
        ([4], [np.ones(3, int)], r"counts\[0\] has shape \(3,\), for 4 codes"),
        ([1], [np.ones(1, int)], r"counts\[0\] has shape \(1,\), for 1 codes"),
        ([2], [np.ones(2)], r"counts\[0\] must be integers from 0 to 65535"),
        ([2], [np.array([0, 65536])], r"counts\[0\] must be integers from 0 to 65535"),
    ):
        with pytest.raises(ValueError, match=message):
            StaticTables(sizes, counts)


def test_bad_data(skewed):
    sizes, codes = skewed
    tables = StaticTables.fit(sizes, [codes])
    data = tables.encode(codes[:50].numpy(), 0, 1)
    for bad in (data[:-1], data + b"\0", b"", b"\xff" * 40):
        with pytest.raises(BitstreamError, match="truncated|damaged"):
            tables.decode(bad, np.zeros((50, 0), np.int64), 1)
