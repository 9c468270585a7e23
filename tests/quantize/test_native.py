"""The compiled searches and sums against the plain ones. Without a C++ compiler and ninja there is nothing to test."""

import contextlib
import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from test_tables import DIM, PIECES, SYSTEMS, TRAINED, built, pieces
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import cpp_extension
from torch.utils.checkpoint import checkpoint

from vqkit import BSQ, FSQ, IVQ, LFQ, PVQ, RVQ, VQ, LooC, Product, Projected, Quantizer, Residual, ResidualFSQ
from vqkit.quantize import base, fast_stages, inputs, native, residual
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.fast_stages import native_search
from vqkit.quantize.search import nearest, nearest_plain

needs_compiler = pytest.mark.skipif(
    not (shutil.which("c++") and shutil.which("ninja")), reason="needs a C++ compiler and ninja"
)


class Watched:
    """The library, noting what is called."""

    def __init__(self, functions):
        self.functions, self.called = functions, []

    def __getattr__(self, name):
        self.called.append(name)
        return getattr(self.functions, name)


@needs_compiler
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_codes_and_vectors_are_those_of_the_plain_twins(library, name, offset):
    quantizer = built(name, offset)
    for vectors in (1, 6, 7, 8, 9, 16, 17, 23, 24, 25, 47, 48, 49, 3001):
        z = torch.randn(1, vectors, 24) + offset * len(quantizer.stages)
        codes, plain = quantizer.encode(z), quantizer._encode_plain(z, None)
        assert (codes != plain).any(dim=-1).float().mean() < 0.002, vectors
        if vectors > 6:
            codes[0, :5], codes[0, 6, quantizer.stage_ends[0] :] = -1, -1
        for stages in range(1, quantizer.num_stages + 1):
            kept = codes[..., : quantizer.stage_ends[stages - 1]]
            assert torch.equal(quantizer.decode(kept), quantizer._decode_plain(kept, stages))


@needs_compiler
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 16, 17, 32, 33, 48, 49, 64, 65, 130])
def test_every_size_of_a_stage_leaves_the_residual_of_the_plain_twin(library, monkeypatch, size):
    """Up to 64 codes a step is looked up in registers, in one, two or four of them: every code of the first stage has to be taken right."""
    torch.manual_seed(0)
    quantizer = Residual([VQ(22, size), Product([VQ(11, size), VQ(11, 3)]), VQ(22, 64)]).eval()
    for table in quantizer.codebooks:
        table.normal_()
    z = quantizer.codebooks[0][torch.arange(1001) % size][None] + 0.3 * torch.randn(1, 1001, 22)
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    codes = quantizer.encode(z)
    assert watched.called[-1] == "vqkit_search"
    assert len(codes[..., 0].unique()) == size
    assert (codes != quantizer._encode_plain(z, None)).any(dim=-1).float().mean() < 0.002


