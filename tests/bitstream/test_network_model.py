"""The network of the entropy coder: the same whole numbers however they are added up."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from vqkit.bitstream import BitstreamError, NetworkModel, StaticTables, VqkHeader, VqkReader, VqkWriter, read_tables
from vqkit.bitstream.limits import MAX_NETWORK_WORK
from vqkit.bitstream.network_fit import fit_network
from vqkit.bitstream.network_layers import CodeNetwork, Layer
from vqkit.bitstream.network_model import earlier_offsets, own_offsets, slots

SIZES = (16, 1, 7, 70000, 5)


def random_network(sizes=SIZES, dim=3, width=6, grid=False, seed=0):
    """A network of random whole numbers, large enough that logits differ."""
    random = np.random.default_rng(seed)

    def layer(inputs, outputs, shift):
        weight = random.integers(-127, 128, (inputs, outputs)).astype(np.int8)
        return Layer(weight, random.integers(-3000, 3000, outputs).astype(np.int32), shift)

    coded = [2 <= size <= 1 << 16 for size in sizes]
    vectors = [
        random.integers(-99, 99, (s, dim)).astype(np.int16) if c else None for s, c in zip(sizes, coded, strict=True)
    ]
    networks = [
        CodeNetwork(layer(slots(grid) * dim, width, 8), layer(width, width, 7), layer(width, s, 6)) if c else None
        for s, c in zip(sizes, coded, strict=True)
    ]
    return NetworkModel(sizes, vectors, networks, dim=dim, width=width, grid=grid)


def random_codes(frames, sizes=SIZES, seed=0):
    return np.random.default_rng(seed).integers(0, sizes, (frames, len(sizes)))


@pytest.mark.parametrize(("grid", "columns"), [(False, 0), (True, 8), (True, 2), (True, 0), (True, 1000)])
def test_one_by_one_is_bit_for_bit_what_all_at_once_is(grid, columns):
    """The encoder predicts all frames together, the decoder each from those that it has."""
    model = random_network(grid=grid).on_grid(columns)
    codes = random_codes(60)
    for start, stop in ((0, 1), (2, 3), (0, 5), (3, 5), (1, 2)):
        data = model.encode(codes, start, stop)
        assert np.array_equal(model.decode(data, codes[:, :start], stop), codes[:, start:stop])
    assert np.array_equal(model.decode(model.encode(codes[:0], 0, 5), codes[:0, :0], 5), codes[:0])


def plain_rows(model, codes, position):
    """The documented rule with Python's integers alone."""

    def total(frame, last):
        held = [t[codes[frame][j]].tolist() for j, t in enumerate(model.vectors[: last + 1]) if t is not None]
        return [sum(column) for column in zip(*held, strict=True)] if held else [0] * model.dim

    def layer(values, made):
        sums = [
            sum(x * w for x, w in zip(values, column, strict=True)) + b
            for column, b in zip(made.weight.T.tolist(), made.bias.tolist(), strict=True)
        ]
        return [(s + (1 << made.shift >> 1)) >> made.shift for s in sums]

    for frame in range(len(codes)):
        inputs = []
        places = [(position, o) for o in own_offsets(model.columns, model.grid)]
        places += [(position - 1, o) for o in earlier_offsets(model.columns, model.grid)] + [(position - 2, 0)]
        for last, offset in places:
            there = offset is not None and 0 <= frame + offset < len(codes)
            inputs += total(frame + offset, last) if there else [0] * model.dim
        network = model.networks[position]
        hidden = [min(max(v, 0), 255) for v in layer(inputs, network.first)]
        hidden = [min(max(v, 0), 255) for v in layer(hidden, network.second)]
        logits = layer(hidden, network.out)
        counts = []
        for logit in logits:
            value = 1 << (512 - min(max(logits) - logit, 512))
            for _ in range(5):
                value = math.isqrt(value)
            counts.append(value)
        free, bounds = 2**24 - len(logits), np.cumsum([0, *counts]).tolist()
        yield [b * free // bounds[-1] - a * free // bounds[-1] for a, b in pairwise(bounds)]


@pytest.mark.parametrize(("grid", "columns"), [(False, 0), (True, 5)])
def test_the_probabilities_are_those_of_plain_arithmetic(monkeypatch, grid, columns):
    model = random_network(grid=grid).on_grid(columns)
    codes = random_codes(12)
    seen = []
    own = CodeNetwork.rows
    monkeypatch.setattr(CodeNetwork, "rows", lambda self, sums: seen.append(own(self, sums)) or seen[-1])
    model.encode(codes, 2, 5)
    for position, rows in zip((2, 4), seen, strict=True):
        expected = list(plain_rows(model, codes.tolist(), position))
        assert len({tuple(row) for row in expected}) > 6  # the inputs matter
        assert rows.tolist() == expected


def test_no_code_is_predicted_from_itself_or_what_comes_later():
    """The size of the first frames' bytes does not depend on codes behind them: change a code, and nothing before it changes."""
    model = random_network((16, 16))
    codes = random_codes(30, (16, 16))
    other = codes.copy()
    other[20, 1] = (other[20, 1] + 1) % 16
    one, two = (list(plain_rows(model, table.tolist(), 1)) for table in (codes, other))
    assert one[:21] == two[:21]
    assert one[21] != two[21]


def test_sums_stay_where_float32_is_exact():
    """The largest weights, activations and biases that a file may hold, summed in another order and by integers."""
    width = 256
    top, least = np.full((width, width), 127, np.int8), np.full((width, 3), -127, np.int8)
    bias = np.full(width, 1 << 23, np.int32)
    first = Layer(np.full((1, width), 127, np.int8), bias, 0)
    network = CodeNetwork(first, Layer(top, bias, 16), Layer(least, -bias[:3], 0))
    rows = network.rows(np.full((1, width), 1e6))
    assert rows.sum() == 2**24 - 3
    assert 255 * 127 * width + (1 << 23) < 1 << 24
    model = random_network((3,))
    network = model.networks[0]
    for value in (127, -128):
        broken = Layer(np.full_like(network.second.weight, value), network.second.bias, 7)
        model.networks[0] = CodeNetwork(network.first, broken, network.out)
        if value == 127:
            assert read_tables(model.to_bytes()).to_bytes() == model.to_bytes()
        else:
            with pytest.raises(BitstreamError, match="a layer has a weight below −127"):
                read_tables(model.to_bytes())


def walk(frames, seed=0):
    """Codes that move a little, and a second that depends on the first of the frame behind."""
    random = np.random.default_rng(seed)
    first = np.cumsum(random.integers(-1, 2, frames)) % 16
    return torch.from_numpy(np.stack([first, np.roll(first, -1)], axis=1))


@pytest.fixture(scope="module")
def fitted():
    return fit_network((16, 16), [walk(3000)], chunk_frames=75, dim=6, width=16, steps=220, batch_frames=200)


def test_a_fitted_network_knows_what_tables_cannot(fitted):
    """Stages come one after the other, so the frame behind is known: the second code costs next to nothing."""
    static = StaticTables.fit((16, 16), [walk(3000)])
    chunks = [walk(750, 1).numpy()[first : first + 75] for first in range(0, 750, 75)]
    bits = [8 * sum(len(fitted.encode(c, k, k + 1)) for c in chunks) / 750 for k in (0, 1)]
    plain = [8 * sum(len(static.encode(c, k, k + 1)) for c in chunks) / 750 for k in (0, 1)]
    assert all(3.9 < each < 4.2 for each in plain)
    assert bits[0] < 2.3  # log2(3), a new start of 4 bits each chunk, a byte to end it
    assert bits[1] < 1.4  # tables of the codes beside and before: log2(3)
    assert fitted.first(1).encode(chunks[0][:, :1], 0, 1) == fitted.encode(chunks[0], 0, 1)


def test_fitting_repeats(fitted):
    options = {"chunk_frames": 75, "dim": 6, "width": 16, "steps": 3, "batch_frames": 64}
    one, two, other = (fit_network((16, 16), [walk(300)], seed=seed, **options).tables_hash for seed in (0, 0, 1))
    assert one == two != other


def test_models_return(fitted):
    for model in (random_network(), random_network(grid=True), fitted):
        data = model.to_bytes()
        back = read_tables(data)
        assert isinstance(back, NetworkModel)
        assert (back.to_bytes(), back.tables_hash, back.grid) == (data, model.tables_hash, model.grid)
        for end in range(0, len(data), 97):
            with pytest.raises(BitstreamError):
                read_tables(data[:end])
    with pytest.raises(BitstreamError, match="the network model has 2 bytes too many"):
        read_tables(data + b"ab")
    with pytest.raises(BitstreamError, match="this is no network model"):
        NetworkModel.from_bytes(b"VQKs" + data[4:])


def test_files(tmp_path, fitted):
    """A file names the network, needs it, and is one that only readers of version 2 understand."""
    codes = walk(200, 2)
    with VqkWriter(tmp_path / "a.vqk", VqkHeader((16, 16)), entropy_model=fitted) as writer:
        writer.write(codes)
    reader = VqkReader(tmp_path / "a.vqk", entropy_model=fitted)
    assert torch.equal(reader.read(), codes)
    assert (reader.header.coding, reader.header.version) == ("network", 2)
    assert (tmp_path / "a.vqk").read_bytes()[4] == 2
    with pytest.raises(BitstreamError, match="the codes need the network tables .* which were not given"):
        VqkReader(tmp_path / "a.vqk").read()
    with pytest.raises(BitstreamError, match="were written with the network tables"):
        VqkReader(tmp_path / "a.vqk", entropy_model=random_network((16, 16)))
    with VqkWriter(tmp_path / "b.vqk", VqkHeader((16, 16)), entropy_model=fitted, store_tables=True) as writer:
        writer.write(codes)
    assert torch.equal(VqkReader(tmp_path / "b.vqk").read(), codes)


def test_damaged_data_are_refused(fitted):
    codes = walk(75, 3).numpy()
    data = fitted.encode(codes, 0, 2)
    for wrong in (data[:-1], data[:-1] + bytes([data[-1] ^ 255]), b"\xff" * len(data)):
        with pytest.raises(BitstreamError, match="do not hold 75 frames of these codes"):
            fitted.decode(wrong, codes[:, :0], 2)


def test_too_much_work_for_a_chunk_is_refused(fitted):
    most = fitted.most_frames((2,))
    assert 1 < most < MAX_NETWORK_WORK >> 17
    with pytest.raises(BitstreamError, match="frames are too many for one chunk"):
        fitted.decode(b"", np.zeros((most + 1, 0), np.int64), 2)


def test_bad_input():
    for arguments, message in (
        ((4, [torch.zeros(0, 1)]), "there are no codes"),
        ((4, [torch.full((5, 1), 4)]), "codes are from 4 to 4"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_network([arguments[0]], arguments[1])
    with pytest.raises(ValueError, match="dim must be 1 to 64, width 1 to 256.* got 24, 300"):
        fit_network([4], [torch.zeros(5, 1, dtype=torch.int64)], width=300)
