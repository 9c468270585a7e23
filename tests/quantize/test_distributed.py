"""Two processes learn over gloo what one does on their joined batch, bit-equal with each other; they start once for all tests."""

import collections
import tempfile
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from plain import IVQ, PVQ, RVQ, VQ, LooC
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vqkit import FSQ, LFQ, Quantizer, Residual, ResidualLFQ, ranks
from vqkit.quantize.joint import JointBatch
from vqkit.quantize.sampling import sample_rows

WORLD = 2
PLAIN = {"update": "gradient", "init": "uniform", "revive": "none"}
MANY = (1 << 24) + 3
EXCHANGED = {
    "sum_over_ranks": [11, 2, 33],
    "mean_over_ranks": [5.5, 1, 16.5],
    "max_over_ranks": [10, 2, 30],
    "gather_ranks": [[1, 2, 3], [10, 0, 30]],
    "from_first_rank": [1, 2, 3],
}
MAKERS = {
    "ema": lambda: VQ(4, 8, update="ema"),
    "kmeans": lambda: VQ(4, 8, update="ema", init="kmeans"),
    "kmeans-few": lambda: VQ(4, 64, update="gradient", init="kmeans"),
    "restart": lambda: VQ(4, 16, update="ema", revive="restart", restart_threshold=0.9, decay=0.5),
    "split": lambda: VQ(4, 16, update="ema", revive="split", restart_threshold=0.9, decay=0.5),
    "split-shared": lambda: RVQ(4, 8, 3, shared=True, revive="split", restart_threshold=0.9, decay=0.5),
    "restart-gradient": lambda: VQ(4, 16, update="gradient", revive="restart", restart_threshold=0.9, decay=0.5),
    "cvq-closest": lambda: VQ(4, 16, update="gradient", revive="cvq", anchor="closest"),
    "cvq-random": lambda: VQ(4, 16, update="gradient", revive="cvq", anchor="random"),
    "cvq-probrandom": lambda: VQ(4, 16, revive="cvq", anchor="probrandom", update="ema"),
    "rvq-shared": lambda: RVQ(4, 8, 3, shared=True, update="ema", init="kmeans", revive="restart"),
    "rvq": lambda: RVQ(4, 8, 3, update="ema", init="kmeans", revive="restart"),
    "pvq-kmeans": lambda: PVQ(4, 8, 2, update="gradient", init="kmeans"),
    "looc": lambda: LooC(4, 8, 2),
    "ivq": lambda: IVQ(12, hierarchy_weight=0, structure_weight=0, init="kmeans", revive="restart"),
}
# items of a step that rank 0 takes; the rest is rank 1's: uneven, with masks, all masked on one rank, and no item at all on the other
STEPS = {
    "uneven": (2, [13, 9, 13, 4]),
    "masked": (1, [12, 0, 0, 0]),
    "empty": (0, [13, 2, 13, 7]),
    "even": (2, [13] * 4),
}

DEFERRED = ["kmeans", "restart-gradient", "split", "cvq-probrandom", "rvq", "ivq"]

LOSSES = {
    "vq": lambda: VQ(4, 8, **PLAIN),
    "rvq-dropout": lambda: RVQ(4, 8, 3, stage_dropout=0.5, **PLAIN),
    "nested-dropout": lambda: Residual(
        [RVQ(4, 8, 3, stage_dropout=0.5, **PLAIN), LFQ(4, 4), VQ(4, 4, **PLAIN)], stage_dropout=0.5
    ),
    "lfq": lambda: LFQ(4, 4, entropy_weight=1.0, diversity=2.0),
    "lfq-factors": lambda: LFQ(4, 18, entropy_weight=1.0),
    "residual-lfq": lambda: ResidualLFQ(4, 5, 2),
    "ivq": lambda: IVQ(12, hierarchy_weight=0.1, structure_weight=0.1, **PLAIN),
    "looc": lambda: LooC(4, 8, 2, scale=2, spatial_dims=1, **PLAIN),
}

SHARDED = {
    "kmeans": lambda: VQ(4, 9, update="gradient", init="kmeans"),
    "restart": lambda: VQ(4, 9, update="gradient", revive="restart", restart_threshold=0.9, decay=0.5),
    "cvq": lambda: RVQ(4, 9, 2, update="gradient", init="kmeans", revive="cvq"),
    "deferred": lambda: RVQ(4, 9, 2, update="gradient", init="kmeans", revive="restart").defer_learning(),
    "split": lambda: VQ(4, 9, update="gradient", revive="split", restart_threshold=0.9, decay=0.5),
    "ema": lambda: VQ(4, 9, update="ema", init="kmeans", revive="restart", restart_threshold=0.9, decay=0.5),
}

