"""Item ids: distinct tuples, by a count or by the nearest free code."""

import pytest
import torch

from vqkit import FSQ, RVQ, VQ
from vqkit.quantize import distinct_codes


def made(values):
    """One stage that says the integer part of a number, and one that says its tenths: 0, 3 or 6."""
    q = RVQ(1, 3, 2).eval()
    with torch.no_grad():
        q.codebooks[0].copy_(torch.tensor([[0.0], [10.0], [20.0]]))
        q.codebooks[1].copy_(torch.tensor([[0.0], [3.0], [6.0]]))
    for book in q.modules():
        if hasattr(book, "initialized"):
            book.initialized.fill_(True)
    return q, torch.tensor(values)[:, None]


def test_a_count_tells_equal_codes_apart():
    q, vectors = made([0.1, 10.0, 0.0, 3.0, 0.2, 10.1])
    found = distinct_codes(q, vectors, batch=4)
    assert found.codes.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 2], [1, 0, 1]]
    assert (found.code_sizes, found.collisions, found.largest_group) == ((3, 3, 3), 3, 3)


def test_the_nearest_free_code_of_the_last_stage():
    q, vectors = made([1.0, 0.1, 0.5, 10.0])  # the first three are all 0, 0
    found = distinct_codes(q, vectors, last="nearest")
    assert found.codes.tolist() == [
        [0, 1],
        [0, 0],
        [0, 2],
        [1, 0],
    ]  # 0.1 keeps it; 1.0 is nearer to 3 than 0.5 is; 6 is left
    assert (found.code_sizes, found.collisions) == ((3, 3), 2)


def test_usage_is_the_effective_share_of_the_alphabet():
    q, vectors = made([0.0, 10.0, 20.0, 3.0, 13.0, 23.0])
    even, half = distinct_codes(q, vectors).usage
    assert even == pytest.approx(1.0)
    assert half == pytest.approx(2 / 3)


def test_all_differ_with_thousands_of_items():
    torch.manual_seed(0)
    items = torch.randn(3000, 8)
    q = RVQ(8, 32, 3).fit(items).eval()
    for last in ("count", "nearest"):
        found = distinct_codes(q, items, last=last)
        assert len(found.codes.unique(dim=0)) == 3000
        assert all(int(code.max()) < size for code, size in zip(found.codes.unbind(1), found.code_sizes, strict=True))
    assert (found.codes != q.encode(items[None])[0]).any(dim=1).sum() <= found.collisions * 2


def test_bad_input_is_named():
    q, vectors = made([0.0, 0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="4 items share all codes but the last, which has only 3 values"):
        distinct_codes(q, vectors, last="nearest")
    with pytest.raises(ValueError, match=r"last='nearest' needs at least two stages.* has \[1\] codes a stage"):
        distinct_codes(VQ(1, 4).fit(vectors), vectors, last="nearest")
    with pytest.raises(ValueError, match="last must be 'count' or 'nearest', got 'first'"):
        distinct_codes(q, vectors, last="first")
    with pytest.raises(ValueError, match=r"vectors must be \(items, dim\), at least one, got shape \(4,\)"):
        distinct_codes(q, vectors[:, 0])
    assert len(distinct_codes(FSQ(2, [3, 3]), torch.zeros(5, 2)).codes.unique(dim=0)) == 5