@needs_compiler
@pytest.mark.parametrize("stages", [5, 6, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("dim", [3, 130])
def test_however_many_stages_are_summed_as_by_the_plain_twin(library, stages, dim):
    torch.manual_seed(0)
    quantizer = RVQ(dim, 16, stages, init="uniform").eval()
    codes = torch.randint(-1, 16, (1, 50, stages))
    for count in range(1, stages + 1):
        assert torch.equal(
            quantizer.decode(codes[..., :count]), quantizer.quantizer._decode_plain(codes[..., :count], count)
        )


@needs_compiler
@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_joined_as_by_the_plain_twin(library, monkeypatch, name):
    quantizer = pieces(name)
    codes = quantizer.encode(torch.randn(2, 300, DIM))
    codes[0, :9, 1], codes[1, 2] = -1, -1
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    with torch.no_grad():
        found = quantizer.decode(codes)
    assert ("vqkit_copies" in watched.called) == (name in ("own", "bfloat16"))
    assert torch.equal(found, quantizer._decode_plain(codes, 1))


@needs_compiler
@pytest.mark.parametrize("name", ["yin-yang", "mixed"])
def test_a_stage_of_which_only_some_pieces_are_masked_decodes_as_ever(library, name):
    quantizer = built(name, 0.0)
    codes = quantizer.encode(torch.randn(1, 9, 24))
    codes[0, 3, 1] = -1
    assert torch.equal(quantizer.decode(codes), quantizer._decode_plain(codes, quantizer.num_stages))


GRIDS = {
    "FSQ": lambda: FSQ(20, [7, 5, 5, 5, 5]),
    "FSQ even": lambda: FSQ(24, [8, 2, 4, 3, 6, 2, 5, 16], scale=[1.0, 0.5, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0]),
    "FSQ sigmoid": lambda: FSQ(9, [5, 8], bound="sigmoid", scale=0.7),
    "FSQ clamp": lambda: FSQ(16, [4, 5, 33], bound="clamp", scale=1.3),
    "LFQ": lambda: LFQ(24, bits=13),
    "BSQ": lambda: BSQ(16, 7),
    "FSQ residual": lambda: ResidualFSQ(16, [5, 4, 3], 3),
}


def grid(name: str) -> Quantizer:
    torch.manual_seed(0)
    return GRIDS[name]().fit(torch.randn(500, GRIDS[name]().dim)).eval()


@needs_compiler
@pytest.mark.parametrize("name", GRIDS)
def test_codes_of_grids_are_those_of_the_plain_twins(library, name):
    quantizer = grid(name)
    for vectors in (1, 15, 16, 17, 3001):
        z = 1.5 * torch.randn(1, vectors, quantizer.dim)  # outermost levels too
        codes, mask = quantizer.encode(z), torch.rand(1, vectors) < 0.5
        with native.without():
            plain = quantizer.encode(z)
        assert (codes != plain).any(dim=-1).float().mean() < 0.002, vectors
        assert torch.equal(quantizer.encode(z, mask), torch.where(mask[..., None], codes, -1))
        for gradient in (False, True):
            with torch.set_grad_enabled(gradient):
                out = quantizer(z.clone().requires_grad_(), mask)
                assert torch.equal(out.codes, quantizer.encode(z, mask))
                assert torch.equal(out.z_q.detach(), quantizer.decode(out.codes))
    assert len(codes.unique()) > 2


@needs_compiler
@pytest.mark.parametrize("name", ["FSQ even", "LFQ", "BSQ"])
def test_gradients_of_grids_in_evaluation_are_those_of_the_plain_twins(library, name):
    quantizer, z = grid(name), torch.randn(2, 300, GRIDS[name]().dim)

    def gradients():
        x = z.clone().requires_grad_()
        out = quantizer(x)
        return torch.autograd.grad(out.z_q.square().sum() + out.loss, [x, *quantizer.parameters()])

    compiled = gradients()
    with native.without():
        torch.testing.assert_close(compiled, gradients(), rtol=1e-4, atol=1e-4)  # sums in another order


@needs_compiler
def test_a_grid_whose_map_was_written_to_is_searched_anew(library):
    quantizer, other, z = grid("FSQ"), FSQ(20, [7, 5, 5, 5, 5]).eval(), torch.randn(1, 50, 20)
    before = quantizer.encode(z)
    quantizer.load_state_dict(other.state_dict())
    assert not torch.equal(quantizer.encode(z), before)
    assert torch.equal(quantizer.encode(z), other.encode(z))


@needs_compiler
def test_the_library_is_what_ran(library, monkeypatch):
    """Otherwise the tests above would compare the plain paths with themselves."""
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    for quantizer in (built("yin-yang", 0.0), built("RVQ", 0.0), grid("LFQ")):
        quantizer.decode(quantizer.encode(torch.randn(1, 9, 24)))
    coded = ["vqkit_signs", "vqkit_within", "vqkit_copies"], ["vqkit_search", "vqkit_within", "vqkit_sums"]
    assert watched.called == [*coded[0], *coded[1], "vqkit_grid", "vqkit_within"]
    with native.without():
        quantizer.encode(torch.randn(1, 9, 24))
    assert len(watched.called) == 8


@needs_compiler
@pytest.mark.parametrize("vectors", [1, 8, 9, 16, 17, 300])
@pytest.mark.parametrize(("codes", "dim"), [(1, 3), (2, 20), (63, 5), (64, 16), (1000, 9)])
def test_the_first_of_equal_scores_wins(library, vectors, codes, dim):
    table = torch.randint(-2, 3, (codes, dim)).float()  # whole numbers: many ties, no rounding
    x = torch.randint(-2, 3, (vectors, dim)).float()
    mean, direction = torch.zeros(dim), torch.cat([table, -0.5 * table.square().sum(1, keepdim=True)], dim=1)
    expected = (x @ table.T + direction[:, -1]).argmax(dim=1)
    assert torch.equal(native.nearest(x, mean, direction), expected)


@needs_compiler
@pytest.mark.parametrize(
    "make", [lambda: IVQ(18), lambda: IVQ(18, variant="bottom-up"), lambda: LooC(12, 16, 3), lambda: PVQ(20, 5, 4)]
)
def test_dims_that_fill_no_register(library, make):
    torch.manual_seed(0)
    quantizer = make().eval()
    for table in quantizer.codebooks:
        table.data.normal_()
    z = torch.randn(2, 5, 10, quantizer.dim)
    codes = quantizer.encode(z)
    with native.without():
        assert (quantizer.encode(z) == codes).float().mean() > 0.999
        expected = quantizer.decode(codes)
    assert torch.equal(quantizer.decode(codes), expected)


@needs_compiler
@pytest.mark.parametrize("bad", [-(2**63), -3, -2, 5, 6, 2**63 - 1])
def test_a_code_out_of_range_is_found_wherever_it_lies(library, bad):
    for count in (1, 7, 8, 9, 17, 30):
        codes = torch.arange(count) % 6 - 1  # −1 … 4: all that five codes and a mask have
        assert native.call("vqkit_within", codes.data_ptr(), count, 5)
        for place in range(count):
            wrong = codes.clone()
            wrong[place] = bad
            assert not native.call("vqkit_within", wrong.data_ptr(), count, 5), (count, place)


@needs_compiler
@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 11, 12, 15, 16, 17, 20, 27, 28, 31, 32, 45])
@pytest.mark.parametrize("lines", [6, 12])
def test_rows_of_every_width_are_copied_whole(library, width, lines):
    torch.manual_seed(0)
    quantizer = IVQ(width * lines, lines=lines).eval()
    for table in quantizer.codebooks:
        table.normal_()
    z = torch.randn(1, 101, width * lines)
    codes = quantizer.encode(z)
    with native.without():
        assert (quantizer.encode(z) == codes).float().mean() > 0.999
        expected = quantizer.decode(codes)
    assert torch.equal(quantizer.decode(codes), expected)