WEIGHT = 8  # bytes of the count that weighs the losses


def step_bytes(stages: int, codes: int, dim: int, drawn: int) -> int:
    """docs/distributed.md: clusters, and with revival the counts of the ranks, what is drawn, and the vectors that are picked."""
    clusters = 4 * codes * (dim + 2)
    return WEIGHT + stages * (clusters + (drawn and 8 * WORLD + 4 * drawn * codes + 4 * codes * dim))


def start_bytes(codes: int, dim: int, iterations: int) -> int:
    """The k-means of a first step: the count, one draw and the vectors it picks, and clusters in each iteration."""
    return 8 + 4 * codes + 4 * codes * dim + iterations * 4 * codes * (dim + 2)


COUNTED = {  # what is called in a step, and its bytes
    "gradient": (lambda: RVQ(4, 8, 8, **PLAIN), 1, WEIGHT),
    "fsq": (lambda: FSQ(4, [5, 5, 5, 5]), 0, 0),
    "lfq": (lambda: LFQ(4, 4), 2),
    "dropout": (lambda: RVQ(4, 8, 8, stage_dropout=0.5, **PLAIN), 2, WEIGHT + 9 * 8),
    "ema": (lambda: RVQ(4, 8, 8, **PLAIN | {"update": "ema"}), 1 + 1, step_bytes(8, 8, 4, 0)),
    "restart": (
        lambda: RVQ(4, 8, 8, **PLAIN | {"update": "ema", "revive": "restart"}),
        1 + 2,
        step_bytes(8, 8, 4, 2),
    ),
    "split": (lambda: RVQ(4, 8, 8, **PLAIN | {"update": "ema", "revive": "split"}), 1 + 2, step_bytes(8, 8, 4, 2)),
    "restart-32": (
        lambda: RVQ(4, 8, 32, **PLAIN | {"update": "ema", "revive": "restart"}),
        1 + 2,
        step_bytes(32, 8, 4, 2),
    ),
    "cvq": (lambda: RVQ(4, 8, 8, **PLAIN | {"revive": "cvq"}), 1 + 2, step_bytes(8, 8, 4, 3)),
    "ivq": (lambda: IVQ(12, shared=False, **PLAIN | {"update": "ema"}), 1 + 1, step_bytes(24, 2, 2, 0)),
    "kmeans": (
        lambda: VQ(4, 1, **PLAIN | {"init": "kmeans"}),
        1 + 3 + 2,  # one code: the second iteration finds it where it was
        WEIGHT + start_bytes(1, 4, 2),
    ),
}


def make(name: str) -> Quantizer:
    torch.manual_seed(0)
    return MAKERS[name]().train()


def batches(dim: int) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """The steps: items of rank 0, latents of both, and their masks."""
    generator = torch.Generator().manual_seed(2)
    return [
        (first, torch.randn(4, 13, dim, generator=generator) + 0.3, torch.arange(13) < torch.tensor(lengths)[:, None])
        for first, lengths in STEPS.values()
    ]


def own(first: int) -> slice:
    return slice(0, first) if dist.get_rank() == 0 else slice(first, None)


