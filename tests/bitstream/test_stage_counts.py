"""Every frame with its own number of stages: the counts by themselves, and in files."""

import io
import re

import numpy as np
import pytest
import torch

from vqkit.bitstream import (
    BitstreamError,
    StaticTables,
    VqkHeader,
    VqkReader,
    VqkWriter,
    cut,
    fit_contexts,
    inspect,
    join,
    thin,
)
from vqkit.bitstream.context_model import ContextModel
from vqkit.bitstream.stage_counts import decode_counts, encode_counts

STAGE_ENDS = torch.tensor([1, 3, 4, 5])
SOUND = VqkHeader((16, 4375, 1, 300, 700), (1, 2, 1, 1), sample_rate=1000, hop_samples=20, variable_stages=True)
IMAGE = VqkHeader((16, 4375, 1, 300, 700), (1, 2, 1, 1), grid=(15, 20), image_size=(60, 80), variable_stages=True)


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(300, generator=generator).pow(3).mul(size).long() for size in SOUND.code_sizes]
    kept = STAGE_ENDS[torch.randint(0, 4, (300, 1), generator=generator)]
    return torch.where(torch.arange(5) < kept, torch.stack(drawn, dim=1), -1)


def models(header, codes):
    sizes, full = header.code_sizes, [codes.clamp_min(0)]
    columns = [header.columns] if header.columns else None
    return None, StaticTables.fit(sizes, full), fit_contexts(sizes, full, classes=2, columns=columns)


def written(header, codes, model=None, **options):
    file = io.BytesIO()
    with VqkWriter(file, header, entropy_model=model, **options) as writer:
        for block in codes.split(33):
            writer.write(block)
    return file.getvalue()


def read(data, model=None):
    reader = VqkReader(io.BytesIO(data), entropy_model=model)
    reader.require_intact()
    return reader.read()


@pytest.mark.parametrize("coding", ["plain", "static"])
@pytest.mark.parametrize("stages", [1, 2, 3, 12, 1024])
def test_counts_return(coding, stages):
    counts = np.random.default_rng(0).integers(1, stages + 1, 200)
    for part in (counts, counts[:1], counts[:0]):
        data = encode_counts(part, stages, coding)
        assert np.array_equal(decode_counts(data, len(part), stages, coding), part)
    damaged = [data + b"\0" for data in (encode_counts(counts, stages, coding), b"")]
    damaged += [encode_counts(counts, stages, coding)[:-1]] if stages > 1 else []
    for data in damaged:
        with pytest.raises(BitstreamError):
            decode_counts(data, 200, stages, coding)


def test_the_probabilities_of_counts_are_those_of_the_page():
    """The information of the counts under the documented weights, and at most two bytes more."""
    counts = np.clip(np.cumsum(np.random.default_rng(1).integers(-1, 2, 400)) % 9 + 1, 1, 6)
    seen, behind, bits, last = np.ones(6), np.zeros((6, 6)), 0.0, None
    for count in counts - 1:
        near = 0 if last is None else np.array([(8, 6, 4, 2, 0, 0)[abs(n - last)] for n in range(6)])
        weights = seen + near + (0 if last is None else 6 * behind[last])
        bits -= np.log2(weights[count] / weights.sum())
        seen[count] += 1
        if last is not None:
            behind[last, count] += 1
        last = count
    assert bits / 8 <= len(encode_counts(counts, 6, "static")) <= bits / 8 + 2
    assert bits < 400 * np.log2(6) * 0.7  # frames like the one before cost less than plain bits


@pytest.mark.parametrize("header", [SOUND, IMAGE], ids=["sound", "image"])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_files_return_and_are_rearranged(header, codes, kind):
    model = models(header, codes)[kind]
    data = written(header, codes, model, chunk_frames=None if header.columns else 50)
    assert torch.equal(read(data, model), codes)
    assert torch.equal(VqkReader(io.BytesIO(data), entropy_model=model, stages=2).read(), codes[:, :3])
    two = io.BytesIO()
    thin(io.BytesIO(data), two, 2)
    expected = torch.where(torch.arange(5) < 3, codes, -1)
    assert torch.equal(read(two.getvalue(), model), expected)
    part, both = io.BytesIO(), io.BytesIO()
    cut(io.BytesIO(two.getvalue()), part, 33, 120, entropy_model=model)  # also of what is thinned already
    assert torch.equal(read(part.getvalue(), model), expected[33:153])
    join([io.BytesIO(data), io.BytesIO(data)], both)
    assert torch.equal(read(both.getvalue(), model), torch.cat([codes, codes]))
    found = inspect(io.BytesIO(data))
    assert (found["format_version"], found["variable_stages"]) == (3, True)
    assert found["thinned_bytes"][1] == len(two.getvalue())
    assert found["overhead_bytes"] + found["count_bytes"] + sum(found["stage_bytes"]) == len(data)


