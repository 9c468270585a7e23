import math

import numpy as np
import pytest
import torch

from vqkit.bitstream import decode_codes, encode_codes, prefix_bytes


def random_codes(frames, sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, size, (frames,), generator=generator) for size in sizes], dim=1)


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [2],
        [2] * 24,
        [4375],
        [65536],
        [65537, 3],
        [2**20],
        [2**24],
        [2**24 + 1],
        [2**30],
        [2**62],
        [5, 1, 7],
        [1024] * 8,
    ],
)
@pytest.mark.parametrize("frames", [0, 1, 2, 17, 1000])
def test_uniform_codes_return_at_their_ideal_size(sizes, frames):
    codes = random_codes(frames, sizes)
    data = encode_codes(codes, sizes)
    back = decode_codes(data, frames, sizes)
    assert back.dtype == torch.int64
    assert torch.equal(back, codes)
    ideal_bytes = frames * sum(math.log2(size) for size in sizes) / 8
    assert ideal_bytes <= len(data) + 1e-9
    assert len(data) <= ideal_bytes * 1.0005 + 1.01
    if ideal_bytes == 0:
        assert data == b""


@pytest.mark.parametrize("size", [1, 2, 3, 256, 4375, 65536, 2**20, 2**30])
@pytest.mark.parametrize("fill", ["first", "last"])
def test_the_ends_of_an_alphabet(size, fill):
    codes = torch.full((300, 2), 0 if fill == "first" else size - 1)
    assert torch.equal(decode_codes(encode_codes(codes, [size, size]), 300, [size, size]), codes)


def test_many_short_streams_carry_correctly():
    for seed in range(500):
        sizes = [3, 4375, 2, 70000][: seed % 4 + 1]
        codes = random_codes(seed % 7 + 1, sizes, seed)
        assert torch.equal(decode_codes(encode_codes(codes, sizes), len(codes), sizes), codes)


@pytest.mark.parametrize("size", [2, 64, 4375, 65536, 2**20])
def test_histograms_bring_the_size_to_the_cross_entropy(size):
    generator = np.random.default_rng(size)
    counts = torch.from_numpy(generator.geometric(0.01, size) - 1)
    smoothed = counts.clamp(min=1).double()
    codes = torch.from_numpy(generator.choice(size, (5000, 2), p=(smoothed / smoothed.sum()).numpy()))
    uniform_bits = 5000 * math.log2(size)
    histogram_bits = -(smoothed / smoothed.sum()).log2()[codes[:, 1]].sum().item()
    data = encode_codes(codes, [size, size], [None, counts])
    assert torch.equal(decode_codes(data, 5000, [size, size], [None, counts]), codes)
    # 24-bit probabilities, each raised by 2^-24, cost a few thousandths of a bit in the largest alphabets
    assert len(data) * 8 == pytest.approx(uniform_bits + histogram_bits, rel=3e-3, abs=16)


def test_a_code_that_never_occurred_stays_possible():
    counts = torch.tensor([1000, 0, 0, 0])
    codes = torch.tensor([[0], [3], [1], [0]])
    data = encode_codes(codes, [4], [counts])
    assert decode_codes(data, 4, [4], [counts]).tolist() == codes.tolist()
    assert len(data) * 8 == pytest.approx(2 * math.log2(1003) + 2 * math.log2(1003 / 1000), abs=12)