def tables(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


# --- what both processes do


def histories() -> dict[str, list[dict[str, torch.Tensor]]]:
    found = collections.defaultdict(list)
    for name, quantizer in BUILT.items():
        torch.manual_seed(100 if dist.get_rank() == 0 else 12345)  # what the other rank draws must not matter
        for first, z, mask in batches(quantizer.dim):
            quantizer(z[own(first)], mask[own(first)])
            found[name].append(tables(quantizer))
    return dict(found)


def one_rank_alone() -> dict[str, torch.Tensor]:
    """Evaluation, encoding and fitting call no collective."""
    if dist.get_rank() == 0:
        return {}
    quantizer = make("ema").eval()
    quantizer(torch.randn(1, 3, 4))
    quantizer.encode(torch.randn(1, 3, 4))
    LFQ(4, 4).eval()(torch.randn(1, 3, 4))
    return tables(make("rvq").fit(vectors()))


def fits() -> dict[str, torch.Tensor]:
    return tables(make("rvq").fit(vectors()))


def joint_fits() -> dict[str, dict[str, torch.Tensor]]:
    """Fits to what the ranks hold together: uneven, nothing on one of them, and a sample."""
    found = {}
    for name, first in {"uneven": 90, "empty": 0}.items():
        chunks = [chunk for chunk in vectors()[own(first)].split(40) if len(chunk)]
        found[name] = tables(make("rvq").fit(chunks, joint=True))
    sampled = FSQ(4, [5, 5]).fit(vectors()[own(90)], max_vectors=50, joint=True)
    torch.manual_seed(dist.get_rank())
    rows = sample_rows([torch.arange(1000.0)[own(900), None]], 500, joint=True)
    return {**found, "sampled": tables(sampled), "rows": {"rows": rows}}


def losses() -> dict[str, list[dict[str, torch.Tensor]]]:
    return {name: learned(name) for name in LOSSES}


def sharded() -> dict[str, list[dict[str, torch.Tensor]]]:
    from torch.distributed.fsdp import fully_shard

    return {name: trained(name, fully_shard, own) for name in SHARDED}


def deferred() -> dict[str, list[dict[str, torch.Tensor]]]:
    """Steps of two forwards on each rank, of uneven sizes, some of them all masked or empty."""
    found = {}
    for name in DEFERRED:
        quantizer = make(name).defer_learning()
        found[name] = []
        for turn, (first, z, mask) in enumerate(batches(quantizer.dim)):
            for part in (slice(0, 1), slice(1, None)):
                quantizer(z[own(first)][part], mask[own(first)][part])
            torch.manual_seed(turn if dist.get_rank() == 0 else 12345)
            quantizer.apply_learning()
            found[name].append(tables(quantizer))
    return found


def sharded_in_half() -> dict[str, torch.Tensor]:
    """What is gathered in bfloat16 must not round the codes that stay."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    torch.manual_seed(0)
    quantizer = SHARDED["restart"]()
    before = quantizer.codebook.weight.detach().clone()
    model = fully_shard(nn.Sequential(quantizer), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    _, z, _ = batches(4)[0]
    model(z[own(2)])
    return {"before": before, "after": whole(model)["0.codebook.weight"], "usage": quantizer.codebook.usage}


def sharded_elsewhere() -> dict[str, list[str] | torch.Tensor]:
    """Outside the forward pass of the sharded module there is no codebook to search."""
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard, register_fsdp_forward_method

    torch.manual_seed(0)
    quantizer = VQ(4, 9)
    _, z, _ = batches(4)[0]
    expected = quantizer.encode(z)
    fully_shard(quantizer)
    messages = []
    for call in (lambda: quantizer.encode(z), lambda: quantizer.decode(expected), lambda: quantizer.fit(vectors())):
        with pytest.raises(RuntimeError) as error:
            call()
        messages.append(str(error.value))
    with tempfile.TemporaryDirectory() as folder, pytest.raises(RuntimeError) as unsaved:
        quantizer.save_pretrained(folder)
    flat = FullyShardedDataParallel(nn.Sequential(SHARDED["kmeans"]()), device_id=torch.device("cpu"))
    with pytest.raises(RuntimeError) as error:
        flat(z)
    register_fsdp_forward_method(quantizer, "encode")
    return {
        "messages": messages,
        "saving": str(unsaved.value),
        "flat": str(error.value),
        "codes": quantizer.encode(z),
        "expected": expected,
    }


def loaded_on_the_first_rank() -> dict[str, dict[str, torch.Tensor]]:
    """Rank 0 loads a codebook, the others get it from DDP, with what says that it is initialised."""
    quantizer = VQ(4, 8, update="gradient", init="kmeans").train()
    if dist.get_rank() == 0:
        quantizer.load_state_dict(tables(VQ(4, 8, update="gradient", init="kmeans").fit(vectors())))
    before = tables(quantizer)
    parallel = DistributedDataParallel(quantizer)
    parallel(torch.randn(2, 5, 4)).loss.backward()
    return {"before": before, "after": tables(quantizer)}


def collectives() -> dict[str, list[int]]:
    """How often a training step calls each of the functions that exchange something, and how many bytes each rank gives."""
    found = {}
    for name, (maker, *_) in COUNTED.items():
        quantizer, calls = maker().train(), []
        with pytest.MonkeyPatch.context() as patch:
            for function in ("all_reduce", "all_gather", "broadcast"):
                patch.setattr(dist, function, counting(getattr(dist, function), calls))
            quantizer(torch.randn(2, 5, quantizer.dim))
        found[name] = [len(calls), sum(calls)]
    return found


def many_vectors() -> torch.Tensor:
    """More in one code than float32 counts one by one."""
    x, codes = torch.ones(1, 1).expand(MANY, 1), torch.zeros(1, dtype=torch.long).expand(MANY)
    return JointBatch(x).cluster(codes, 2)[0]


def exchanged() -> dict[str, torch.Tensor]:
    """What each function of `vqkit.ranks` makes of a tensor that differs between ranks; their own is left as it was."""
    value = torch.tensor([[1, 2, 3], [10, 0, 30]])[dist.get_rank()]
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, dist.get_rank() + 1.0)
    ranks.follow_first_rank(layer)
    found = {name: getattr(ranks, name)(value) for name in EXCHANGED}
    return {**found, "followed": layer.weight.detach(), "own": value, "rank": torch.tensor(ranks.own_rank())}


def compiled() -> list[dict[str, torch.Tensor]]:
    """A step in one graph, with all that it exchanges, beside the same step without compilation."""
    _, z, mask = batches(4)[0]
    found = []
    for how in (lambda model: model, lambda model: torch.compile(model, backend="eager", fullgraph=True)):
        torch.manual_seed(0)
        stages = [
            VQ(4, 8, update="ema", revive="restart"),
            VQ(4, 8, update="gradient", revive="cvq", anchor="probrandom"),
            LFQ(4, 4),
        ]
        quantizer = Residual(stages, stage_dropout=0.5).train()
        torch.manual_seed(1)
        loss = how(quantizer)(z[own(2)], mask[own(2)]).loss
        found.append({"loss": loss.detach(), **tables(quantizer)})
    return found


def sharded_from_meta() -> dict[str, torch.Tensor]:
    """Built without memory, sharded, then filled from rank 0: the step after it learns into what lasts as well."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    filled = Autoencoder(SHARDED["restart"]()).state_dict() if dist.get_rank() == 0 else {}
    with torch.device("meta"):
        model = Autoencoder(SHARDED["restart"]()).train()
    fully_shard(model)
    model.to_empty(device="cpu")
    set_model_state_dict(model, filled, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    before = whole(model)
    _, z, _ = batches(4)[0]
    for _ in range(2):
        model(z[own(2)])
    return {"before": before["quantizer.codebook.weight"], "after": whole(model)["quantizer.codebook.weight"]}


def within_groups() -> dict[str, object]:
    """Each rank in a group of its own, as in a training that splits one model over ranks; and the second rank in none."""
    alone = [dist.new_group([rank]) for rank in range(WORLD)]
    with ranks.exchange_within(alone[dist.get_rank()]):
        learned = trained_alone()
        ranks_seen = ranks.num_ranks()
    value = torch.tensor([1.0 + dist.get_rank()])
    pair = dist.new_group([0, 1])
    with ranks.exchange_within(pair):
        total = ranks.sum_over_ranks(value)
        layer = nn.Linear(1, 1, bias=False)
        layer.weight.data.fill_(dist.get_rank())
        ranks.follow_first_rank(layer)
    message = ""
    try:
        with ranks.exchange_within(alone[1 - dist.get_rank()]):
            pass
    except ValueError as error:
        message = str(error)
    after = [total.item(), layer.weight.item(), ranks.num_ranks()]
    return {"learned": learned, "seen": ranks_seen, "after": after, "message": message}


def trained_alone(rank: int | None = None) -> dict[str, torch.Tensor]:
    rank = dist.get_rank() if rank is None else rank
    torch.manual_seed(rank)
    quantizer = RVQ(4, 8, 2, update="ema", init="kmeans", revive="restart").train()
    for _ in range(3):
        quantizer(torch.randn(2, 20, 4) + rank)
    return tables(quantizer)


SCENARIOS = [
    within_groups,
    histories,
    one_rank_alone,
    fits,
    joint_fits,
    losses,
    deferred,
    sharded,
    sharded_in_half,
    sharded_elsewhere,
    sharded_from_meta,
    loaded_on_the_first_rank,
    many_vectors,
    exchanged,
    compiled,
    collectives,
]
BUILT: dict[str, Quantizer] = {}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    BUILT.update({name: make(name) for name in MAKERS})  # built before the process group exists
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=60))
    results = {scenario.__name__: scenario() for scenario in SCENARIOS}
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both():
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore")
        patch.setenv("OMP_NUM_THREADS", "1")
        mp.spawn(worker, args=(folder,), nprocs=WORLD)
        yield [torch.load(f"{folder}/rank{rank}.pt", weights_only=True) for rank in range(WORLD)]


