"""The compiled beam search against the plain one and against differences in float64."""

import pytest
import torch
from test_native import KINDS, Watched, directions, needs_compiler, vectors_near

from vqkit import RVQ, VQ, Product, Residual
from vqkit.quantize import fast_stages, native
from vqkit.quantize.beam import best_prefixes
from vqkit.quantize.fast_stages import native_search

pytestmark = needs_compiler


def noise(dim: int, sizes: list[int], beam: int, offset: float = 0.0) -> Residual:
    torch.manual_seed(0)
    quantizer = Residual([VQ(dim, size) for size in sizes], beam=beam).eval()
    for index, table in enumerate(quantizer.codebooks):
        table.normal_().mul_(0.7**index).add_(offset)
    return quantizer


def in_double(tables, x, beam):
    """The least squared error after each stage, all differences formed."""
    left, errors = x.double()[:, None], []
    for table in tables:
        ahead = left[:, :, None] - table.double()
        value, chosen = ahead.square().sum(-1).flatten(1).sort(dim=1)
        errors.append(value[:, 0])
        left = ahead.flatten(1, 2)[torch.arange(len(x))[:, None], chosen[:, :beam]]
    return torch.stack(errors, dim=1)


@pytest.mark.parametrize("sizes", [[6, 6, 6], [64, 64, 64, 64], [300, 2, 1, 65], [1024, 200]])
@pytest.mark.parametrize("beam", [2, 5, 8, 16, 49, 64])
@pytest.mark.parametrize("dim", [3, 50])
def test_prefixes_and_errors_are_those_of_the_plain_twin(library, monkeypatch, sizes, beam, dim):
    quantizer = noise(dim, sizes, beam, offset=3.0)
    monkeypatch.setattr(native, "_library", Watched(native._library))
    tables = [[table] for table in quantizer.codebooks]
    for prepared in (False, True):
        search = native_search(tables)
        if prepared:
            search._prepare()
        for count in (1, 2, 47, 48, 49, 200):
            x = torch.randn(count, dim) + 3.0 * len(sizes)
            plain, plain_errors = best_prefixes(quantizer.stages, x, beam)
            found, errors = search.beam(x, beam, every=True)
            assert (
                torch.stack([(a != b).any(dim=1) for a, b in zip(found, plain, strict=True)]).float().mean()
            ) < 0.005
            torch.testing.assert_close(errors, plain_errors, rtol=1e-3, atol=1e-4 * dim)
            assert torch.equal(search.beam(x, beam, every=False)[0][0], found[-1])
    z = torch.randn(1, 300, dim) + 3.0 * len(sizes)
    codes = quantizer.encode(z)
    assert native._library.called[-1] == "vqkit_beam"
    with native.without():
        assert (codes != quantizer.encode(z)).any(dim=-1).float().mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("codes", "dim"), [(64, 120), (48, 50), (300, 60)])
def test_what_8_bit_scores_rule_out_is_not_among_the_best(library, kind, codes, dim):
    torch.manual_seed(0)
    tables = [directions(kind, codes, dim)[1] for _ in range(3)]
    approximate, exact = (native_search([[table] for table in tables]) for _ in range(2))
    approximate._prepare()
    x = vectors_near(kind, tables[0], 300)
    for beam in (2, 12):
        results = []
        for search in (approximate, exact):
            found, errors = search.beam(x, beam, every=True)
            assert all(((code >= 0) & (code < codes)).all() for code in found)
            results.append(errors)
        if kind not in ("not finite", "overflowing", "vanishing, far", "bad vectors"):
            scale = x.double().square().sum(1, keepdim=True) + max(
                table.double().square().sum(1).max() for table in tables
            )
            scale += 1e-30  # of squares that no float holds
            right = in_double(tables, x, beam)
            for errors in results:
                assert ((errors - right).abs() <= 1e-5 * scale).double().mean() > 0.99


