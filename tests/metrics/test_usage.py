import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from vqkit.metrics import CodebookUsage, UsageReport, Use


def report(codes, sizes, **settings):
    metric = CodebookUsage(sizes, **settings)
    metric.update(torch.as_tensor(codes))
    return metric.compute()


def close(use, **expected):
    for field, number in expected.items():
        assert getattr(use, field) == pytest.approx(number, rel=1e-12, nan_ok=True), field


def test_one_codebook_by_hand():
    # code 0 half the time, codes 1 and 2 a quarter each, codes 3…7 never
    got = report([[0], [0], [1], [2]], [8]).pooled
    close(
        got, usage=3 / 8, entropy_bits=1.5, perplexity=2**1.5, ecu=2**1.5 / 8, codebook_size=8, tokens=4,
        ecu_bridle=(3 / 8) / (1.5 * math.log(8)),
    )  # fmt: skip


def test_uniform_use_is_ecu_one_and_bridles_is_at_its_lowest():
    uniform = report(torch.arange(64)[:, None], [64]).pooled
    close(uniform, usage=1.0, entropy_bits=6.0, perplexity=64.0, ecu=1.0)
    skewed = report([[0]] * 1000 + [[i] for i in range(64)], [64]).pooled
    assert skewed.usage == uniform.usage
    assert skewed.ecu < uniform.ecu
    assert skewed.ecu_bridle > uniform.ecu_bridle  # the wrong way round, as the module's header says


@pytest.mark.parametrize(("size", "printed"), [(1024, 0.0146), (256, 0.0234)])
def test_bridles_table_6_is_in_range(size, printed):
    # its VQ (1024 codes) and first RQ codebook (256), both of full use: the formula's least value is that of even use
    assert report(torch.arange(size)[:, None], [size]).pooled.ecu_bridle == pytest.approx(
        1 / (math.log2(size) * math.log(size))
    )
    assert report(torch.arange(size)[:, None], [size]).pooled.ecu_bridle == pytest.approx(printed, rel=0.05)
    assert report(torch.arange(size)[:, None], [size]).pooled.ecu_bridle < printed


def test_entropy_is_scipys():
    generator = np.random.default_rng(0)
    codes = generator.zipf(1.5, 5000) % 100
    expected = entropy(np.bincount(codes, minlength=100), base=2)
    close(report(codes[:, None], [100]).pooled, entropy_bits=expected, perplexity=2**expected)


def test_a_single_code_has_no_entropy():
    got = report([[5], [5]], [8]).pooled
    close(got, usage=1 / 8, entropy_bits=0.0, perplexity=1.0, ecu=1 / 8, ecu_bridle=math.inf)
    close(report([[0]], [1]).pooled, usage=1.0, ecu=1.0, ecu_bridle=math.inf)


def test_minus_one_is_not_counted():
    got = report([[0, 1], [-1, 1], [1, -1]], [2, 4]).per_piece
    close(got[0], usage=1.0, entropy_bits=1.0, tokens=2)
    close(got[1], usage=1 / 4, entropy_bits=0.0, tokens=2)


def test_shared_pieces_make_one_histogram_and_others_a_mean():
    codes = [[0, 1], [0, 2]]  # the first position always says 0, the second says 1 or 2
    shared = report(codes, [4, 4], codes_per_stage=[2], shared=True)
    close(shared.per_stage[0], usage=3 / 4, entropy_bits=1.5, ecu=2**1.5 / 4, codebook_size=4, tokens=4)
    apart = report(codes, [4, 4], codes_per_stage=[2], shared=False)
    close(
        apart.per_stage[0], usage=(1 / 4 + 2 / 4) / 2, entropy_bits=(0 + 1) / 2, perplexity=(1 + 2) / 2,
        ecu=(1 / 4 + 2 / 4) / 2, ecu_bridle=math.inf, codebook_size=8, tokens=4,
    )  # fmt: skip
    assert shared.per_piece == apart.per_piece


def test_pooled_by_hand():
    # stage 0: one code of 4, uniform over two; stage 1: two pieces of one codebook of 8
    codes = [[0, 0, 1], [1, 2, 3]]
    got = report(codes, [4, 8, 8], codes_per_stage=[1, 2], shared=[False, True])
    close(
        got.pooled,
        usage=(2 + 4) / (4 + 8),  # codes hit over codes stored, the shared codebook once
        entropy_bits=1 + 1 + 1,  # bits per vector
        perplexity=2.0,
        ecu=(2 / 4 * 2 / 8 * 2 / 8) ** (1 / 3),
        ecu_bridle=(0.5 / (1 * math.log(4)) + 0.5 / (2 * math.log(8))) / 2,
        codebook_size=12,
        tokens=6,
    )
    assert got.per_stage[0] == got.per_piece[0]
    assert len(got.per_stage) == 2
    assert len(got.per_piece) == 3