def test_ranks_exchange_within_the_group_that_is_given(both):
    for rank, found in enumerate(both):
        found = found["within_groups"]
        assert found["seen"] == 1
        for name, table in trained_alone(rank).items():
            assert torch.equal(table, found["learned"][name])
        assert found["after"] == [3.0, 0.0, WORLD]
        assert found["message"] == f"rank {rank} is not one of the process group that was given"


# --- what one process does as well


def vectors() -> torch.Tensor:
    return torch.randn(300, 4, generator=torch.Generator().manual_seed(5))


def counting(function, calls):
    def counted(*args, **kwargs):
        value = args[1] if function.__name__ == "all_gather" else args[0]
        calls.append(value.numel() * value.element_size())
        return function(*args, **kwargs)

    return counted


def by_content(self: Residual, x: torch.Tensor) -> torch.Tensor | None:
    """Stages that an element keeps, from its values instead of a random number: alike on whatever rank it is."""
    if not self.stage_dropout:
        return None
    return 1 + (x[:, 0, 0] * 1000).long().abs() % len(self.stages)


class Autoencoder(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.encoder, self.quantizer = nn.Linear(quantizer.dim, quantizer.dim), quantizer

    def forward(self, z, mask=None):
        return self.quantizer(self.encoder(z), mask)


def learned(name: str) -> list[dict[str, torch.Tensor]]:
    """Gradients of each step, those of DDP where there are ranks, and the losses."""
    torch.manual_seed(0)
    model = Autoencoder(LOSSES[name]()).train()
    call = DistributedDataParallel(model) if dist.is_initialized() else model
    found = []
    for first, z, mask in batches(model.quantizer.dim)[:3]:
        share = own(first) if dist.is_initialized() else slice(None)
        model.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Residual, "_kept_stages", by_content)
            out = call(z[share], mask[share])
        (out.loss + 0 * out.z_q.sum()).backward()
        values = {"loss": out.loss.detach(), **{f"loss {key}": value.detach() for key, value in out.losses.items()}}
        found.append(values | {key: value.grad.clone() for key, value in model.named_parameters()})
    return found


