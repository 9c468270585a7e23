"""Stages searched and decoded as plain tables, against the plain twins in `Residual`."""

import copy
import pickle

import pytest
import torch

from vqkit import IVQ, PVQ, RVQ, VQ, LooC, Product, Residual
from vqkit.quantize.leaves import plain_leaves
from vqkit.quantize.memo import Memo
from vqkit.quantize.search import plain_paths

DIM = 24
SYSTEMS = {
    "RVQ": lambda: RVQ(DIM, [64, 16, 8], 3),
    "yin-yang": lambda: IVQ(DIM),
    "yin-yang-own": lambda: IVQ(DIM, shared=False),
    "yin-yang-12": lambda: IVQ(DIM, lines=12),
    "bottom-up": lambda: IVQ(DIM, variant="bottom-up"),
    "mixed": lambda: Residual([Product([VQ(8, 4), VQ(8, 3), VQ(8, 5)]), VQ(DIM, 7)]),
}

TRAINED = {
    **SYSTEMS,
    "gradient": lambda: RVQ(DIM, [64, 16, 8], 3, update="gradient"),
    "yin-yang-gradient": lambda: IVQ(DIM, update="gradient", beta=0.4),
    "dropout": lambda: RVQ(DIM, 16, 3, update="gradient", stage_dropout=0.7, revive="none"),
    "shared": lambda: RVQ(DIM, 16, 3, update="gradient", shared=True),
    "beam": lambda: RVQ(DIM, 16, 3, beam=2),
}


def built(name: str, offset: float) -> Residual:
    torch.manual_seed(0)
    quantizer = TRAINED[name]().eval()
    for index, book in enumerate(quantizer.codebooks):
        with torch.no_grad():
            book.normal_().mul_(0.8**index).add_(offset)
    return quantizer.quantizer if hasattr(quantizer, "quantizer") else quantizer


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_codes_and_vectors_are_those_of_the_plain_twins(name, offset):
    quantizer = built(name, offset)
    z = torch.randn(3, 1500, DIM) + offset * len(quantizer.stages)
    codes, plain = quantizer.encode(z), quantizer._encode_plain(z, None)
    assert quantizer._chosen(z, None, None, quantizer.sequence) is not None  # the fast path ran
    near_ties = (codes != plain).any(dim=-1)
    assert near_ties.float().mean() < 0.002
    codes[0, :5], codes[1, 0, quantizer.stage_ends[0] :] = -1, -1
    for stages in range(1, quantizer.num_stages + 1):
        kept = codes[..., : quantizer.stage_ends[stages - 1]]
        assert torch.equal(quantizer.decode(kept), quantizer._decode_plain(kept, stages))


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_one_vector_has_the_codes_of_the_plain_twins(name, offset):
    quantizer = built(name, offset)
    z = torch.randn(200, DIM) + offset * len(quantizer.stages)
    differ = 0
    for one in z[:, None, None]:
        codes = quantizer.encode(one)
        differ += not torch.equal(codes, quantizer._encode_plain(one, None))
        assert torch.equal(quantizer.decode(codes), quantizer._decode_plain(codes, quantizer.num_stages))
    assert differ <= 1  # a tie within rounding


@pytest.mark.parametrize("name", ["yin-yang", "mixed"])
def test_a_stage_of_which_only_some_pieces_are_masked_decodes_as_ever(name):
    quantizer = built(name, 0.0)
    codes = quantizer.encode(torch.randn(1, 9, DIM))
    codes[0, 3, 1] = -1
    assert torch.equal(quantizer.decode(codes), quantizer._decode_plain(codes, quantizer.num_stages))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("masked", [False, True])
def test_a_training_step_is_that_of_the_plain_twin(name, masked, monkeypatch):
    """Output, gradients, losses and the tables that it leaves."""
    results = []
    z, mask = torch.randn(4, 200, DIM), torch.rand(4, 200) < 0.7 if masked else None
    for plain in (False, True):
        quantizer = built(name, 0.0).train()
        for module in quantizer.modules():
            if hasattr(module, "initialized"):
                module.initialized.fill_(True)
        if plain:
            monkeypatch.setattr("vqkit.quantize.residual.fast_stages", lambda *_: None)
            monkeypatch.setattr("vqkit.quantize.residual.plain_leaves", lambda *_: None)
        x = z.clone().requires_grad_()
        torch.manual_seed(1)
        out = quantizer(x, mask)
        (7 * out.loss + out.z_q.square().sum()).backward()
        tables = [table.grad for table in quantizer.codebooks if table.grad is not None]
        results.append((out, [x.grad, *tables], quantizer.state_dict()))
    (fast, gradients, state), (twin, expected, other) = results
    assert torch.equal(fast.codes, twin.codes)
    assert torch.equal(fast.z_q, twin.z_q)
    torch.testing.assert_close(fast.losses, twin.losses, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-5)
    assert ("gradient" in name or name in ("dropout", "shared")) == (len(tables) > 0)
    assert [key for key in state if not torch.equal(state[key], other[key])] == []