@pytest.mark.parametrize("size", [1e-14, 1e-17, 1e-18, 1e-19, 1e-25])
def test_where_small_numbers_are_flushed_to_zero_as_many_are_kept(library, size):
    """Limits that rounding moved may leave fewer candidates than are wanted."""
    torch.manual_seed(0)
    tables = [size * torch.randn(1, 64) * (1 + 0.03 * torch.randn(64, 64)) for _ in range(3)]
    search = native_search([[table] for table in tables])
    x = sum(table[torch.randint(64, (2000,))] for table in tables) + 0.01 * size * torch.randn(2000, 64)
    torch.set_flush_denormal(True)
    try:
        for _ in range(2):
            codes = search.beam(x, 12, every=False)[0][0]
            assert ((codes >= 0) & (codes < 64)).all()
            search._prepare()
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_errors_are_those_of_the_codes_however_small_and_far_they_are(library, offset):
    """The values that rank candidates are sums of larger numbers, of which nothing may be left."""
    torch.manual_seed(0)
    tables = [torch.randn(64, 20), 1e-2 * torch.randn(64, 20), 1e-4 * torch.randn(64, 20)]
    tables[0] += offset * torch.randn(20)
    x = sum(table[torch.randint(64, (500,))] for table in tables) + 1e-5 * torch.randn(500, 20)
    prefixes, errors = native_search([[table] for table in tables]).beam(x, 3, every=True)
    for stages, prefix in enumerate(prefixes, start=1):
        found = torch.stack([table.double()[prefix[:, s]] for s, table in enumerate(tables[:stages])]).sum(dim=0)
        right = (x.double() - found).square().sum(dim=1)
        # a difference of numbers near 1 is off by 2⁻²³, times as many as there are
        allowed = 1e-5 * right + 2 * right.sqrt() * 20**0.5 * 2.0**-23 + 20 * 2.0**-46
        assert ((errors[:, stages - 1] - right).abs() <= allowed).all(), stages


def test_what_is_kept_of_a_vector_is_the_best_of_all_its_extensions(library):
    """Of two stages with a beam of all codes of the first, that is the exhaustive search."""
    for codes, dim in ((60, 64), (40, 9)):
        quantizer = noise(dim, [codes, codes], codes)
        for table in quantizer.codebooks:
            table.mul_(1 / table.std())
        first, second = quantizer.codebooks
        x = torch.randn(500, dim)
        both = (first[:, None] + second).flatten(0, 1)
        least = torch.cdist(x.double(), both.double()).min(dim=1).values.square()
        error = (x.double() - quantizer.decode(quantizer.encode(x[None]))[0].double()).square().sum(dim=1)
        torch.testing.assert_close(error, least, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("state", ["evaluation", "training", "stage dropout", "rate"])
def test_every_use_of_a_beam_takes_it(library, monkeypatch, state):
    z = torch.randn(4, 200, 12)

    def result():
        torch.manual_seed(1)
        quantizer = noise(12, [16, 16, 16], 4)
        quantizer.stage_dropout = 1.0 if state == "stage dropout" else 0.0
        if state == "rate":
            return quantizer.encode(z, rate_weight=0.3)
        if state == "evaluation":
            return torch.cat([quantizer(z).codes, quantizer.encode(z), quantizer.encode(z, stages=2)], dim=-1)
        return quantizer.train()(z).codes

    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    compiled = result()
    assert "vqkit_beam" in watched.called
    with native.without():
        plain = result()
    assert (compiled != plain).any(dim=-1).float().mean() < 0.005
    if state in ("stage dropout", "rate"):
        assert 0 < (compiled < 0).float().mean() < 1


def test_threads_change_nothing(library, monkeypatch):
    monkeypatch.setattr(native, "_VECTORS_BEFORE", 0)
    quantizer, z = noise(60, [64, 64], 8), torch.randn(1, 3001, 60)
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(quantizer.encode(z))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused(library, bad):
    with pytest.raises(ValueError, match="z has 1 NaN or Inf"):
        noise(4, [8, 8], 2).encode(torch.zeros(1, 3, 4).index_put((torch.tensor(0),) * 3, torch.tensor(bad)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RVQ(8, 16, 3, beam=fast_stages._MOST_BEAM + 1),
        lambda: Residual([VQ(8, 16, distance="cosine"), VQ(8, 16)], beam=3),
        lambda: Residual([Product([VQ(4, 4), VQ(4, 4)]), VQ(8, 16)], beam=3),
        lambda: Residual([VQ(8, fast_stages._MOST_CODES + 1), VQ(8, 16)], beam=3),
    ],
)
def test_what_does_not_fit_goes_the_plain_way(library, monkeypatch, make):
    quantizer, z = make().eval(), torch.randn(1, 50, 8)
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    assert quantizer.encode(z).shape[:2] == (1, 50)
    assert "vqkit_beam" not in watched.called