def test_a_plain_stage_costs_its_own_frames_only(codes):
    """Four bits for each code of the first stage, and nothing for frames without it."""
    header = VqkHeader((16, 16), variable_stages=True)
    codes = torch.where(torch.arange(2) < torch.tensor([1, 1, 1, 2])[torch.arange(300) % 4, None], 7, -1)
    assert inspect(io.BytesIO(written(header, codes)))["stage_bytes"] == [150, -(-75 // 2)]


def test_a_file_in_which_all_frames_have_all_stages_is_of_version_1(codes):
    full = codes.clamp_min(0)
    header = VqkHeader(SOUND.code_sizes, SOUND.codes_per_stage, sample_rate=1000, hop_samples=20)
    assert written(header, full)[4] == 1
    assert torch.equal(read(written(SOUND, full)), full)
    assert len(written(SOUND, full)) > len(written(header, full))


def test_the_context_above_is_in_the_grid_not_among_the_frames_that_have_the_code():
    """A column of the grid says its code again and again; cells beside it have no second stage."""
    rows, columns = 30, 6
    second = torch.arange(rows * columns)[:, None] % columns == 2
    value = torch.arange(columns).repeat(rows)[:, None] * 9
    codes = torch.cat([value, torch.where(second, value, -1)], dim=1)
    full = torch.cat([value, value], dim=1)
    model = fit_contexts((64, 64), [full], classes=6, columns=[columns], chunk_frames=rows * columns)
    contexts = model.contexts[1]
    assert isinstance(model, ContextModel)
    assert contexts.above is not None
    there = np.flatnonzero(second[:, 0].numpy())
    known = codes[there, :1].numpy()
    data = model.on_grid(columns).encode(codes[there].numpy(), 1, 2, there)
    assert np.array_equal(model.on_grid(columns).decode(data, known, 2, there), codes[there, 1:].numpy())
    # among only these frames the row above would be six frames ago, and the first six would have none
    uppers = np.full(rows, 18)
    uppers[0] = 64
    before = np.concatenate([[64], np.full(rows - 1, 18)])
    shares = contexts.rows(before, known[:, 0], uppers)[np.arange(rows), 18] + 1
    bits = float(-np.log2(shares / 2**24).sum())
    assert bits / 8 <= len(data) <= bits / 8 + 2


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([3, -1, 0, -1, -1], "frame 0 has the codes [3, -1, 0, -1, -1]: expected those of its first stages"),
        ([3, 5, -1, -1, -1], "frame 0 has the codes [3, 5, -1, -1, -1]"),  # half a stage
        (
            [-1, -1, -1, -1, -1],
            "frame 0 has the codes [-1, -1, -1, -1, -1]: expected those of its first stages, at least one",
        ),
        ([3, 5, 0, 300, -1], "code 3 of frame 0 is 300, allowed are 0 to 299"),
        ([3, 5, 0, -2, -1], "code 3 of frame 0 is -2, allowed are 0 to 299"),
    ],
)
def test_frames_that_are_none(frame, message):
    with pytest.raises(ValueError, match=re.escape(message)), VqkWriter(io.BytesIO(), SOUND) as writer:
        writer.write(torch.tensor([frame]))


def test_minus_one_needs_the_header_to_say_so():
    with (
        pytest.raises(ValueError, match="code 1 of frame 0 is -1, .*; −1 needs a header with variable_stages=True"),
        VqkWriter(io.BytesIO(), VqkHeader((4, 4))) as writer,
    ):
        writer.write(torch.tensor([[1, -1]]))
