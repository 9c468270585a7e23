"""What other people's training does to a quantizer: loaders, freezing, checkpointing, accumulation, compilation, empty batches."""

import copy
import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from vqkit import FSQ, IVQ, LFQ, PVQ, RVQ, VQ, GroupedRVQ, LooC, Product, Quantizer, Residual
from vqkit.quantize.search import nearest, nearest_plain

SYSTEMS = {
    "VQ": lambda: VQ(12, 16),
    "VQ gradient": lambda: VQ(12, 16, update="gradient"),
    "VQ cvq": lambda: VQ(12, 16, update="gradient", revive="cvq"),
    "VQ ema cvq": lambda: VQ(12, 16, revive="cvq"),
    "RVQ dropout": lambda: RVQ(12, 16, 3, stage_dropout=0.5),
    "PVQ": lambda: PVQ(12, 16, 3),
    "GroupedRVQ": lambda: GroupedRVQ(12, 16, 2, 2),
    "IVQ": lambda: IVQ(12),
    "IVQ paper": lambda: IVQ.paper(12),
    "LooC": lambda: LooC(12, 16, 4, scale=2, spatial_dims=1),
    "FSQ": lambda: FSQ(12, [5, 5, 5]),
    "LFQ": lambda: LFQ(12, 6),
    "mixed": lambda: Residual([VQ(12, 8), FSQ(12, [5, 5])]),
}


def batches(count: int = 4, vectors: int = 64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(2, vectors, 12, generator=generator) + 1 for _ in range(count)]


def trained(name: str) -> Quantizer:
    torch.manual_seed(0)
    quantizer = SYSTEMS[name]().train()
    for z in batches(3):
        quantizer(z)
    return quantizer


