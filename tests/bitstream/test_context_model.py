import math

import numpy as np
import pytest
import torch

from vqkit.bitstream import BitstreamError, ContextModel, StaticTables, fit_contexts, read_tables
from vqkit.bitstream.context_model import CodeContexts, Context


def walk(frames, size, seed=0):
    """Codes that move a little, and a second that depends on the first."""
    generator = np.random.default_rng(seed)
    first = np.cumsum(generator.integers(-1, 2, frames)) % size
    return torch.from_numpy(np.stack([first, (3 * first + generator.integers(0, 2, frames)) % size], axis=1))


def test_codes_return():
    sizes = [32, 32, 1, 70000, 7]
    codes = torch.cat([walk(3000, 32), torch.zeros(3000, 1, dtype=torch.int64)], dim=1)
    codes = torch.cat([codes, torch.randint(0, 70000, (3000, 1)), codes[:, :1] % 7], dim=1)
    model = fit_contexts(sizes, [codes[:1000], codes[1000:]], classes=8)
    table = codes[:200].numpy()
    for start, stop in ((0, 1), (1, 2), (0, 5), (2, 4), (4, 5)):
        data = model.encode(table, start, stop)
        assert np.array_equal(model.decode(data, table[:, :start], stop), table[:, start:stop])
    assert np.array_equal(model.decode(model.encode(table[:0], 0, 5), table[:0, :0], 5), table[:0])


def test_context_saves_what_it_should():
    train, test = walk(20000, 32), walk(750, 32, seed=1).numpy()
    model = fit_contexts([32, 32], [train], classes=32)
    static = StaticTables.fit([32, 32], [train])
    chunks = [test[start : start + 75] for start in range(0, 750, 75)]
    context_bits = [8 * sum(len(model.encode(c, k, k + 1)) for c in chunks) / 750 for k in (0, 1)]
    static_bits = [8 * sum(len(static.encode(c, k, k + 1)) for c in chunks) / 750 for k in (0, 1)]
    assert all(4.9 < bits < 5.2 for bits in static_bits)
    # one of three steps, a new start of 5 bits each chunk, about a byte to end a chunk
    assert context_bits[0] == pytest.approx(math.log2(3) + 5 / 75 + 8 / 75, abs=0.1)
    # one of two, given the code beside it
    assert 1.0 < context_bits[1] < 1.6


def test_probabilities_are_whole_numbers():
    model = fit_contexts([16, 300], [walk(2000, 16)], classes=5)
    for contexts, size in zip(model.contexts, model.code_sizes, strict=True):
        rows = contexts.rows(np.arange(16), np.arange(16) if contexts.beside else None)
        assert rows.dtype == np.float64
        assert np.array_equal(rows, np.rint(rows))
        assert (rows >= 0).all()
        assert (rows.sum(axis=1) == 2**24 - size).all()


