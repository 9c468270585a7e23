import pytest
import torch

from vqkit import VQ
from vqkit.quantize import native, search
from vqkit.quantize.search import nearest, nearest_plain, similarity

# On paper: four codes in the plane. (0.9, 0.2) is at squared distances 0.85, 0.05, 1.45, 0.65 from them.
CODES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_hand_made_codebook():
    x = torch.tensor([[0.9, 0.2], [0.1, 0.3], [-5.0, 0.6], [0.4, 9.0], [0.51, 0.49]])
    assert nearest(x, CODES).tolist() == [1, 0, 2, 2, 1]
    assert similarity(x[:1], CODES, "l2")[0].tolist() == pytest.approx([-0.85, -0.05, -1.45, -0.65])


def test_cosine_ignores_length():
    codes = torch.tensor([[10.0, 0.0], [0.0, 0.1], [-3.0, -3.0]])
    x = torch.tensor([[0.1, 0.0], [0.2, 5.0], [-1.0, -0.5], [0.3, 0.2]])
    assert nearest(x, codes, "cosine").tolist() == [0, 1, 2, 0]
    assert nearest(x, codes, "l2").tolist() == [1, 1, 1, 1]


def test_ties_go_to_the_lowest_index():
    x = torch.randn(100, 8)
    codes = torch.randn(5, 8)
    assert nearest(torch.tensor([[0.5, 0.5]]), CODES).item() == 0
    assert torch.equal(nearest(x, codes.repeat(13, 1)), nearest(x, codes))


@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize(("num_codes", "dim"), [(1, 3), (2, 20), (64, 16), (1000, 5)])
def test_fast_equals_plain(distance, num_codes, dim, monkeypatch):
    generator = torch.Generator().manual_seed(num_codes)
    x = torch.randn(500, dim, generator=generator)
    codes = torch.randn(num_codes, dim, generator=generator)
    whole = nearest(x, codes, distance)
    assert torch.equal(whole, nearest_plain(x, codes, distance))
    monkeypatch.setattr(search, "CHUNK_SCORES", 7 * num_codes)
    assert torch.equal(whole, nearest(x, codes, distance))


def test_latents_far_from_the_origin_keep_their_codes():
    """x·e − ½‖e‖² alone loses these decisions to rounding."""
    generator = torch.Generator().manual_seed(0)
    codes = 1000 + torch.randn(64, 32, generator=generator)
    x = 1000 + torch.randn(2000, 32, generator=generator)
    plain = (x @ codes.T - 0.5 * codes.square().sum(1)).argmax(1)
    expected = nearest_plain(x, codes)
    assert (nearest(x, codes) == expected).float().mean() > 0.995
    assert (plain == expected).float().mean() < 0.9


def test_memory_stays_within_the_chunk(monkeypatch):
    """A search over 200 000 × 256 scores (200 MB) never holds more than the chunk."""
    largest = 0
    original = torch.mm

    def watched(*args, **options):
        nonlocal largest
        result = original(*args, **options)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch, "mm", watched)
    monkeypatch.setattr(search, "CHUNK_SCORES", 1 << 20)
    with native.without():
        VQ(4, 256).encode(torch.randn(1, 200_000, 4))
    assert 1 << 19 <= largest <= 1 << 20


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_the_search_finds_the_nearest_code_far_from_the_origin(offset):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(64, 8, generator=generator) + offset
    x = torch.randn(2000, 8, generator=generator) + offset
    assert float((nearest(x, codes) != nearest_plain(x, codes)).float().mean()) < 0.002


@pytest.mark.parametrize("vectors", [1, 2, 15, 16, 300])
@pytest.mark.parametrize("codes", [1, 2, 63, 1024])
def test_the_pooled_argmax_is_the_argmax(vectors, codes):
    direction = torch.randint(-3, 4, (codes, 5)).float()  # whole numbers: many ties
    rows = torch.randint(-3, 4, (vectors, 5)).float()
    assert torch.equal(search.best_codes(direction, rows), (rows @ direction.T).argmax(dim=1))


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_the_search_ignores_reduced_precision_of_products(precision):
    generator = torch.Generator().manual_seed(0)
    x, codes = torch.randn(4000, 64, generator=generator), torch.randn(512, 64, generator=generator)
    expected, before = nearest(x, codes), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert torch.equal(nearest(x, codes), expected)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