def state(quantizer: Quantizer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_loader_that_fills_tensors_in_place_gives_the_same_quantizer(name):
    source = trained(name)
    with torch.device("meta"):
        target = SYSTEMS[name]()
    target.to_empty(device="cpu")
    with torch.no_grad():
        for key, value in target.state_dict().items():
            value.copy_(source.state_dict()[key])
    z = batches(1)[0]
    assert torch.equal(target.eval()(z).z_q, source.eval()(z).z_q)
    torch.manual_seed(1)
    target.train()(z)  # a start by k-means would throw the codes away
    torch.manual_seed(1)
    source.train()(z)
    assert_same(state(target), state(source))


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("how", ["freeze", "requires_grad_"])
def test_a_frozen_quantizer_learns_nothing_until_it_is_unfrozen(name, how):
    quantizer = trained(name)
    before = state(quantizer)
    quantizer.freeze() if how == "freeze" else quantizer.requires_grad_(False)
    for _ in range(3):
        quantizer.eval().train()
        for z in batches(2):
            quantizer(z)
    assert_same(state(quantizer), before)
    quantizer.unfreeze()
    for z in batches(2):
        quantizer(5 * z)
    if any("ema" in key for key in before):
        assert any(not torch.equal(value, before[key]) for key, value in state(quantizer).items())


def test_a_frozen_codebook_is_not_started_by_kmeans():
    quantizer = VQ(12, 16).freeze().train()
    before = state(quantizer)
    quantizer(batches(1)[0])
    assert_same(state(quantizer), before)
    assert not quantizer.codebook.initialized


@pytest.mark.parametrize("name", SYSTEMS)
def test_batches_without_a_real_vector_change_no_state(name):
    quantizer = trained(name)
    before = state(quantizer)
    for z in batches(40, vectors=3):
        quantizer(z, torch.zeros(2, 3, dtype=torch.bool))
    assert_same(state(quantizer), before)


@pytest.mark.parametrize("name", SYSTEMS)
def test_deferred_learning_equals_one_joined_batch(name):
    if "dropout" in name:
        pytest.skip("draws the stages to drop for each forward")
    one = trained(name)
    four = copy.deepcopy(one).defer_learning()
    parts = batches(4)
    torch.manual_seed(3)
    one(torch.cat(parts))
    before = state(four)
    for z in parts:
        four(z)
    assert_same(state(four), before)
    torch.manual_seed(3)
    four.apply_learning()
    for (key, found), expected in zip(state(four).items(), state(one).values(), strict=True):
        torch.testing.assert_close(found, expected, msg=key)
    after = state(four)
    four.apply_learning()  # nothing was gathered since
    assert_same(state(four), after)


def test_learning_is_applied_only_where_it_was_deferred():
    with pytest.raises(RuntimeError, match="call defer_learning"):
        VQ(4, 8).apply_learning()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_a_codebook_that_learns_is_refused_and_deferred_learning_makes_it_right(reentrant):
    def step(quantizer, again):
        torch.manual_seed(5)
        layer = torch.nn.Linear(12, 12)
        z = batches(1)[0].requires_grad_(True)

        def run(x):
            out = quantizer(layer(x))
            return out.z_q.square().mean() + out.loss

        loss = checkpoint(run, z, use_reentrant=reentrant) if again else run(z)
        loss.backward()
        return layer.weight.grad

    with pytest.raises(RuntimeError, match="would learn twice: call quantizer.defer_learning"):
        step(trained("VQ"), again=True)
    plain, deferred = trained("VQ"), trained("VQ").defer_learning()
    expected, found = step(plain, again=False), step(deferred, again=True)
    deferred.apply_learning()
    assert torch.equal(found, expected)
    for (key, value), other in zip(state(deferred).items(), state(plain).values(), strict=True):
        torch.testing.assert_close(value, other, msg=key)


@pytest.mark.parametrize("name", ["VQ", "VQ gradient", "VQ cvq", "PVQ", "IVQ"])
def test_a_training_step_compiles_to_one_graph_from_the_first_on(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    eager = SYSTEMS[name]().train()
    twin = copy.deepcopy(eager)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for z in batches(2):
        torch.manual_seed(4)
        expected = eager(z)
        torch.manual_seed(4)
        found = compiled(z)
        torch.testing.assert_close(found.z_q, expected.z_q)
    assert all(bool(value) for key, value in twin.state_dict().items() if key.endswith("initialized"))
    if "cvq" not in name:  # a graph draws its anchors with other random numbers
        for (key, value), other in zip(state(twin).items(), state(eager).values(), strict=True):
            torch.testing.assert_close(value, other, msg=key)


@pytest.mark.parametrize("levels", [[1024], [4096], [1023], [2], [2, 2, 2], [3, 2]])
def test_fsq_codes_stay_in_range_and_every_level_is_reached(levels):
    quantizer = FSQ(len(levels), levels).eval()
    z = torch.linspace(-20, 20, 20001)[None, :, None].expand(-1, -1, len(levels))
    codes = quantizer.encode(z)
    assert int(codes.min()) == 0
    assert int(codes.max()) == quantizer.code_sizes[0] - 1


def test_fsq_with_two_levels_is_alive_at_the_start():
    quantizer = FSQ(3, [2, 2, 2]).train()
    z = torch.randn(1, 1000, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = quantizer(z)
    assert len(out.codes.unique()) == 8
    out.z_q.sum().backward()
    assert float(z.grad.abs().median()) > 0.1


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_the_search_finds_the_nearest_code_far_from_the_origin(offset):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(64, 8, generator=generator) + offset
    x = torch.randn(2000, 8, generator=generator) + offset
    assert float((nearest(x, codes) != nearest_plain(x, codes)).float().mean()) < 0.002


def test_warnings_of_a_start_from_few_vectors_name_both_numbers():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantizer = VQ(4, 16).train()
        quantizer(torch.randn(1, 5, 4))
    assert "k-means of 16 codes from only 5 vectors" in str(caught[0].message)
    assert len(quantizer.codebook.weight.unique(dim=0)) == 16


def test_a_residual_with_an_interpolated_stage_is_fitted_stage_by_stage():
    z = torch.randn(4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    quantizer = Residual([VQ(8, 16), LooC(8, 16, 4, scale=2)])
    alone = VQ(8, 16).fit(z)
    quantizer.fit(z)
    first, second = quantizer.stages
    assert torch.equal(first.codebook.weight, alone.codebook.weight)
    rest = z - alone.decode(alone.encode(z))
    torch.testing.assert_close(
        state(second)["quantizer.quantizer.pieces.0.codebook.weight"],
        state(LooC(8, 16, 4, scale=2).fit(rest))["quantizer.quantizer.pieces.0.codebook.weight"],
    )
    errors = [float((quantizer.eval().decode(quantizer.encode(z), stages=n) - z).square().mean()) for n in (1, 2)]
    assert errors[1] < errors[0]


def test_pieces_that_look_at_neighbours_are_refused():
    with pytest.raises(ValueError, match="put Interpolated around the Product"):
        Product([LooC(4, 8, 2, scale=2), LooC(4, 8, 2, scale=2)])