def whole(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: getattr(value, "full_tensor", value.clone)() for key, value in module.state_dict().items()}


def trained(name: str, wrap, own) -> list[dict[str, torch.Tensor]]:
    """State after each step of an encoder and a quantizer that learn by gradient and otherwise."""
    torch.manual_seed(0)
    model = Autoencoder(SHARDED[name]()).train()
    wrap(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    torch.manual_seed(100)
    found = []
    for first, z, _ in batches(4):
        share = own(first or 2)
        out = model(z[share])
        (out.z_q.square().mean() * len(z[share]) * (WORLD if dist.is_initialized() else 1) / 4 + out.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        if name == "deferred":
            model.quantizer.apply_learning()
        found.append(whole(model))
    return found


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=1e-5, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", MAKERS)
def test_ranks_are_bit_equal_after_each_step(name, both):
    for one, other in zip(*(rank["histories"][name] for rank in both), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:k-means of")
def test_two_ranks_equal_one_process_on_the_joined_batch(name, both):
    quantizer = make(name)
    torch.manual_seed(100)
    moved = False
    for (_, z, mask), expected in zip(batches(quantizer.dim), both[0]["histories"][name], strict=True):
        before = tables(quantizer)
        quantizer(z, mask)
        assert_close(tables(quantizer), expected)
        moved |= any(not torch.equal(before[key], value) for key, value in quantizer.state_dict().items())
    assert moved


@pytest.mark.parametrize("name", DEFERRED)
def test_deferred_learning_of_two_ranks_equals_one_forward_of_the_joined_batch(name, both):
    steps = zip(batches(make(name).dim), *(rank["deferred"][name] for rank in both), strict=True)
    quantizer = make(name)
    for turn, ((_, z, mask), one, other) in enumerate(steps):
        torch.manual_seed(turn)
        quantizer(z, mask)
        assert_equal(one, other)
        assert_close(one, tables(quantizer))


def test_a_fit_is_local(both):
    """On one rank alone it does not wait; on all of them with the same vectors it is the fit of one process, to the counts."""
    expected = tables(make("rvq").fit(vectors()))
    assert_equal(both[1]["one_rank_alone"], expected)
    for rank in both:
        assert_equal(rank["fits"], expected)


def test_a_joint_fit_is_that_of_one_process_on_all_vectors(both):
    expected = tables(make("rvq").fit(vectors(), joint=True))
    for rank in both:
        assert_equal(rank["joint_fits"]["uneven"], expected)
        assert_equal(rank["joint_fits"]["empty"], expected)


def test_a_joint_sample_is_uniform_and_the_same_on_all_ranks(both):
    one, other = (rank["joint_fits"] for rank in both)
    assert_equal(one["sampled"], other["sampled"])
    assert_equal(one["rows"], other["rows"])
    rows = one["rows"]["rows"].flatten()
    assert len(rows) == 500
    assert (rows.diff() > 0).all()
    assert 30 < (rows >= 900).sum() < 70  # of the 100 rows of rank 1 about half, as of the others


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_those_of_the_joined_batch(name, both):
    for expected, one, other in zip(learned(name), *(rank["losses"][name] for rank in both), strict=True):
        for key, value in expected.items():
            mean = (one[key] + other[key]) / 2 if "loss" in key else one[key]
            torch.testing.assert_close(mean, value, atol=1e-6, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
        assert any(value.abs().sum() > 0 for key, value in expected.items() if "loss" not in key)


@pytest.mark.parametrize("name", SHARDED)
def test_what_a_codebook_learns_outlasts_fully_shard(name, both):
    expected = trained(name, lambda model: model, lambda first: slice(None))
    for rank in both:
        for found, state in zip(rank["sharded"][name], expected, strict=True):
            assert_close(found, state)


def test_sharded_codes_that_stay_are_not_rounded(both):
    found = both[0]["sharded_in_half"]
    dead = found["usage"] == 1  # a revived code starts with its fair share
    assert 0 < dead.sum() < len(dead)
    assert torch.equal(found["before"][~dead], found["after"][~dead])
    assert (found["before"][dead] != found["after"][dead]).any(dim=1).all()


def test_what_a_codebook_learns_outlasts_loading_through_the_meta_device(both):
    one, other = (rank["sharded_from_meta"] for rank in both)
    assert_equal(one, other)
    assert (one["before"] != one["after"]).any(dim=1).sum() > 1


def test_a_sharded_codebook_says_where_it_can_be_used(both):
    found = both[0]["sharded_elsewhere"]
    assert all("register_fsdp_forward_method" in message for message in found["messages"])
    assert "codebook.weight is split over ranks (fully_shard), and only whole weights can be saved" in found["saving"]
    assert "use fully_shard instead, or update='ema'" in found["flat"]
    assert torch.equal(found["codes"], found["expected"])


def test_a_codebook_loaded_on_the_first_rank_is_initialised_on_all(both):
    for rank in both:
        assert_equal(rank["loaded_on_the_first_rank"]["after"], both[0]["loaded_on_the_first_rank"]["before"])


def test_counts_are_exact_beyond_what_float32_counts(both):
    assert both[0]["many_vectors"].tolist() == both[1]["many_vectors"].tolist() == [WORLD * MANY, 0]


@pytest.mark.parametrize("name", EXCHANGED)
def test_what_ranks_exchange(name, both):
    for index, rank in enumerate(both):
        assert rank["exchanged"][name].tolist() == EXCHANGED[name]
        assert rank["exchanged"]["own"].tolist() == EXCHANGED["gather_ranks"][index]
        assert rank["exchanged"]["rank"] == index
        assert (rank["exchanged"]["followed"] == 1).all()


def test_a_step_of_several_ranks_compiles_to_one_graph(both):
    for rank in both:
        assert_close(*rank["compiled"])


@pytest.mark.parametrize("name", COUNTED)
def test_collectives_of_a_step(name, both):
    """Their number, and their bytes as docs/distributed.md has them."""
    _maker, number, *size = COUNTED[name]
    for rank in both:
        assert rank["collectives"][name][0] == number
        if size:
            assert rank["collectives"][name][1] == size[0]