@needs_compiler
@pytest.mark.parametrize("make", [lambda: IVQ(24), lambda: RVQ(8, 16, 3), lambda: IVQ(120, variant="bottom-up")])
def test_threads_change_nothing(library, monkeypatch, make):
    monkeypatch.setattr(native, "_VECTORS_BEFORE_GRAM", 5000)
    quantizer = make().eval()
    for table in quantizer.codebooks:
        table.data.normal_()
    z, before = torch.randn(1, 12_345, quantizer.dim), torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            codes = quantizer.encode(z)
            results.append((codes, quantizer.decode(codes)))
            for place in (0, 5000, 12_344):  # one in each thread's part
                bad = z.index_fill(1, torch.tensor([place]), torch.nan)
                with pytest.raises(ValueError, match=f"z has {z.shape[-1]} NaN"):
                    quantizer.encode(bad)
        finally:
            torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def directions(kind, codes, dim):
    """A table of directions with −½‖e‖², and the codes in it."""
    e = torch.randn(codes, dim)
    if kind == "near ties":
        e = e[:1] * (1 + 1e-6 * torch.randn(codes, dim))
    if kind == "spikes":
        e[:, ::7] *= 1000
    if kind == "zeros":
        e[::3] = 0
    if kind == "equal":
        e[1::2] = e[:1]
    if kind == "not finite":
        e[3, 5], e[7, 1] = torch.inf, torch.nan
    e *= {
        "huge": 1e12,
        "overflowing": 1e20,
        "tiny": 1e-12,
        "vanishing": 1e-25,
        "vanishing, far": 1e-25,
        "denormal": 1e-39,
    }.get(kind, 1.0)
    return torch.cat([e, -0.5 * e.square().sum(1, keepdim=True)], dim=1), e


def vectors_near(kind, e, count):
    """Vectors that a table is searched for: some are codes, some zeros, some not finite, some far out."""
    scale = e[torch.isfinite(e).all(dim=1)].std()
    x = scale * torch.randn(count, e.shape[1])
    x[::5] = e[torch.arange(len(x[::5])) % len(e)]
    x[1::5] += e[torch.arange(len(x[1::5])) % len(e)]
    if kind == "heavy tails":
        x = scale * torch.distributions.StudentT(1.0).sample(x.shape)
    if kind == "spikes":
        x[:, ::11] *= 1000
    if kind == "far":
        x *= 1e4
    if kind == "vanishing, far":
        x *= 1e25
    if kind == "near zero":
        x *= 1e-4
    if kind in ("zeros", "equal"):
        x[::2] = 0
    if kind == "bad vectors":
        x[3, 4], x[50 % count, 0], x[6 % count, 1] = torch.inf, torch.nan, -torch.inf
    return x