def plain_encode(symbols):
    """Range coding with Python's integers: an interval [low, low + width) narrowed by (start, share) of 2^24 for each symbol."""
    low, width, words = 0, 2**64 - 1, 2
    for start, share in symbols:
        unit = width >> 24
        low, width = low + unit * start, unit * share
        if width < 2**32:
            low, width, words = low << 32, width << 32, words + 1
    spare_bytes = (width.bit_length() - 1) // 8
    return (-(-low // 256**spare_bytes)).to_bytes(4 * words - spare_bytes, "big")


@pytest.mark.parametrize("frames", [1, 2, 3, 10, 300])
def test_the_bytes_are_those_of_plain_arithmetic(frames):
    counts = torch.tensor([3, 1, 0, 12])  # the zero counts as one: 17 in all
    bounds = [(2**24 - 4) * total // 17 + i for i, total in enumerate([0, 3, 4, 5, 17])]
    codes = random_codes(frames, [1000, 4, 2**20])
    symbols = [
        (c * (2**24 // 1000), 2**24 // 1000 if c < 999 else 2**24 - 999 * (2**24 // 1000)) for c in codes[:, 0].tolist()
    ]
    symbols += [(bounds[c], bounds[c + 1] - bounds[c]) for c in codes[:, 1].tolist()]
    symbols += [(c // 4096 * 2**16, 2**16) for c in codes[:, 2].tolist()]  # 2^20 = 256 rows of 4096
    symbols += [(c % 4096 * 2**12, 2**12) for c in codes[:, 2].tolist()]
    assert encode_codes(codes, [1000, 4, 2**20], [None, counts, None]) == plain_encode(symbols)


def test_a_cut_stream_gives_the_first_codes():
    sizes = [1024, 4375, 1, 2**20, 3]
    histograms = [torch.arange(1024), None, None, None, torch.tensor([5, 0, 90])]
    codes = random_codes(200, sizes)
    data = encode_codes(codes, sizes, histograms)
    ends = prefix_bytes(codes, sizes, histograms)
    assert ends[-1] == len(data)
    assert ends == sorted(ends)
    for k, end in enumerate(ends, start=1):
        for received in (data[:end], data):
            assert torch.equal(decode_codes(received, 200, sizes, histograms, num_codes=k), codes[:, :k])
        alone = encode_codes(codes[:, :k], sizes[:k], histograms[:k])
        assert len(alone) <= end <= len(alone) + 8
        with pytest.raises(ValueError, match=f"too few for 200 frames of {k} codes: truncated"):
            decode_codes(data[: len(alone) - 1], 200, sizes, histograms, num_codes=k)
    assert decode_codes(data, 200, sizes, histograms, num_codes=0).shape == (200, 0)


@pytest.mark.parametrize("sizes", [[2], [256], [1024] * 8, [4375], [65537, 3], [2**30]])
@pytest.mark.parametrize("frames", [1, 5, 100])
def test_every_truncation_and_extension_is_noticed(sizes, frames):
    data = encode_codes(random_codes(frames, sizes), sizes)
    for length in range(max(0, len(data) - 12), len(data)):
        with pytest.raises(ValueError, match="truncated"):
            decode_codes(data[:length], frames, sizes)
    with pytest.raises(ValueError, match="damaged or another model"):
        decode_codes(data + b"\0", frames, sizes)


def test_damage_never_gives_codes_outside_the_alphabet():
    sizes = [3, 70001]
    data = encode_codes(random_codes(100, sizes), sizes)
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] ^= 1 << generator.integers(8)
        try:
            codes = decode_codes(bytes(damaged), 100, sizes)
        except ValueError as error:
            assert "damaged or another model" in str(error)  # noqa: PT017
        else:
            assert (codes >= 0).all()
            assert (codes < torch.tensor(sizes)).all()
    for filler in (b"\xff", b"\0"):
        with pytest.raises(ValueError, match="damaged or another model"):
            decode_codes(filler * (len(data) + 4), 100, sizes)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integer_dtypes(dtype):
    codes = random_codes(50, [100, 7]).to(dtype)
    assert torch.equal(decode_codes(encode_codes(codes, [100, 7]), 50, [100, 7]), codes.long())


def test_codes_are_checked():
    codes = random_codes(4, [4, 9])
    for bad, sizes, message in (
        (codes.float(), [4, 9], r"codes have dtype torch\.float32, expected integers"),
        (codes.bool(), [4, 9], r"codes have dtype torch\.bool"),
        (codes, [4], r"codes have shape \(4, 2\), expected \(frames, 1\) for 1 code_sizes"),
        (codes[0], [4, 9], r"codes have shape \(2,\)"),
        (torch.tensor([[0, 0], [1, 9]]), [4, 9], "code 1 of frame 1 is 9, allowed are 0 to 8"),
        (torch.tensor([[0, 0], [-1, -1]]), [4, 9], "code 0 of frame 1 is -1, allowed are 0 to 3"),
        (codes, [4, 0], r"code_sizes\[1\] is 0, allowed are 1 to 2\^62"),
        (codes, [4, 2**63], r"code_sizes\[1\] is 9223372036854775808"),
    ):
        for encode in (encode_codes, prefix_bytes):
            with pytest.raises(ValueError, match=message):
                encode(bad, sizes)


def test_decoding_arguments_are_checked():
    with pytest.raises(ValueError, match="num_frames is -1"):
        decode_codes(b"", -1, [4])
    with pytest.raises(ValueError, match="num_codes is 3, allowed are 0 to 2"):
        decode_codes(b"", 1, [4, 4], num_codes=3)
    with pytest.raises(ValueError, match=r"code_sizes\[0\] is 0"):
        decode_codes(b"", 1, [0])
    with pytest.raises(ValueError, match="2 frequencies for 1 code positions"):
        decode_codes(b"", 1, [4], [None, None])