PIECES = {
    "own": lambda: PVQ(DIM, 16, 4),
    "shared": lambda: Product.shared(VQ(6, 16), 4),
    "of several sizes": lambda: Product([VQ(8, 5), VQ(8, 16), VQ(8, 2)]),
    "some shared": lambda: Product([VQ(4, 5), VQ(4, 5)], repeats=3),
    "bfloat16": lambda: PVQ(DIM, 16, 4).bfloat16(),
    "LooC": lambda: LooC(DIM, 16, 4),
}


def pieces(name: str) -> Product:
    torch.manual_seed(0)
    quantizer = PIECES[name]().eval()
    for book in quantizer.codebooks:
        with torch.no_grad():
            book.normal_()
    return next(module for module in quantizer.modules() if isinstance(module, Product))


@pytest.mark.parametrize("name", PIECES)
def test_pieces_decode_at_once_as_they_do_for_themselves(name, monkeypatch):
    quantizer, z = pieces(name), torch.randn(2, 300, DIM)
    with monkeypatch.context() as watched:
        watched.setattr(Product, "_decode_plain", None)  # to call it is an error
        codes = quantizer.encode(z)
        codes[0, :9, 1], codes[1, 2] = -1, -1
        with torch.no_grad():
            found = [quantizer.decode(part) for part in (codes, codes[:1, :1], codes[:, :0], codes.transpose(0, 1))]
    parts = (codes, codes[:1, :1], codes[:, :0], codes.transpose(0, 1))
    assert all(torch.equal(a, quantizer._decode_plain(b, 1)) for a, b in zip(found, parts, strict=True))
    assert (found[0][1, 2] == 0).all()
    assert (found[0][0, 0] != 0).any()
    before = found[0]
    quantizer.codebooks[-1].data.mul_(2)
    with torch.no_grad():
        after = quantizer.decode(codes)
    assert torch.equal(after, quantizer._decode_plain(codes, 1))
    assert not torch.equal(after, before)


def test_pieces_of_many_codes_decode_for_themselves(monkeypatch):
    """To look whether large tables are the same takes longer than to decode a few vectors."""
    quantizer = pieces("own")
    codes = torch.zeros(1, 3, 4, dtype=torch.long)
    monkeypatch.setattr("vqkit.quantize.tables._MOST_ROWS", 63)
    with monkeypatch.context() as watched, torch.no_grad():
        watched.setattr("vqkit.quantize.fast_stages.PieceTables.__init__", None)  # to call it is an error
        expected = quantizer.decode(codes)
        watched.setattr("vqkit.quantize.tables._MOST_ROWS", 64)
        with torch.inference_mode():
            unwatched = PIECES["own"]().eval()  # its tables do not count their writes
        unwatched.decode(codes)
    monkeypatch.setattr("vqkit.quantize.tables._MOST_ROWS", 64)
    with torch.no_grad():
        assert torch.equal(quantizer.decode(codes), expected)


def test_drawn_codes_are_drawn_by_the_stages():
    stages = [VQ(DIM, 8, assignment="drawn")]
    assert plain_leaves(stages, False) is None
    assert plain_leaves(stages, True) is not None
    assert plain_leaves([VQ(DIM, 8, assignment="drawn").eval()], False) is not None


@pytest.mark.parametrize("change", [{"gradient": "rotation"}, {"orthogonality_weight": 0.1}, {"unit": True}])
def test_stages_that_do_more_than_the_two_pulls_take_their_own_steps(change):
    stages = [VQ(DIM, 8, update="gradient", **change), VQ(DIM, 8)]
    assert plain_leaves(stages, True) is None
    assert plain_leaves(stages[1:], True) is not None