KINDS = [
    "Gaussian", "heavy tails", "near ties", "spikes", "zeros", "equal", "far", "near zero", "huge", "overflowing", "tiny", "vanishing",
    "vanishing, far", "denormal", "not finite", "bad vectors",
]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("codes", "dim"), [(64, 120), (63, 49), (48, 50), (65, 51), (300, 60), (1024, 128)])
def test_codes_left_by_8_bit_scores_hold_the_one_that_all_scores_give(library, monkeypatch, kind, codes, dim):
    torch.manual_seed(0)
    direction, e = directions(kind, codes, dim)
    mean = torch.zeros(dim)
    monkeypatch.setattr(native, "_VECTORS_BEFORE", 0)  # neither search prepares tables by itself
    preselecting, complete = (native.NativeSearch([[direction]], None, mean) for _ in range(2))
    preselecting._prepare()
    for count in (7, 47, 48, 49, 1500):
        x = vectors_near(kind, e, count)
        found = preselecting(x)[:, 0]
        assert torch.equal(found, complete(x)[:, 0]), count
        good = torch.isfinite(x).all(dim=1)
        if kind in ("Gaussian", "heavy tails", "spikes", "far", "near zero"):
            score = x.double() @ direction[:, :-1].double().T + direction[:, -1].double()
            best = score.max(dim=1).values
            rounding = (
                1e-6 * dim * (x.double().norm(dim=1) * e.double().norm(dim=1).max() + direction[:, -1].abs().max())
            )
            assert (best - score.gather(1, found[:, None])[:, 0] <= rounding)[good].all()