def test_stage_that_was_never_used_is_left_out():
    got = report([[0, -1], [1, -1]], [2, 64], codes_per_stage=[1, 1])
    close(got.pooled, usage=1.0, entropy_bits=1.0, ecu=1.0, codebook_size=2, tokens=2)
    close(got.per_stage[1], usage=0.0, entropy_bits=math.nan, ecu=math.nan, codebook_size=64, tokens=0)


def test_streaming_and_shape_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    sizes = [64, 8, 2]
    codes = torch.stack([torch.randint(-1, k, (4, 5, 6), generator=generator) for k in sizes], -1)
    metric = CodebookUsage(sizes)
    for clip in codes:
        metric.update(clip.to(torch.int32))
    assert metric.compute() == report(codes, sizes)
    assert metric.compute() == report(codes.reshape(-1, 3), sizes)
    metric.reset()
    with pytest.raises(ValueError, match="codebook_usage has seen no code: call update before compute"):
        metric.compute()


def test_forward_and_moving_the_metric_work():
    metric = CodebookUsage([4])
    assert metric(torch.tensor([[0], [1]])).pooled.entropy_bits == 1.0
    metric.compute()
    metric.to("cpu").update(torch.tensor([[2], [3]]))
    assert metric.compute().pooled.entropy_bits == 2.0


def test_report_is_frozen_and_goes_to_json():
    got = report([[0, -1], [0, -1]], [2, 4], codes_per_stage=[1, 1])
    assert isinstance(got, UsageReport)
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.pooled.usage = 1.0
    plain = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert plain == got.to_dict()
    assert plain["per_stage"][0]["ecu_bridle"] is None
    assert list(plain["pooled"]) == [field.name for field in dataclasses.fields(Use)]


def test_protocol_states_the_stages():
    metric = CodebookUsage([64, 8, 8], codes_per_stage=(1, 2), shared=True)
    assert json.loads(json.dumps(metric.protocol))["settings"] == {
        "code_sizes": [64, 8, 8],
        "codes_per_stage": [1, 2],
        "shared": [True, True],
    }


def test_counts_are_exact_beyond_float32():
    metric = CodebookUsage([2])
    metric.usage_counts += 2**24
    metric.update(torch.tensor([[0]]))
    assert metric.compute().pooled.tokens == 2**25 + 1


def test_empty_update_counts_nothing():
    metric = CodebookUsage([2])
    metric.update(torch.zeros(0, 1, dtype=torch.int64))
    metric.update(torch.tensor([[1]]))
    assert metric.compute().pooled.tokens == 1


def test_refuses_wrong_codes():
    metric = CodebookUsage([4, 8])
    with pytest.raises(ValueError, match=r"code 4 at position 0 is outside 0\.\.3"):
        metric.update(torch.tensor([[3, 7], [4, 7]]))
    with pytest.raises(ValueError, match=r"code -2 at position 1 is outside 0\.\.7"):
        metric.update(torch.tensor([[3, -2]]))
    with pytest.raises(ValueError, match=r"codes must be \(\.\.\., 2\), got \(3,\)"):
        metric.update(torch.tensor([1, 2, 3]))
    for wrong in (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)):
        with pytest.raises(TypeError, match=f"codes must be a tensor of ints, got {wrong.dtype}"):
            metric.update(wrong)
    with pytest.raises(TypeError, match="codes must be a tensor of ints, got list"):
        metric.update([[0, 0]])
    with pytest.raises(ValueError, match="has seen no code"):
        metric.compute()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match=r"must be in 1\.\.2\^20 to be counted code by code, got 1048577"):
        CodebookUsage([2**20 + 1])
    CodebookUsage([2**20])
    with pytest.raises(TypeError, match=r"code_sizes must be ints, got 4\.0"):
        CodebookUsage([4.0])
    with pytest.raises(ValueError, match="code_sizes must not be empty"):
        CodebookUsage([])
    with pytest.raises(ValueError, match=r"codes_per_stage must be positive and add up to 2 codes, got \(1,\)"):
        CodebookUsage([4, 4], codes_per_stage=[1])
    with pytest.raises(ValueError, match=r"add up to 2 codes, got \(2, 0\)"):
        CodebookUsage([4, 4], codes_per_stage=[2, 0])
    with pytest.raises(ValueError, match="shared must be one bool or 2, got 1"):
        CodebookUsage([4, 4], codes_per_stage=[1, 1], shared=[True])
    with pytest.raises(ValueError, match=r"stage 0 is shared, its codes must be of one size, got \[4, 8\]"):
        CodebookUsage([4, 8], shared=True)
