"""The contract: every quantizer × layout × dtype × mask."""

import copy
import functools

import pytest
import torch

import vqkit
from vqkit import (
    BSQ,
    FSQ,
    IVQ,
    LFQ,
    PVQ,
    RVQ,
    VQ,
    Bands,
    BlockTruncation,
    GainShape,
    GroupedRVQ,
    Interpolated,
    LloydMax,
    LooC,
    Multiscale,
    Product,
    Projected,
    QINCo,
    Quantizer,
    RandomProjection,
    Residual,
    ResidualFSQ,
    ResidualLFQ,
    Rotated,
    SimVQ,
    Stepped,
    SteppedFSQ,
    Sum,
    System,
    TurboQuant,
)
from vqkit.models.bridle.normalised import Normalised, each_stage_normalised

DIM = 24
LAYOUTS = {"sequence": (11,), "map": (4, 3), "volume": (3, 2, 4)}
DTYPES = [torch.float32, torch.bfloat16, torch.float16]

# each takes the number of spatial dims, which only interpolation needs
SYSTEMS = {
    "VQ": lambda n: VQ(DIM, 16),
    "VQ-1": lambda n: VQ(DIM, 1),
    "VQ-cosine": lambda n: VQ(DIM, 16, distance="cosine"),
    "VQ-ema-split": lambda n: VQ(DIM, 16, update="ema", init="kmeans", revive="split"),
    "VQ-ema-restart": lambda n: VQ(DIM, 16, update="ema", init="kmeans", revive="restart"),
    "VQ-cvq-closest": lambda n: VQ(DIM, 16, revive="cvq", anchor="closest"),
    "VQ-cvq-random": lambda n: VQ(DIM, 16, revive="cvq", anchor="random"),
    "VQ-cvq-probrandom": lambda n: VQ(DIM, 16, revive="cvq", anchor="probrandom", distance="cosine"),
    "FSQ": lambda n: FSQ(DIM, levels=[7, 5, 5]),
    "FSQ-even": lambda n: FSQ(DIM, levels=[8, 4, 2]),
    "FSQ-bare": lambda n: FSQ(DIM, levels=[3] * DIM),
    "LFQ": lambda n: LFQ(DIM, bits=10),
    "LFQ-bare": lambda n: LFQ(DIM, bits=DIM),
    "Residual": lambda n: Residual([VQ(DIM, 8), FSQ(DIM, levels=[4, 4], scale=0.5), LFQ(DIM, bits=3)]),
    "Product": lambda n: Product([VQ(10, 8), FSQ(8, levels=[5, 3]), LFQ(6, bits=6)]),
    "Product-shared": lambda n: Product.shared(VQ(6, 8), 4),
    "Residual-interpolated": lambda n: Residual([VQ(DIM, 8), Interpolated(VQ(DIM, 8), spatial_dims=n)]),
    "System": lambda n: System(Residual([LooC(DIM, 8, 4, scale=2, spatial_dims=n), VQ(DIM, 8)])),
    "Interpolated": lambda n: Interpolated(RVQ(DIM, 8, 2), scale=2, spatial_dims=n),
    "RVQ": lambda n: RVQ(DIM, 16, 3, stage_dropout=0.5),
    "PVQ": lambda n: PVQ(DIM, 16, 4),
    "GroupedRVQ": lambda n: GroupedRVQ(DIM, 8, 3, 2),
    "ResidualFSQ": lambda n: ResidualFSQ(DIM, [7, 5, 5], 3),
    "ResidualLFQ": lambda n: ResidualLFQ(DIM, 6, 3),
    "IVQ-yin-yang": lambda n: IVQ(DIM),
    "IVQ-bottom-up": lambda n: IVQ(DIM, variant="bottom-up"),
    "IVQ-top-down": lambda n: IVQ(DIM, variant="top-down", shared=False, contrast="paper"),
    "IVQ-4": lambda n: IVQ(DIM, lines=4, variant="bottom-up"),
    "IVQ-12": lambda n: IVQ(DIM, lines=12, flip="elements"),
    "VQ-rotation": lambda n: VQ(DIM, 16, gradient="rotation"),
    "VQ-nsvq": lambda n: VQ(DIM, 16, gradient="nsvq", update="gradient", diversity_weight=0.1),
    "VQ-diveq": lambda n: VQ(DIM, 16, gradient="diveq", assignment="drawn"),
    "VQ-soft": lambda n: VQ(DIM, 16, gradient="soft", update="gradient", orthogonality_weight=0.1),
    "VQ-unit": lambda n: VQ(DIM, 16, unit=True, assignment="balanced", temperature=0.1),
    "SimVQ": lambda n: SimVQ(DIM, 16),
    "RandomProjection": lambda n: RandomProjection(DIM, 32, code_dim=8),
    "BlockTruncation": lambda n: BlockTruncation(DIM // 2, 2, run=DIM // 4, low=-4.0, high=4.0),
    "LloydMax": lambda n: LloydMax(DIM, 2),
    "FSQ-clamp": lambda n: FSQ(DIM, levels=[7, 4, 3], bound="clamp", noise=0.5),
    "FSQ-sigmoid": lambda n: FSQ(DIM, levels=[7, 4, 3], bound="sigmoid"),
    "Normalised": lambda n: Normalised(RVQ(DIM, 8, 2)),
    "Normalised-through": lambda n: Normalised(VQ(DIM, 16), through=True),
    "Normalised-each-stage": lambda n: each_stage_normalised(RVQ(DIM, 8, 2)),
    "Normalised-interpolated": lambda n: Normalised(Interpolated(VQ(DIM, 8), spatial_dims=n)),
    "BSQ": lambda n: BSQ(DIM, 10),
    "Projected": lambda n: Projected(DIM, RVQ(6, 8, 2), bound="sphere"),
    "Rotated": lambda n: Rotated(PVQ(DIM, 8, 4), seed=3),
    "GainShape": lambda n: GainShape(VQ(1, 8), RVQ(DIM, 8, 2)),
    "TurboQuant": lambda n: TurboQuant(DIM, 3),
    "RVQ-beam": lambda n: RVQ(DIM, [16, 8, 4], 3, beam=4, stage_dropout=0.5),
    "ResidualFSQ-each": lambda n: ResidualFSQ(DIM, [7, 5, 5], 3, grids="each"),
    "Rotated-balanced": lambda n: Rotated(PVQ(DIM, 8, 4), method="balanced"),
    "RVQ-shared": lambda n: RVQ(DIM, 16, 3, shared=True),
    "Bands": lambda n: Bands([RVQ(10, 8, 2), Product([VQ(6, 8), FSQ(8, levels=[5, 3])])]),
    "Stepped": lambda n: Stepped(Bands([VQ(8, 16), FSQ(16, [9] * 16, scale=4.5, bound="clamp")]), steps=[0.5, 0.7]),
    "SteppedFSQ": lambda n: SteppedFSQ([[[[5] * 4] * 2, [[9, 9]] * 4], [[[3] * 4] * 4]], steps=[0.3, 0.5, 0.8]),
    "Sum": lambda n: Sum(DIM, [VQ(6, 16), RVQ(6, 8, 2)]),
    "Sum-same-dim": lambda n: Sum(DIM, [VQ(DIM, 16), FSQ(8, [5] * 8)]),
    "Multiscale-SNAC": lambda n: Multiscale([VQ(DIM, 8), RVQ(DIM, 8, 2), VQ(DIM, 8)], sizes=(1, 2, 4), spatial_dims=n),
    "Multiscale-VAR": lambda n: Multiscale(
        [VQ(DIM, 16)], sizes=(1, 2, 3, 4), spatial_dims=n, upsample="cubic", smoothing=2
    ),
    "Multiscale-chain": lambda n: Multiscale(
        [Projected(DIM, VQ(6, 8)), FSQ(DIM, [5, 5])], sizes=(1, 2), spatial_dims=n, upsample="linear"
    ),
    "QINCo": lambda n: QINCo(DIM, 16, 3, hidden=16),
    "QINCo-beam": lambda n: QINCo(DIM, 16, 3, hidden=16, blocks=2, beam=3, candidates=4),
    "LooC": lambda n: LooC(DIM, 16, 4),
    "LooC-2": lambda n: LooC(DIM, 16, 4, scale=2, spatial_dims=n),
    "LooC-folded": lambda n: LooC(DIM, 16, 4, scale=2, spatial_dims=n, grouping="folded", distance="cosine"),
}


@functools.cache
def trained(name: str, layout: str) -> tuple[Quantizer, torch.Tensor]:
    """A quantizer after two steps, so that nothing is in its initial state, and the random generator's state behind them."""
    torch.manual_seed(0)
    quantizer = SYSTEMS[name](len(LAYOUTS[layout]))
    z = latents(layout, batch=8)
    quantizer.train()
    with torch.no_grad():
        quantizer(z)
        quantizer(z)
    return quantizer.eval(), torch.get_rng_state()


def build(name: str, layout: str = "sequence") -> Quantizer:
    """A copy, since the two steps take longer than most tests of what they lead to."""
    quantizer, after = trained(name, layout)
    torch.set_rng_state(after)
    return copy.deepcopy(quantizer)


def latents(layout: str = "sequence", dtype: torch.dtype = torch.float32, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *LAYOUTS[layout], DIM, generator=generator).to(dtype)


def padding(layout: str, batch: int = 3) -> torch.Tensor:
    """Item i has i positions fewer along the first spatial dim (all real at item 0)."""
    mask = torch.ones(batch, *LAYOUTS[layout], dtype=torch.bool)
    for item in range(batch):
        mask[item, LAYOUTS[layout][0] - item :] = False
    return mask


def state(quantizer: Quantizer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


every_system = pytest.mark.parametrize("name", SYSTEMS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@every_system
@every_layout
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_evaluation_is_decode_of_encode_bit_for_bit(name, layout, dtype, masked):
    quantizer, z = build(name, layout), latents(layout, dtype)
    mask = padding(layout) if masked else None
    before = state(quantizer)
    out = quantizer(z, mask)
    codes = quantizer.encode(z, mask)
    decoded = quantizer.decode(codes)
    assert torch.equal(out.codes, codes)
    assert out.z_q.dtype == dtype
    assert out.z_q.shape == z.shape
    assert torch.equal(out.z_q, decoded.to(dtype))
    assert decoded.dtype == quantizer.dtype == torch.float32
    assert codes.dtype == torch.int64
    assert codes.shape == (*z.shape[:-1], quantizer.num_codes)
    real = torch.ones(z.shape[:-1], dtype=torch.bool) if mask is None else mask
    full = torch.tensor(quantizer.code_density) == 1  # a coarse scale has no code at most positions
    assert (codes[real][:, full] >= 0).all()
    assert (codes[real] < torch.tensor(quantizer.code_sizes)).all()
    assert (codes[~real] == -1).all()
    assert (out.z_q[~real] == 0).all()
    assert same(before, state(quantizer))
    assert torch.allclose(out.loss, sum(out.losses.values(), torch.zeros(())))


@every_system
@every_layout
def test_shapes_go_through_where_there_are_no_values(name, layout):
    """As those of PyTorch's layers do: tools that count operations or plan memory have no more."""
    z = latents(layout).to("meta")
    quantizer = build(name, layout).to("meta")
    with torch.no_grad():
        codes, out = quantizer.encode(z), quantizer(z)
        assert out.z_q.shape == quantizer.decode(codes).shape == z.shape
    assert out.codes.shape == codes.shape == (*z.shape[:-1], quantizer.num_codes)
    assert codes.is_meta


@every_system
@every_layout
def test_half_precision_codebook(name, layout):
    quantizer, z = build(name, layout).to(torch.bfloat16), latents(layout)
    decoded = quantizer.decode(quantizer.encode(z))
    assert decoded.dtype == quantizer.dtype
    assert torch.equal(quantizer(z).z_q, decoded.float())


@every_system
@every_layout
def test_a_batch_gives_what_its_items_give_alone(name, layout, record_property):
    quantizer, z, mask = build(name, layout), latents(layout), padding(layout)
    codes, out = quantizer.encode(z, mask), quantizer(z, mask)
    near_ties = total = 0
    for item in range(len(z)):
        length = LAYOUTS[layout][0] - item
        alone = quantizer.encode(z[item : item + 1, :length])
        differ = (alone[0] != codes[item, :length]).any(dim=-1)
        near_ties, total = near_ties + int(differ.sum()), total + differ.numel()
        torch.testing.assert_close(quantizer.decode(alone)[0][~differ], out.z_q[item, :length][~differ])
    record_property("near_ties", near_ties)
    assert near_ties <= 0.02 * total


@every_system
@every_layout
def test_masked_positions_influence_nothing(name, layout):
    z, mask = latents(layout), padding(layout)
    other = torch.where(mask[..., None], z, torch.nan)
    results = []
    for value in (z, other):
        quantizer = build(name, layout).train()
        x = value.clone().requires_grad_()
        torch.manual_seed(3)
        out = quantizer(x, mask)
        (out.loss + out.z_q.square().sum()).backward()
        results.append(
            (out, x.grad, state(quantizer), {n: p.grad for n, p in quantizer.named_parameters() if p.grad is not None})
        )
    (a, grad_a, state_a, grads_a), (b, grad_b, state_b, grads_b) = results
    assert torch.equal(a.z_q, b.z_q)
    assert torch.equal(a.codes, b.codes)
    assert torch.equal(a.loss, b.loss)
    assert torch.equal(grad_a, grad_b)
    assert (grad_a[~mask] == 0).all()
    assert same(state_a, state_b)
    assert same(grads_a, grads_b)


@every_system
def test_an_all_masked_batch_teaches_nothing(name):
    quantizer, z = build(name).train(), latents().requires_grad_()
    before = state(quantizer)
    out = quantizer(z, torch.zeros(z.shape[:-1], dtype=torch.bool))
    assert (out.z_q == 0).all()
    assert (out.codes == -1).all()
    assert torch.isfinite(out.loss)
    assert same(before, state(quantizer))  # every statistic too, or codes would be thrown away later
    pull = out.loss + out.z_q.sum()
    if pull.requires_grad:
        pull.backward()
        assert z.grad is None or not z.grad.any()
    if not isinstance(quantizer, IVQ) and name != "VQ-soft":  # they have losses about codes, not about vectors
        assert all(p.grad is None or not p.grad.any() for p in quantizer.parameters())


@every_system
def test_the_straight_through_gradient_passes_unchanged(name):
    """Where it does not, it is that of a plain twin: test_gradient_definition.py."""
    quantizer = build(name).train()
    if quantizer.straight_through:
        z = latents().requires_grad_()
        weight = torch.randn_like(z)
        (grad,) = torch.autograd.grad((quantizer(z).z_q * weight).sum(), z)
        assert torch.equal(grad, weight)


@every_system
def test_state_dict_round_trip(name):
    quantizer, z = build(name), latents()
    torch.manual_seed(99)
    other = SYSTEMS[name](1)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.eval()(z).z_q, quantizer(z).z_q)
    trained, loaded = copy.deepcopy(quantizer).train(), other.train()
    for one in (trained, loaded):  # the state that training needs came along: the next step is the same
        torch.manual_seed(7)
        one(z)
    assert same(state(trained), state(loaded))


@every_system
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_save_pretrained_round_trip(name, dtype, tmp_path):
    quantizer, z = build(name).to(dtype), latents()
    quantizer.save_pretrained(tmp_path / "q")
    other = Quantizer.from_pretrained(tmp_path / "q")
    assert type(other) is type(quantizer)
    assert other.code_sizes == quantizer.code_sizes
    assert other.dtype == quantizer.dtype
    assert torch.equal(other(z).z_q, quantizer(z).z_q)
    assert torch.equal(type(quantizer).from_pretrained(tmp_path / "q").encode(z), quantizer.encode(z))
    assert sorted(path.name for path in (tmp_path / "q").iterdir()) == ["config.json", "model.safetensors"]


@every_system
def test_the_search_runs_in_float32_under_autocast(name):
    quantizer, z = build(name), latents()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = quantizer(z)
        codes = quantizer.encode(z)
    outside = quantizer(z)
    assert torch.equal(inside.codes, outside.codes)
    assert torch.equal(codes, outside.codes)
    assert torch.equal(inside.z_q, outside.z_q)


@every_system
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_inf_are_refused(name, bad):
    quantizer, z = build(name), latents()
    z[1, 2, 3] = bad
    with pytest.raises(ValueError, match="1 NaN or Inf"):
        quantizer(z)
    with pytest.raises(ValueError, match="1 NaN or Inf"):
        quantizer.encode(z)
    with pytest.raises(ValueError, match="1 NaN or Inf"):
        quantizer.train()(z)
    quantizer.check_training_input = False
    quantizer(z)  # the switch: no check, no sync
    with pytest.raises(ValueError, match="1 NaN or Inf"):
        quantizer.eval()(z)


@every_system
def test_wrong_input_is_refused(name):
    quantizer, z = build(name), latents()
    with pytest.raises(ValueError, match=rf"\(batch, \*spatial, {DIM}\), got shape \(3, 11, 23\)"):
        quantizer(z[..., :-1])
    with pytest.raises(ValueError, match="got shape"):
        quantizer.encode(z[0, 0])
    with pytest.raises(TypeError, match=r"floating dtype, got torch\.int64"):
        quantizer(z.long())
    with pytest.raises(TypeError, match=r"mask must be bool .* got torch\.float32"):
        quantizer(z, torch.ones(3, 11))
    with pytest.raises(ValueError, match=r"mask must have the shape \(3, 11\)"):
        quantizer(z, torch.ones(3, 10, dtype=torch.bool))
    codes = quantizer.encode(z)
    for value in (quantizer.code_sizes[0], -2):
        wrong = codes.clone()
        wrong[0, 0, 0] = value
        with pytest.raises(ValueError, match=f"code {value} at position 0 is out of range"):
            quantizer.decode(wrong)
    with pytest.raises(TypeError, match=r"codes must be integers, got torch\.float32"):
        quantizer.decode(codes.float())
    with pytest.raises(ValueError, match="codes must be"):
        quantizer.decode(torch.cat([codes, codes], dim=-1))
    with pytest.raises(ValueError, match=f"stages must be in 1 … {quantizer.num_stages}, got 0"):
        quantizer.decode(codes, stages=0)


@every_system
@every_layout
@pytest.mark.parametrize("empty", [0, 1, -2], ids=["batch", "first side", "last side"])
def test_nothing_gives_nothing(name, layout, empty):
    quantizer, z = build(name, layout), latents(layout).narrow(empty, 0, 0).requires_grad_()
    for mask in (None, torch.ones(z.shape[:-1], dtype=torch.bool)):
        out, codes = quantizer(z, mask), quantizer.encode(z, mask)
        assert out.z_q.shape == quantizer.decode(codes).shape == z.shape
        assert out.codes.shape == codes.shape == (*z.shape[:-1], quantizer.num_codes)
        assert codes.dtype == torch.int64
        assert torch.isfinite(out.loss)
        first = quantizer.encode(z, mask, stages=1)
        assert first.shape == (*z.shape[:-1], quantizer.codes_per_stage[0])
        assert quantizer.decode(first).shape == z.shape
    out.z_q.sum().backward()
    assert z.grad.shape == z.shape


@every_system
@every_layout
def test_the_first_stages_decode_alone(name, layout):
    quantizer, z = build(name, layout), latents(layout)
    codes = quantizer.encode(z)
    for stages in range(1, quantizer.num_stages + 1):
        prefix = codes[..., : sum(quantizer.codes_per_stage[:stages])]
        assert torch.equal(quantizer.decode(prefix), quantizer.decode(codes, stages=stages))
    assert torch.equal(quantizer.decode(codes, stages=quantizer.num_stages), quantizer.decode(codes))


@every_system
def test_the_first_stages_are_found_alone(name):
    """As the codes of all stages begin; a beam may find better ones for fewer stages."""
    layout = "map"
    quantizer, z, mask = build(name, layout), latents(layout), padding(layout)
    codes = quantizer.encode(z, mask)
    for stages in range(1, quantizer.num_stages + 1):
        prefix, first = quantizer.first_stages(codes, stages), quantizer.encode(z, mask, stages=stages)
        if "beam" in name and stages < quantizer.num_stages:
            assert torch.equal(first < 0, prefix < 0)
            errors = [(z - quantizer.decode(found))[first[..., 0] >= 0].square().sum() for found in (first, prefix)]
            assert errors[0] <= errors[1] + 1e-5
        else:
            assert torch.equal(first, prefix)
    for stages in (0, quantizer.num_stages + 1):
        with pytest.raises(ValueError, match=f"stages must be in 1 … {quantizer.num_stages}, got {stages}"):
            quantizer.encode(z, stages=stages)


@every_system
def test_rate_and_size_add_up(name):
    quantizer = build(name)
    assert sum(quantizer.codes_per_stage) == quantizer.num_codes == len(quantizer.code_sizes)
    density = torch.tensor(quantizer.code_density, dtype=torch.float64)
    expected = float((density * torch.tensor(quantizer.code_sizes, dtype=torch.float64).log2()).sum())
    assert quantizer.bits_per_vector == pytest.approx(expected)
    assert quantizer.codebook_numel == sum(table.numel() for table in quantizer.codebooks)
    codebooks = [m.weight.numel() for m in quantizer.modules() if type(m).__name__ == "Codebook"]
    assert sum(codebooks) <= quantizer.codebook_numel


@every_system
def test_training_reduces_the_error(name):
    """After the vectors have moved, as a latent does while its encoder learns."""
    quantizer = build(name).train()
    learned = list(quantizer.parameters())
    tables = [module for module in quantizer.modules() if type(module).__name__ == "Codebook"]
    if name == "VQ-unit" or (not learned and not tables):
        pytest.skip("a grid without projections has nothing to learn, and codes of length 1 do not reach these vectors")
    optimizer = torch.optim.Adam(learned, 2e-2) if learned else None
    z = 0.5 * latents(batch=16) + 2
    if name.startswith("Normalised"):
        z = torch.nn.functional.normalize(z, dim=-1)  # what it makes is a direction

    def error() -> float:
        found = float((quantizer.eval()(z).z_q - z).detach().square().mean())
        quantizer.train()
        return found

    before = error()
    for step in range(32):
        torch.manual_seed(step)
        out = quantizer(z)
        quantizer.zero_grad()
        loss = out.loss + (out.z_q - z).square().mean()
        if optimizer is not None and loss.requires_grad:
            loss.backward()
            assert all(torch.isfinite(p.grad).all() for p in quantizer.parameters() if p.grad is not None)
            optimizer.step()
    assert error() < 0.6 * before


@every_system
def test_a_fit_is_better_than_the_mean(name):
    torch.manual_seed(0)
    quantizer, z = SYSTEMS[name](1), latents(batch=16)
    quantizer.fit(z, iterations=2 if name.startswith("QINCo") else 25)  # each of QINCo's is 40 steps of Adam
    fitted = float((quantizer.eval()(z).z_q - z).detach().square().mean())
    limit = {"VQ-1": 1.001, "QINCo": 0.6, "QINCo-beam": 0.6}.get(name, 0.96)  # QINCo starts at 0.93
    assert fitted < limit * float(z.var(dim=(0, 1)).mean())


def test_every_public_quantizer_is_under_contract():
    public = {getattr(vqkit, name) for name in vqkit.__all__ if isinstance(getattr(vqkit, name), type)}
    quantizers = {kind for kind in public if issubclass(kind, Quantizer)} - {Quantizer}
    assert quantizers <= {type(make(1)) for make in SYSTEMS.values()}  # and those of models beside