def test_the_bytes_are_those_of_plain_arithmetic():
    """The documented rule with Python's integers alone: tables, sums, range coder."""
    counts = np.array([[3, 0, 1, 7], [1, 1, 60000, 2]], np.uint16)
    before = Context(np.array([0, 1, 1, 0, 1], np.uint8), counts)
    beside = Context(np.array([1, 0, 0], np.uint8), counts[:, ::-1])
    sizes = [3, 4]
    first = CodeContexts(256, Context(np.zeros(4, np.uint8), np.ones((1, 3), np.uint16)), None)
    model = ContextModel(sizes, [first, CodeContexts(77, before, beside)])
    codes = np.random.default_rng(0).integers(0, sizes, (40, 2))

    def scaled(row, total):
        bounds, last, out = 0, 0, []
        for count in row:
            bounds += max(int(count), 1)
            point = bounds * total // sum(max(int(c), 1) for c in row)
            out.append(point - last)
            last = point
        return out

    free = 2**24 - 4
    own = free * 77 // 256
    low, width, words = 0, 2**64 - 1, 2
    for frame, (neighbour, code) in enumerate(codes.tolist()):
        previous = 4 if frame == 0 else int(codes[frame - 1, 1])
        one = scaled(counts[before.classes[previous]].tolist(), own)
        two = scaled(counts[beside.classes[neighbour], ::-1].tolist(), free - own)
        weights = [a + b for a, b in zip(one, two, strict=True)]
        unit = width >> 24
        low, width = low + unit * (sum(weights[:code]) + code), unit * (weights[code] + 1)
        if width < 2**32:
            low, width, words = low << 32, width << 32, words + 1
    spare = (width.bit_length() - 1) // 8
    assert model.encode(codes, 1, 2) == (-(-low // 256**spare)).to_bytes(4 * words - spare, "big")


def test_models_return():
    codes = walk(500, 16)
    columns = [codes[:, 0], torch.zeros(500, dtype=torch.int64), codes[:, 1], 6000 * codes[:, 0]]
    model = fit_contexts([16, 1, 16, 100000], [torch.stack(columns, dim=1)], classes=3)
    data = model.to_bytes()
    back = read_tables(data)
    assert isinstance(back, ContextModel)
    assert back.to_bytes() == data
    assert back.tables_hash == model.tables_hash
    for end in range(0, len(data), 7):
        with pytest.raises(BitstreamError):
            read_tables(data[:end])
    with pytest.raises(BitstreamError, match="the context model has 2 bytes too many"):
        read_tables(data + b"ab")
    with pytest.raises(BitstreamError, match="this is no context model"):
        ContextModel.from_bytes(b"VQKs" + data[4:])
    place = data.index(bytes([3])) + 1  # behind the number of classes
    with pytest.raises(BitstreamError, match="class 200 of 3"):
        read_tables(data[:place] + bytes([200]) + data[place + 1 :])


def test_bad_data():
    model = fit_contexts([32, 32], [walk(2000, 32)], classes=8)
    codes = walk(60, 32).numpy()
    data = model.encode(codes, 0, 1)
    for bad in (data[:-1], data + b"\0", b"", b"\xff" * 60, bytes(60)):
        with pytest.raises(BitstreamError, match=f"{len(bad)} bytes do not hold 60 frames of these codes"):
            model.decode(bad, codes[:, :0], 1)
    with pytest.raises(BitstreamError, match="900000 frames are too many for one chunk"):
        model.decode(b"", np.broadcast_to(np.int64(0), (900000, 0)), 1)


def test_fitting_is_reproducible_and_checked():
    codes = walk(1000, 16)
    assert fit_contexts([16, 16], [codes]).to_bytes() == fit_contexts([16, 16], [codes]).to_bytes()
    for arguments, message in (
        (([16, 16], []), "there are no codes to fit"),
        (([16, 16], [codes], 65), "classes is 65, allowed are 1 to 64"),
        (([16, 9], [codes]), "codes are from 0 to 15, expected 0 to code_sizes"),
        (([16, 16], [codes - 1]), "codes are from -1 to"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_contexts(*arguments)


def picture(rows, columns, size, seed=0):
    """Each row is the one above, moved on by a random step that its left neighbour does not tell."""
    generator = np.random.default_rng(seed)
    steps = generator.integers(0, 2, (rows, columns))
    steps[0] = generator.integers(0, size, columns)
    first = np.cumsum(steps, axis=0) % size
    return torch.from_numpy(
        np.stack([first, (first + generator.integers(0, 2, first.shape)) % size], axis=-1).reshape(-1, 2)
    )


def test_the_row_above_saves_what_it_should():
    sizes, columns = [16, 16], [40, 25, 40]
    pictures = [picture(100, width, 16, seed) for seed, width in enumerate(columns)]
    without = fit_contexts(sizes, pictures, 16, 4096)
    model = fit_contexts(sizes, pictures, 16, 4096, columns=columns)
    assert (without.grid, model.grid) == (False, True)
    table = picture(100, 32, 16, seed=9).numpy()
    model = model.on_grid(32)
    data = [model.encode(table, 0, 1), model.encode(table, 1, 2)]
    assert np.array_equal(model.decode(data[0], table[:, :0], 1), table[:, :1])
    assert np.array_equal(model.decode(data[1], table[:, :1], 2), table[:, 1:])
    # one of two, but for the first row; without it one of 16
    assert 1 < 8 * len(data[0]) / 3200 < 1.35
    assert 8 * len(without.encode(table, 0, 1)) / 3200 > 3.9
    assert 1 < 8 * len(data[1]) / 3200 < 1.35
    other = model.on_grid(31)
    assert other.tables_hash == model.tables_hash
    assert len(other.encode(table, 0, 1)) > 2 * len(data[0])


@pytest.mark.parametrize("columns", [0, 1, 7, 50, 60, 1000])
def test_any_number_of_columns(columns):
    model = fit_contexts([16, 16], [picture(100, 20, 16)], 4, 4096, columns=[20]).on_grid(columns)
    codes = picture(5, 10, 16).numpy()
    assert np.array_equal(model.decode(model.encode(codes, 0, 2), codes[:, :0], 2), codes)
    assert np.array_equal(model.first(1).decode(model.encode(codes, 0, 1), codes[:, :0], 1), codes[:, :1])
    for contexts in model.contexts:
        rows = contexts.rows(np.arange(17)[:, None], np.arange(16)[None] if contexts.beside else None, 3)
        assert (rows.sum(axis=-1) == 2**24 - 16).all()


def test_models_of_grids_return():
    model = fit_contexts([16, 1, 16], [torch.stack([*walk(500, 16).T, walk(500, 16)[:, 0]], dim=1) * torch.tensor([1, 0, 1])],
                         3, 4096, columns=[25])  # fmt: skip
    data = model.to_bytes()
    assert data[:4] == b"VQKg"
    back = read_tables(data)
    assert (back.to_bytes(), back.tables_hash, back.grid) == (data, model.tables_hash, True)
    for end in range(0, len(data), 7):
        with pytest.raises(BitstreamError):
            read_tables(data[:end])
