import time

import pytest
import torch

from vqkit.quantize import sampling
from vqkit.quantize.sampling import sample_rows


def plain(chunks, most):
    """The plain twin: all keys, then the largest, of equal ones the earlier."""
    chunks = list(chunks)
    keys = torch.cat([torch.rand(len(chunk)) for chunk in chunks])
    stay = sorted(sorted(range(len(keys)), key=lambda i: (-keys[i], i))[:most])
    return torch.cat(chunks)[stay]


@pytest.mark.parametrize("size", [1, 7, 137, 5000])
@pytest.mark.parametrize("most", [1, 50, 2000, 100_000])
def test_same_sample_as_all_keys_at_once_bit_for_bit(size, most):
    rows = torch.randn(4_000, 2)
    results = []
    for sample in (sample_rows, plain):
        torch.manual_seed(0)
        results.append(sample(rows.split(size), most))
    assert torch.equal(*results)


def test_equal_keys_leave_the_earlier_row(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda n: (torch.arange(n) % 3) / 3)
    rows = torch.arange(30_000.0)[:, None]
    kept = sample_rows(rows.split(300), 2000)
    assert torch.equal(kept[:, 0], torch.arange(2, 6000, 3).float())


def test_a_long_stream_costs_as_much_as_its_keys(monkeypatch):
    """A row enters a merge only if its key is large enough: most·(1 + log(rows/most)) of them, not most a chunk."""
    merged = 0
    original = sampling._largest

    def counted(rows, keys, limit):
        nonlocal merged
        merged += sum(map(len, keys))
        return original(rows, keys, limit)

    monkeypatch.setattr(sampling, "_largest", counted)
    chunk = torch.zeros(50, 1)
    start = time.perf_counter()
    kept = sample_rows((chunk for _ in range(20_000)), 10_000)  # a million rows
    assert len(kept) == 10_000
    assert merged < 40 * 10_000  # 20 000 chunks × 10 000 before
    assert time.perf_counter() - start < 30


def test_memory_of_a_chunk_may_be_used_again():
    buffer = torch.empty(10, 1)

    def chunks():
        for i in range(5):
            yield buffer.fill_(i)

    assert sorted(sample_rows(chunks(), 100).flatten().tolist()) == [float(i) for i in range(5) for _ in range(10)]


@pytest.mark.parametrize("chunks", [[], [torch.zeros(0, 3)]])
def test_an_empty_stream_is_refused(chunks):
    with pytest.raises(ValueError, match="no vectors to fit"):
        sample_rows(chunks, 5)