# sizes of the codebooks of each stage's pieces, and the dim
STAGES = {
    "bottom-up": ([[2] * 6, [4] * 3, [8] * 2, [64]], 120),
    "wide": ([[2] * 6, [4] * 3, [8] * 2, [64]], 192),
    "narrow": ([[2] * 6, [4] * 3, [8] * 2, [64]], 48),
    "odd": ([[3, 5], [16, 4], [1, 9, 6, 1], [49]], 80),
    "two": ([[2, 2, 2, 1, 2], [55]], 60),
}
CPU = Path("/proc/cpuinfo")
WITH_VNNI = CPU.is_file() and "avx512_vnni" in CPU.read_text() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def prepared(monkeypatch, stages, kind="Gaussian"):
    """A search with 8-bit and Gram tables, the same without any, and the codebooks."""
    sizes, dim = STAGES[stages]
    scale = {"huge": 1e12, "overflowing": 1e17, "tiny": 1e-12, "vanishing": 1e-25}.get(kind, 1.0)
    tables = [[scale * torch.randn(size, dim // len(pieces)) for size in pieces] for pieces in sizes]
    if kind == "equal":
        for pieces in tables:
            pieces[0][-1] = pieces[0][0]
    if kind == "far":
        tables[0] = [table + 100 for table in tables[0]]
    for name in ("_VECTORS_BEFORE", "_VECTORS_BEFORE_GRAM"):
        monkeypatch.setattr(native, name, 0)  # neither prepares tables by itself
    fast, complete = native_search(tables), native_search(tables)
    fast._prepare()
    fast._prepare_gram()
    assert (fast._gram is not None) == (WITH_VNNI and kind != "overflowing")
    return fast, complete, tables


def halfway(search, x, y):
    """Vectors between x and y, more and more closely to where the codes change."""
    for halvings in range(24):
        middle = (x + y) / 2
        same = (search(middle) == search(x)).all(dim=1, keepdim=True)
        going = torch.arange(len(x))[:, None] % 24 >= halvings
        x, y = torch.where(going & same, middle, x), torch.where(going & ~same, middle, y)
    return torch.cat([x, y])


@needs_compiler
@pytest.mark.parametrize("kind", ["Gaussian", "equal", "far", "huge", "overflowing", "tiny", "vanishing"])
@pytest.mark.parametrize("stages", STAGES)
def test_codes_from_products_are_those_from_residuals(library, monkeypatch, stages, kind):
    torch.manual_seed(0)
    fast, complete, tables = prepared(monkeypatch, stages, kind)
    scale, centre = tables[0][0].std(), torch.cat([table.mean(dim=0) for table in tables[0]])
    x, y = (centre + spread * scale * torch.randn(2000, len(centre)) for spread in (1, 3))
    for z in (x, y, halfway(complete, x, y)):
        assert torch.equal(fast(z), complete(z))
    assert kind == "vanishing" or len(fast(y).unique(dim=0)) > 100


@needs_compiler
@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("size", [1e-14, 1e-15, 1e-16, 1e-17])
def test_products_that_are_smaller_than_any_float_change_no_code(library, monkeypatch, flush, size):
    """The last stage's codes lie in pairs that 8 bits do not tell apart; small results may be flushed to zero."""
    torch.manual_seed(0)
    _, _, tables = prepared(monkeypatch, "bottom-up")
    signs = torch.randn(32, 120).sign()
    last = size * torch.cat([signs, signs + 0.02 * torch.randn(32, 120)])
    tables = [*([1e-3 * size * table for table in pieces] for pieces in tables[:-1]), [last]]
    fast, complete = native_search(tables), native_search(tables)
    fast._prepare()
    fast._prepare_gram()
    x = last[torch.randint(64, (2000,))] + 0.003 * size * torch.randn(2000, 120)
    torch.set_flush_denormal(flush)
    try:
        assert torch.equal(fast(x), complete(x))
    finally:
        torch.set_flush_denormal(False)


@needs_compiler
@pytest.mark.parametrize("kind", ["heavy tails", "zeros", "near zero", "huge", "vast", "not finite"])
@pytest.mark.parametrize("count", [511, 512, 559, 560, 20_000])
def test_vectors_in_doubt_are_searched_as_ever(library, monkeypatch, kind, count):
    """Few among others, or so many that the others are not tried."""
    torch.manual_seed(0)
    fast, complete, tables = prepared(monkeypatch, "bottom-up")
    x = torch.randn(count, 120)
    if kind == "heavy tails":
        x = torch.distributions.StudentT(1.0).sample(x.shape)
    if kind == "zeros":
        x[count // 3 :] = torch.cat([table.mean(dim=0) for table in tables[0]])  # what is left less the mean
    if kind in ("near zero", "huge", "vast"):
        x[::3] *= {"near zero": 1e-35, "huge": 1e25, "vast": 5e37}[kind]
    if kind == "not finite":
        x[::7, 5], x[1::7, 119], x[2::7, 0] = torch.nan, torch.inf, -torch.inf
    assert torch.equal(fast(x), complete(x))


class OwnSearch(RVQ):
    """Overrides only what finds the codes."""

    calls = 0

    def _encode(self, x, mask):
        assert torch.isfinite(x).all()
        self.calls += 1
        return super()._encode(x, mask)


class OwnStages(Residual):
    """Likewise, without a system around it."""

    calls = 0

    def _encode(self, x, mask):
        assert torch.isfinite(x).all()
        self.calls += 1
        return super()._encode(x, mask)


def bottom_up(kind, dim):
    """Quantizers that Gram tables suit, in evaluation."""
    if kind == "own search":
        quantizer = OwnSearch(dim, [4, 64], 2)
    elif kind == "own stages":
        quantizer = OwnStages([Product.shared(VQ(dim // 2, 4), 2), VQ(dim, 64)])
    else:
        quantizer = IVQ(dim, variant="bottom-up")
    for table in quantizer.codebooks:
        table.normal_()
    return quantizer.eval()


@needs_compiler
@pytest.mark.parametrize("kind", ["system", "own search", "own stages"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [(0, 0), (700, 119), (1199, 7), (1200, 0), (1210, 119)])
def test_a_search_without_residuals_sees_what_is_not_finite(library, monkeypatch, kind, bad, place):
    """In whole blocks, at their borders and in what fills none; whoever overrides the search alone gets checked vectors."""
    monkeypatch.setattr(native, "_VECTORS_BEFORE_GRAM", 1000)
    monkeypatch.setattr(native, "_VECTORS_BEFORE", 1000)
    quantizer, z = bottom_up(kind, 120), torch.randn(1, 1211, 120)
    plain = quantizer.encode(z)
    assert torch.equal(quantizer.encode(z), plain)
    mask = torch.ones(1, 1211, dtype=torch.bool)
    mask[0, place[0]] = False
    z[0, place[0], place[1]] = bad
    with pytest.raises(ValueError, match="z has 1 NaN or Inf among"):
        quantizer.encode(z)
    assert torch.equal(quantizer.encode(z, mask), torch.where(mask[..., None], plain, -1))
    z[0, place[0], place[1]] = 1e30  # finite, but nothing that a search sees at once
    assert quantizer.encode(z).min() >= 0
    assert kind == "system" or quantizer.calls == 4


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: RVQ(8, 16, 3),
        lambda: RVQ(8, 2, 3),
        lambda: RVQ(8, 16, 3, beam=2),
        lambda: RVQ(520, 2048, 2),
        lambda: ResidualFSQ(8, (3,) * 8, 2),
        lambda: Residual([FSQ(8, (3,) * 8), VQ(8, 16)]),
    ],
)
def test_every_other_search_refuses_what_is_not_finite(library, make, training):
    quantizer = make().train(training)
    z = torch.randn(1, 5, quantizer.dim)
    z[0, 3, 2] = torch.nan
    with pytest.raises(ValueError, match="z has 1 NaN or Inf among"):
        quantizer.encode(z)


@needs_compiler
def test_vectors_that_are_not_tried_are_not_called_finite(library, monkeypatch):
    fast, _, tables = prepared(monkeypatch, "bottom-up")
    x = torch.randn(5000, 120)
    assert fast.search(x)[1] == WITH_VNNI
    x[:1000] = torch.cat([table.mean(dim=0) for table in tables[0]])  # all in doubt, for they are zeros less the mean
    x[2000, 7] = torch.nan
    assert not fast.search(x)[1]


@needs_compiler
def test_what_a_search_sees_itself_is_not_looked_at_before(library, monkeypatch):
    for name in ("_VECTORS_BEFORE", "_VECTORS_BEFORE_GRAM"):
        monkeypatch.setattr(native, name, 1000)
    looked = []
    for module in (base, fast_stages, inputs, residual):
        monkeypatch.setattr(module, "finite_vectors", lambda x: looked.append(len(x)) or x)
    quantizer, z = bottom_up("system", 120), torch.randn(1, 1211, 120)
    counts = []
    for part in (z, z, z[:, :100], torch.zeros_like(z), z):
        quantizer.encode(part)
        counts.append(len(looked))
    assert counts == ([0, 0, 1, 1, 1] if WITH_VNNI else [1, 2, 3, 4, 5])


@needs_compiler
def test_large_tables_get_8_bit_scores_once_many_vectors_were_seen(library, monkeypatch):
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    quantizer, z = RVQ(64, 64, 2).eval(), torch.randn(1, native._VECTORS_BEFORE // 2, 64)
    for table in quantizer.codebooks:
        table.normal_()
    quantizer.encode(z)
    assert "vqkit_preselect_words" not in watched.called
    quantizer.encode(z)
    assert watched.called.count("vqkit_preselect_words") == 2
    quantizer.encode(z)
    assert watched.called.count("vqkit_preselect_words") == 2
    assert native.call("vqkit_preselect_words", 64, 30) == 0
    assert native.call("vqkit_preselect_words", 16, 128) == 0
    if WITH_VNNI:
        assert watched.called.count("vqkit_preselect") == 2


@needs_compiler
def test_stages_get_gram_tables_once_very_many_vectors_were_seen(library, monkeypatch):
    """In training, where tables change with every step, they would cost more than they gain."""
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    quantizer, z = IVQ(60, variant="bottom-up").eval(), torch.randn(1, native._VECTORS_BEFORE_GRAM // 2, 60)
    for table in quantizer.codebooks:
        table.normal_()
    counts = []
    for _ in range(3):
        quantizer.encode(z)
        counts.append(watched.called.count("vqkit_gram"))
    assert counts == [0, 1, 1]


@needs_compiler
@pytest.mark.parametrize("change", ["in place", "data", "optimizer", "new", "double"])
def test_gram_tables_follow_the_codebooks(library, monkeypatch, change):
    for name in ("_VECTORS_BEFORE", "_VECTORS_BEFORE_GRAM"):
        monkeypatch.setattr(native, name, 1000)
    quantizer = IVQ(120, variant="bottom-up", update="gradient" if change == "optimizer" else "ema").eval()
    weights, z = (
        [module.weight for module in quantizer.modules() if isinstance(module, Codebook)],
        torch.randn(1, 1211, 120),
    )
    for weight in weights:
        weight.data.normal_()
    before = quantizer.encode(z)
    if change == "in place":
        for weight in weights:
            weight.data.normal_()
    if change == "data":
        for weight in weights:
            weight.data = torch.randn_like(weight)
    if change == "optimizer":
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        torch.optim.SGD(weights, lr=1.0).step()
    if change == "new":
        quantizer.load_state_dict(bottom_up("system", 120).state_dict())
    if change == "double":
        quantizer.double()
    after, plain = quantizer.encode(z), quantizer.quantizer._encode_plain(z, None)
    assert (after != plain).any(dim=-1).float().mean() < 0.002
    assert torch.equal(after, before) == (change == "double")


@needs_compiler
def test_copies_search_for_themselves_and_free_their_tables(library, monkeypatch):
    for name in ("_VECTORS_BEFORE", "_VECTORS_BEFORE_GRAM"):
        monkeypatch.setattr(native, name, 1000)
    watched = Watched(native._library)
    monkeypatch.setattr(native, "_library", watched)
    quantizer, z = bottom_up("system", 120), torch.randn(1, 1211, 120)
    plain = quantizer.encode(z)
    copies = [copy.deepcopy(quantizer), pickle.loads(pickle.dumps(quantizer))]  # noqa: S301 - pickled here
    del quantizer
    gc.collect()
    for each in copies:
        assert torch.equal(each.encode(z), plain)
    del each, copies
    gc.collect()
    assert watched.called.count("vqkit_gram") == 3
    assert watched.called.count("vqkit_gram_free") == (3 if WITH_VNNI else 0)


@needs_compiler
def test_tables_are_prepared_once_however_many_threads_search(library, monkeypatch):
    """A thread that has seen enough vectors for Gram tables waits for the 8-bit tables, which these need."""
    search = native_search([[torch.randn(4, 60)] * 2, [torch.randn(64, 120)]])
    x, prepare, begun, found = torch.randn(native._VECTORS_BEFORE_GRAM, 120), search._prepare, threading.Event(), []

    def slow():
        begun.set()
        time.sleep(0.2)
        prepare()

    monkeypatch.setattr(search, "_prepare", slow)
    threads = [threading.Thread(target=lambda: found.append(search(x[:1024])))]
    threads[0].start()
    begun.wait()
    codes = search(x)
    assert (search._gram is not None) == WITH_VNNI
    threads += [threading.Thread(target=lambda: found.append(search(x[:1024]))) for _ in range(4)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert all(torch.equal(each, codes[:1024]) for each in found)


@needs_compiler
@pytest.mark.parametrize("stages", STAGES)
def test_vectors_without_residuals_may_be_strided_and_few(library, monkeypatch, stages):
    fast, complete, tables = prepared(monkeypatch, stages)
    dim = sum(table.shape[1] for table in tables[0])
    x = torch.randn(dim + 3, 1200).t()[:, 3:]
    for z in (x, x[::2], x[:0], x[:1]):
        assert torch.equal(fast(z), complete(z))


def test_every_change_and_every_installation_is_built_for_itself(monkeypatch, tmp_path):
    built = []
    monkeypatch.setattr(cpp_extension, "load", lambda name, **_: built.append(name))
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        monkeypatch.setattr(native, "__file__", str(folder / "native.py"))
        for text in ("", "int a;", "int b;"):
            (folder / "native_gram.h").write_text(text)
            monkeypatch.setattr(native, "_library", None)
            with pytest.raises(AttributeError):  # nothing was built, so it has no functions
                native.load()
    assert len(set(built)) == 6


@needs_compiler
@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_behind_a_projection_is_exact(library, reentrant):
    """The first forward starts the codebooks, and so is not compiled; its recomputation is."""
    torch.manual_seed(0)
    quantizer, z, grads = (
        Projected(24, RVQ(6, 8, 2), bound="sphere").train().defer_learning(),
        torch.randn(8, 11, 24),
        [],
    )
    for again in (False, True):
        own, x = copy.deepcopy(quantizer), z.clone().requires_grad_()

        def run(x, own=own):
            out = own(x)
            return out.loss + out.z_q.square().sum()

        torch.manual_seed(7)
        loss = checkpoint(run, x, use_reentrant=reentrant) if again else run(x)
        loss.backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


@needs_compiler
def test_what_another_thread_replaces_during_a_search_stays_until_it_ends(library, monkeypatch):
    search = native_search([[torch.randn(4, 8)], [torch.randn(8, 8)]])

    class Slow(Watched):
        def vqkit_search(self, *arguments):
            layout = weakref.ref(search._layout)
            search._prepare()  # as a search elsewhere does that crosses the number from which tables pay
            assert layout() is not None
            return self.functions.vqkit_search(*arguments)

    monkeypatch.setattr(native, "_library", Slow(native._library))
    assert search(torch.randn(9, 8)).shape == (9, 2)


@needs_compiler
def test_far_from_the_origin(library):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(64, 8, generator=generator) + 1e3
    x = torch.randn(2000, 8, generator=generator) + 1e3
    assert float((nearest(x, codes) != nearest_plain(x, codes)).float().mean()) < 0.002


@needs_compiler
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("dim_first", [False, True])
def test_a_training_step_is_that_of_the_plain_paths(library, monkeypatch, name, dim_first):
    """Output, gradients, losses and the tables and statistics that three steps leave; also of vectors that do not lie one after another."""
    results, watched = [], Watched(native._library)
    z = torch.randn(3, 4, 24, 200).transpose(2, 3) if dim_first else torch.randn(3, 4, 200, 24)
    for functions in (watched, None):
        monkeypatch.setattr(native, "_library", functions)
        quantizer = built(name, 0.0).train()
        for module in quantizer.modules():
            if hasattr(module, "initialized"):
                module.initialized.fill_(True)
        torch.manual_seed(1)
        found = []
        for part in z:
            x = part.clone().requires_grad_()
            out = quantizer(x)
            (7 * out.loss + out.z_q.square().sum()).backward()
            grads = [table.grad for table in quantizer.codebooks if table.grad is not None]
            found += [out.codes, out.z_q.detach(), x.grad, *out.losses.values(), *grads]
        results.append([value.detach() for value in [*found, *quantizer.state_dict().values()]])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert ("vqkit_step" in watched.called) == (name != "dropout")


@needs_compiler
@pytest.mark.parametrize("state", ["frozen", "deferred", "evaluation"])
def test_a_step_that_learns_nothing_changes_nothing(library, state):
    quantizer, z = built("RVQ", 0.0).train(), torch.randn(1, 200, 24)
    quantizer(z)
    before = copy.deepcopy(quantizer.state_dict())
    {"frozen": quantizer.freeze, "deferred": quantizer.defer_learning, "evaluation": quantizer.eval}[state]()
    z = torch.randn(1, 200, 24)
    out = quantizer(z)
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())
    assert torch.equal(out.z_q, quantizer._decode_plain(out.codes, 3))
    if state == "deferred":
        quantizer.apply_learning()
        assert not torch.equal(before["stages.0.codebook.ema_sum"], quantizer.state_dict()["stages.0.codebook.ema_sum"])


@needs_compiler
def test_what_does_not_fit_goes_the_plain_way(library, monkeypatch):
    monkeypatch.setattr(native, "_library", object())  # to call it is an error
    x, codes = torch.randn(9, 4), torch.randn(5, 4)
    assert torch.equal(nearest(x.double(), codes.double()), nearest_plain(x, codes))
    assert not native.NativeSearch.fit(x, [[torch.empty(1 << 19, 4)]])
    with FakeTensorMode() as mode:
        assert not native.serves(mode.from_tensor(x), torch.float32)
    with pytest.raises(RuntimeError, match="size|shape"):
        nearest(torch.zeros(3, 4), torch.zeros(5, 6))
    with torch.device("meta"):  # a default device must not decide where results lie
        monkeypatch.undo()
        native.load()
        assert nearest(x, codes).device.type == "cpu"


@needs_compiler
@pytest.mark.parametrize(
    "make",
    [
        lambda: VQ(24, 16), lambda: RVQ(24, 16, 3), lambda: RVQ(24, 16, 3, beam=4), lambda: PVQ(24, 16, 4), lambda: LooC(24, 16, 4),
        lambda: IVQ(24), lambda: IVQ(120, variant="bottom-up"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [False, True])
def test_codebooks_elsewhere_than_the_input_are_an_error(library, make, compiled):
    """Their memory is not read: on "meta" there is none."""
    with torch.device("meta"):
        quantizer = make().eval()
    z, codes = torch.zeros(2, 5, quantizer.dim), torch.zeros(2, 5, len(quantizer.code_sizes), dtype=torch.long)
    with contextlib.nullcontext() if compiled else native.without(), torch.no_grad():
        for call, given in ((quantizer.encode, z), (quantizer.decode, codes), (quantizer, z)):
            with pytest.raises(RuntimeError, match="device"):
                call(given)


@needs_compiler
@pytest.mark.parametrize("make", ["RVQ(24, 64, 3, beam=4)", "RVQ(24, 64, 3)", "PVQ(24, 64, 3)"])
def test_a_graph_may_be_the_first_use_where_the_environment_asks_for_the_library(make):
    script = f"""
import torch
from vqkit import PVQ, RVQ
quantizer = {make}.fit(torch.randn(200, 24)).eval()
from vqkit.quantize import native
native._library, native._wanted = None, True
z = torch.randn(2, 4, 24)
compiled = torch.compile(quantizer.encode, fullgraph=True, backend="eager")(z)
assert not native._library
assert torch.equal(compiled, quantizer.encode(z)) and native.loaded()
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "VQKIT_NATIVE": "1"})


def test_without_a_compiler_one_line_says_what_is_needed(monkeypatch):
    def fails(**_):
        raise RuntimeError("Ninja is required to load C++ extensions")

    monkeypatch.setattr(cpp_extension, "load", fails)
    monkeypatch.setattr(native, "_library", None)
    with pytest.raises(RuntimeError, match=r"need a C\+\+ compiler \(GCC or Clang\) and ninja .*: Ninja is required"):
        native.load()


def test_nothing_is_compiled_unless_asked_for(monkeypatch):
    monkeypatch.setattr(native, "_library", None)
    monkeypatch.setattr(native, "_wanted", False)
    monkeypatch.setattr(cpp_extension, "load", lambda **_: pytest.fail("compiled"))
    quantizer = VQ(4, 8).eval()
    quantizer.decode(quantizer.encode(torch.randn(1, 50, 4)))
    assert not native.loaded()
    monkeypatch.setattr(native, "_wanted", True)  # as VQKIT_NATIVE=1
    with pytest.raises(BaseException, match="compiled"):
        quantizer.encode(torch.randn(1, 50, 4))
