import math

import constriction
import numpy as np
import pytest
import torch

from vqkit.bitstream.code_models import check_frequencies, code_parts, exact_weights, part_sizes


@pytest.mark.parametrize(
    "size", [2, 3, 4375, 65535, 65536, 65537, 99991, 2**20, 2**20 + 1, 2**24 + 1, 10**9 + 7, 2**30, 2**62]
)
def test_parts_cover_the_alphabet_at_little_more_than_its_information(size):
    parts = part_sizes(size)
    assert all(2 <= part <= 65536 for part in parts)
    assert math.prod(parts) >= size
    # what constriction's uniform model really costs: floor(2^24 / part) of 2^24
    bits = sum(24 - math.log2(2**24 // part) for part in parts)
    assert bits - math.log2(size) < 0.008


@pytest.mark.parametrize("size", [2, 5, 1000, 2**20])
def test_weights_are_whole_and_in_proportion(size):
    counts = np.random.default_rng(size).integers(0, 10**6, size)
    weights = exact_weights(counts)
    assert weights.dtype == np.float64
    assert np.array_equal(weights, np.rint(weights))
    assert int(weights.sum()) == 2**24 - size
    wanted = np.maximum(counts, 1) / np.maximum(counts, 1).sum() * (2**24 - size)
    assert np.abs(weights - wanted).max() <= 1


def test_extreme_counts():
    assert exact_weights(np.zeros(4, np.int64)).tolist() == [2**22 - 1] * 4
    weights = exact_weights(np.array([2**61, 2**61, 0], np.int64))
    assert weights.sum() == 2**24 - 3
    assert weights[2] <= 1
    assert abs(weights[0] - weights[1]) <= 1


def test_constriction_keeps_the_whole_numbers():
    """The interval after one symbol is (range >> 24) · (w + 1) wide, from the cumulative sum on: nothing was rounded."""
    counts = np.random.default_rng(0).integers(0, 1000, 300)
    weights = exact_weights(counts).astype(np.int64)
    (part,) = code_parts(300, counts)
    for symbol in (0, 1, 150, 299):
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.array([symbol], np.int32), part.model)
        position, (low, width) = encoder.pos()
        unit = (2**64 - 1) >> 24
        assert position == 0
        assert low == unit * (int(weights[:symbol].sum()) + symbol)
        assert width == unit * (int(weights[symbol]) + 1)


def test_one_code_needs_no_model():
    assert code_parts(1, None) == []
    assert code_parts(1, np.array([7])) == []


def test_frequencies_are_checked():
    assert check_frequencies(None, [3, 4]) == [None, None]
    given = check_frequencies([torch.tensor([1, 2, 3], dtype=torch.int32), None], [3, 4])
    assert given[0].dtype == np.int64
    assert given[0].tolist() == [1, 2, 3]
    assert given[1] is None
    for frequencies, sizes, message in (
        ([None], [3, 4], "1 frequencies for 2 code positions"),
        ([torch.ones(3)], [3], r"frequencies\[0\] has dtype float32, expected integer counts"),
        ([None, torch.ones(3, dtype=torch.int64)], [3, 4], r"frequencies\[1\] has shape \(3,\), expected \(4,\)"),
        ([np.array([1, -2, 3])], [3], r"frequencies\[0\] holds -2, expected counts from 0"),
        ([np.array([1, 2**62, 3])], [3], r"frequencies\[0\] holds 4611686018427387904"),
        ([np.ones(2**20 + 1, np.int64)], [2**20 + 1], r"has 1048577 counts, at most 1048576 are allowed: pass None"),
    ):
        with pytest.raises(ValueError, match=message):
            check_frequencies(frequencies, sizes)