def test_tables_that_were_written_to_are_read_again():
    quantizer, z = built("RVQ", 0.0), torch.randn(1, 50, DIM)
    first = quantizer.decode(quantizer.encode(z))
    with torch.no_grad():
        quantizer.codebooks[1].mul_(3)
    codes = quantizer.encode(z)
    assert torch.equal(codes, quantizer._encode_plain(z, None))
    assert torch.equal(quantizer.decode(codes), quantizer._decode_plain(codes, 3))
    assert not torch.equal(quantizer.decode(codes), first)
    loaded = copy.deepcopy(quantizer)
    loaded.load_state_dict(built("RVQ", 1.0).state_dict())
    assert torch.equal(loaded.encode(z), loaded._encode_plain(z, None))


def test_a_kept_value_goes_with_its_tables():
    memo, table, calls = Memo(), torch.ones(2, 3), []
    for _ in range(2):
        memo.of([table], lambda: calls.append(1))
    assert len(calls) == 1
    for other in (table.clone(), table.add_(1)):
        memo.of([other], lambda: calls.append(1))
    assert len(calls) == 3
    assert copy.deepcopy(memo)._key is None
    assert pickle.loads(pickle.dumps(memo))._key is None  # noqa: S301 - its own


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_writes_through_data_are_noticed(dtype):
    """Averages of weights write so; PyTorch does not count it."""
    memo, table, calls = Memo(), torch.ones(4, 3, dtype=dtype), []
    memo.of([table], lambda: calls.append(1))
    table.data.mul_(2)
    memo.of([table], lambda: calls.append(1))
    table.data[2] = 7  # one code alone
    memo.of([table], lambda: calls.append(1))
    table.data = torch.zeros(4, 3, dtype=dtype)
    memo.of([table], lambda: calls.append(1))
    memo.of([table], lambda: calls.append(1))
    assert len(calls) == 4


@pytest.mark.parametrize("make", [lambda: VQ(8, 16, update="gradient"), lambda: RVQ(8, 16, 3), lambda: IVQ(12)])
def test_a_quantizer_whose_codes_are_averaged_in_place_finds_the_new_ones(make):
    torch.manual_seed(0)
    quantizer, other = make(), make()
    z = torch.randn(2, 50, quantizer.dim)
    for one in (quantizer, other):
        one.fit(z.flatten(end_dim=1) + torch.randn(1)).eval()
    quantizer.decode(quantizer.encode(z))
    for mine, theirs in zip(quantizer.state_dict(keep_vars=True).values(), other.state_dict().values(), strict=True):
        mine.data.copy_(theirs)
    codes = quantizer.encode(z)
    assert torch.equal(codes, other.encode(z))
    assert torch.equal(quantizer.decode(codes), other.decode(codes))


def test_a_shared_codebook_takes_the_same_fast_paths():
    torch.manual_seed(0)
    z = torch.randn(3, 40, 8)
    residual = RVQ(8, 16, 3, shared=True).fit(z.flatten(end_dim=1)).eval().quantizer
    codes = residual.encode(z)
    assert torch.equal(codes, residual._encode_plain(z, None))
    with torch.no_grad():
        assert torch.equal(residual.decode(codes), residual._decode_plain(codes, 3))


def test_second_derivatives_need_the_plain_forward():
    """A gradient penalty through the quantizer, against the value on paper: both gradients of the commitment are linear in x."""
    quantizer, z = built("gradient", 0.0).train(), torch.randn(2, 30, DIM)
    for stage in quantizer.stages:
        stage.codebook.initialized.fill_(True)
        stage.codebook.revive = "none"

    def penalty(x):
        out = quantizer(x)
        (slope,) = torch.autograd.grad(out.losses["commitment"], x, create_graph=True)
        return slope, torch.autograd.grad(slope.square().sum(), x)[0]

    x = z.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"second derivatives .* plain forward: .*plain_paths\(\)"):
        penalty(x)
    with plain_paths():
        slope, second = penalty(x)
    curvature = 2 * quantizer.stages[0].commitment_weight / z.numel()  # the mean over stages of equal ones
    torch.testing.assert_close(second, 2 * curvature * slope)


def test_a_graph_of_the_gradients_alone_is_no_error():
    quantizer, x = built("RVQ", 0.0), torch.randn(1, 9, DIM, requires_grad=True)
    out = quantizer(x)
    (grad,) = torch.autograd.grad(out.z_q.sum() + out.loss, x, create_graph=True)
    again = quantizer(x)
    assert torch.equal(grad, torch.autograd.grad(again.z_q.sum() + again.loss, x)[0])
