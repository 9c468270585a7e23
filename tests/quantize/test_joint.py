"""Sums, counts and rows of a batch, as far as one process shows them; `test_distributed` has several."""

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
