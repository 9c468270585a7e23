"""Sums, counts and rows of a batch, as far as one process shows them; `test_distributed` has several."""

import copy

import pytest
import torch

from vqkit import VQ
from vqkit.quantize.joint import JointBatch

MANY = (1 << 24) + 3  # float32 counts one by one to 2²⁴ and then stands still


def test_counts_and_sums_beyond_what_float32_counts():
    x = torch.ones(1, 1).expand(MANY, 1)
    codes = torch.zeros(1, dtype=torch.long).expand(MANY)
    counts, sums = JointBatch(x).cluster(codes, 2)
    assert counts.tolist() == [MANY, 0]
    assert sums.tolist() == [[MANY + 1], [0]]  # the float32 next to it: as exact as a sum in float32 can be


def test_rows_beyond_what_float32_counts():
    x = torch.arange(MANY, dtype=torch.int32)[:, None].remainder(251)
    batch = JointBatch(x, torch.ones(MANY, dtype=torch.bool))
    picks = torch.tensor([0, 1 << 24, MANY - 1])
    assert batch.count == MANY
    assert torch.equal(batch.rows(picks).flatten(), x[picks].flatten())


def test_masked_vectors_do_not_count_whatever_they_are():
    x = torch.tensor([[1.0], [torch.nan], [3.0], [torch.inf]])
    batch = JointBatch(x, torch.tensor([True, False, True, False]))
    counts, sums = batch.cluster(torch.tensor([1, 1, 1, 0]), 2)
    assert counts.tolist() == [0, 2]
    assert sums.tolist() == [[0.0], [4.0]]
    assert batch.rows(torch.tensor([1, 0])).flatten().tolist() == [3.0, 1.0]


def test_the_counts_of_a_fit_weigh_as_one_training_batch():
    """However many vectors it saw: c ← (γ·n·s·c + (1 − γ)·Σx) / (γ·n·s + (1 − γ)·n), n the batch's vectors and s the share of the fit."""
    torch.manual_seed(0)
    centres = torch.tensor([[-8.0, 0.0], [0.0, 8.0], [8.0, 0.0]])
    shares = torch.tensor([0.5, 0.3, 0.2])
    x = centres.repeat_interleave((shares * 10_000).long(), dim=0) + 0.1 * torch.randn(10_000, 2)
    q = VQ(2, 3, update="ema", decay=0.9).fit(x, seed=1)
    start = q.codebook.weight.clone()
    distance, order = torch.cdist(centres, start).min(dim=1)
    assert (distance < 0.1).all()
    q.train()(centres[None, [0, 0, 1, 1]] + 1)  # four vectors, two of each of two codes
    expected = start.clone()
    for code, share in ((0, 0.5), (1, 0.3)):
        kept = 0.9 * 4 * share
        expected[order[code]] = (kept * start[order[code]] + 0.1 * 2 * (centres[code] + 1)) / (kept + 0.1 * 2)
    torch.testing.assert_close(q.codebook.weight, expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(q.codebook.ema_count.sum(), torch.tensor(4.0))


@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_a_start_weighs_as_one_training_batch(decay):
    """A code is Σ γ^(t−i)·Σx_i / Σ γ^(t−i)·n over the batches of n vectors, the first one twice: it starts the code."""
    torch.manual_seed(0)
    for per_code in (1, 200):
        q = VQ(2, 2, update="ema", decay=decay, revive="none").train()
        centres = torch.tensor([[-50.0, 0.0], [50.0, 0.0]])
        weighted, weight = torch.zeros(2), 1 - decay
        for step in range(6):  # both clusters wander off together
            drift = torch.tensor([3.0 * step, -2.0 * step])
            q((centres + drift).repeat_interleave(per_code, dim=0)[None])
            weighted, weight = decay * weighted + (1 - decay) * drift, decay * weight + (1 - decay)
        expected = centres + weighted / weight
        found = q.codebook.weight[q.codebook.weight[:, 0].argsort()]
        torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)  # the counts' smoothing
        torch.testing.assert_close(q.codebook.ema_count.sum(), torch.tensor(2.0 * per_code * weight))


def test_codes_that_nothing_chose_are_not_shrunk_by_the_smoothing_of_a_young_average():
    """Of a batch of one vector each of 32 codes has 1/32 · (1 − γ): 3e-5, hardly more than an ε of 1e-5."""
    q = VQ(1, 32, decay=0.999, revive="none").train()
    with pytest.warns(UserWarning, match="k-means of 32 codes from only 1 vectors"):
        q(torch.ones(1, 1, 1))
    torch.testing.assert_close(q.codebook.weight, torch.ones(32, 1), rtol=2e-3, atol=0)


def test_a_fit_from_an_earlier_file_weighs_as_one_training_batch():
    """Their shares had no sign, and added up to 1."""
    torch.manual_seed(0)
    now = VQ(2, 3, update="ema", decay=0.9).fit(torch.randn(100, 2), seed=1)
    then = copy.deepcopy(now)
    then.codebook.ema_count.neg_()
    then.codebook.ema_sum.neg_()
    assert then.codebook.ema_count.sum() == pytest.approx(1)
    for step in range(2):
        x = torch.randn(1, 7, 2) + step
        assert torch.equal(now.train()(x).z_q, then.train()(x).z_q)
    for name, value in now.state_dict().items():
        assert torch.equal(value, then.state_dict()[name])


def test_averages_that_let_nothing_in_keep_their_start():
    q = VQ(2, 3, update="ema", decay=1.0, revive="none").train()
    q(torch.randn(1, 50, 2))
    start = q.codebook.weight.clone()
    q(torch.randn(1, 50, 2) + 3)
    torch.testing.assert_close(q.codebook.weight, start, atol=1e-3, rtol=0)
