"""The contract in training: every quantizer × what real training does to a module."""

import copy
import math

import pytest
import torch
from test_contract import SYSTEMS, build, latents, padding, same, state
from torch.utils.checkpoint import checkpoint

from vqkit import Quantizer
from vqkit.quantize.codebook import Codebook

every_system = pytest.mark.parametrize("name", SYSTEMS)

# a codebook of each way to learn, alone and inside combinators, before its first step
LEARNERS = {
    name: make
    for name, make in SYSTEMS.items()
    if any(isinstance(m, Codebook) and (m.learns_in_forward or m.init == "kmeans") for m in make(1).modules())
}


def fresh(name: str) -> Quantizer:
    torch.manual_seed(0)
    return SYSTEMS[name](1).train()


def codebooks(quantizer: Quantizer) -> list[Codebook]:
    return [module for module in quantizer.modules() if isinstance(module, Codebook)]


def learns(quantizer: Quantizer) -> bool:
    return any(codebook.learns_in_forward for codebook in codebooks(quantizer))


def train_step(quantizer: Quantizer, z: torch.Tensor, mask: torch.Tensor | None = None, seed: int = 7):
    torch.manual_seed(seed)
    z = z.clone().requires_grad_()
    out = quantizer(z, mask)
    (out.loss + out.z_q.square().sum()).backward()
    return out, z.grad


# outputs of a training forward that depend on its own draws or on the batch: stage dropout, noise, balanced codes
DRAWN = {"RVQ", "RVQ-beam", "VQ-nsvq", "VQ-diveq", "VQ-unit", "FSQ-clamp", "Stepped", "SteppedFSQ"}

# --- loaders


def through_meta(name, source):
    with torch.device("meta"):
        other = SYSTEMS[name](1)
    other.to_empty(device="cpu")
    other.load_state_dict(source.state_dict())
    return other


def in_place(name, source):
    """As weight averages and hand-written loaders do: no `load_state_dict`, the tensors are written to."""
    other = fresh(name)
    other.train()
    with torch.no_grad():
        for key, value in other.state_dict().items():
            value.copy_(source.state_dict()[key])
    return other


def in_data(name, source):
    other = fresh(name)
    for key, value in other.state_dict().items():
        value.data.copy_(source.state_dict()[key])
    return other


def replaced(name, source):
    """As transformers' `from_pretrained`: built on the meta device, then each tensor is set, and other buffers hold anything."""
    with torch.device("meta"):
        other = SYSTEMS[name](1)
    tensors = source.state_dict()
    for path, module in other.named_modules():
        for key in (*module._parameters, *module._buffers):
            if getattr(module, key) is None:
                continue
            value = tensors.get(
                f"{path}.{key}".lstrip("."), torch.full_like(getattr(module, key), 77, device="cpu")
            ).clone()
            setattr(module, key, torch.nn.Parameter(value) if key in module._parameters else value)
    return other


@every_system
@pytest.mark.parametrize("load", [through_meta, in_place, in_data, replaced])
def test_every_way_to_load_gives_the_same_quantizer(name, load):
    source, z = build(name), latents()
    loaded = load(name, source).eval()
    assert torch.equal(loaded.encode(z), source.encode(z))
    assert torch.equal(loaded(z).z_q, source(z).z_q)
    (a, grad_a), (b, grad_b) = train_step(source.train(), z), train_step(loaded.train(), z)  # and no k-means once more
    assert torch.equal(a.codes, b.codes)
    assert torch.equal(grad_a, grad_b)
    assert same(state(source), state(loaded))


# --- half precision


@every_system
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_rounds_tables_and_nothing_else(name, half):
    quantizer, z = build(name), latents()
    other = copy.deepcopy(quantizer).to(half)
    statistics = [key for key in quantizer.state_dict() if key.rpartition(".")[2] in ("usage", "ema_count", "ema_sum")]
    for key in statistics:
        assert torch.equal(other.state_dict()[key], quantizer.state_dict()[key])
    back = copy.deepcopy(other).float()
    rounded = copy.deepcopy(quantizer)
    with torch.no_grad():
        for key, value in rounded.state_dict().items():
            if key not in statistics and value.is_floating_point():
                value.copy_(value.to(half))
    assert torch.equal(back.encode(z), rounded.encode(z))  # so every constant is what it was
    assert torch.equal(back(z).z_q, rounded(z).z_q)
    assert torch.equal(other.encode(z), rounded.encode(z))  # and the search runs in float32


@every_system
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_half_precision_in_evaluation_and_training(name, half, dtype):
    quantizer, z = build(name).to(half), latents().to(dtype)
    mask = padding("sequence")
    out, codes = quantizer(z, mask), quantizer.encode(z, mask)
    decoded = quantizer.decode(codes)
    assert decoded.dtype == quantizer.dtype
    assert out.z_q.dtype == dtype
    assert torch.equal(out.codes, codes)
    assert torch.equal(out.z_q, decoded.to(dtype))
    out, grad = train_step(quantizer.train(), z, mask)
    assert out.z_q.dtype == grad.dtype == dtype
    assert out.loss.dtype == torch.float32
    assert torch.isfinite(grad).all()
    for codebook in codebooks(quantizer):
        assert codebook.usage.dtype == torch.float32
        assert codebook.ema_sum is None or codebook.ema_sum.dtype == codebook.ema_count.dtype == torch.float32


# --- freezing


def by_freeze(quantizer):
    return quantizer.freeze()


def by_requires_grad(quantizer):
    return quantizer.requires_grad_(False)


@every_system
@pytest.mark.parametrize("stop", [by_freeze, by_requires_grad])
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_a_frozen_quantizer_stays_as_it_is(name, stop, trained):
    quantizer = stop(build(name) if trained else fresh(name)).train()
    before = state(quantizer)
    model = torch.nn.Sequential(quantizer).eval().train()  # as a part of a larger model, whose mode changes
    for seed in range(3):
        _, grad = train_step(quantizer, latents(batch=8), seed=seed)
        assert torch.isfinite(grad).all()
    assert same(before, state(quantizer))
    assert all(parameter.grad is None for parameter in quantizer.parameters())
    if stop is by_freeze:  # an outer module that wants gradients again does not reach behind it
        model.requires_grad_(True)
        train_step(quantizer, latents(batch=8))
        assert same(before, state(quantizer))
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in quantizer.parameters())
    assert torch.equal(quantizer.eval()(latents()).z_q, quantizer.decode(quantizer.encode(latents())))
    quantizer.unfreeze().train()
    train_step(quantizer, 5 * latents(batch=8))
    if learns(quantizer) or (not trained and any(c.init == "kmeans" for c in codebooks(quantizer))):
        assert not same(before, state(quantizer))
    assert all(parameter.requires_grad for parameter in quantizer.parameters())


@pytest.mark.parametrize("name", LEARNERS)
def test_a_foreign_module_s_requires_grad_reaches_what_has_a_gradient(name):
    quantizer = fresh(name)
    if any(codebook.update == "ema" for codebook in codebooks(quantizer)):
        pytest.skip("moving averages have no gradient that could be switched off from outside")
    torch.nn.Sequential(quantizer).requires_grad_(False)
    before = state(quantizer)
    train_step(quantizer, latents(batch=8))
    assert same(before, state(quantizer))


# --- batches without a real vector


@every_system
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
@pytest.mark.parametrize("positions", [0, 11])
def test_a_batch_without_a_real_vector_changes_no_state(name, trained, positions):
    quantizer = (build(name) if trained else fresh(name)).train()
    before = state(quantizer)
    z = latents()[:, :positions]
    mask = torch.zeros(z.shape[:-1], dtype=torch.bool)
    for _ in range(3):
        out = quantizer(z, mask)
        assert (out.z_q == 0).all()
        assert (out.codes == -1).all()
        assert torch.isfinite(out.loss)
    assert same(before, state(quantizer))


# --- activation checkpointing


@every_system
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_is_exact_or_refused(name, reentrant):
    plain, checked = build(name).train(), build(name).train()
    z = latents()
    _, expected = train_step(plain, z)

    def again(x):
        out = checked(x)
        return out.loss + out.z_q.square().sum()

    torch.manual_seed(7)
    x = z.clone().requires_grad_()
    loss = checkpoint(again, x, use_reentrant=reentrant)
    if learns(checked):
        with pytest.raises(RuntimeError, match=r"would learn twice: call quantizer\.defer_learning\(\)"):
            loss.backward()
        return
    loss.backward()
    assert torch.equal(x.grad, expected)
    assert same(state(plain), state(checked))


@every_system
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_activation_checkpointing_of_deferred_learning_is_exact(name, reentrant, trained):
    make = build if trained else fresh
    plain, checked = make(name).train().defer_learning(), make(name).train().defer_learning()
    z = latents(batch=8)
    grads = []
    for quantizer, again in ((plain, False), (checked, True)):

        def run(x, quantizer=quantizer):
            out = quantizer(x)
            return out.loss + out.z_q.square().sum()

        torch.manual_seed(7)
        x = z.clone().requires_grad_()
        loss = checkpoint(run, x, use_reentrant=reentrant) if again else run(x)
        loss.backward()
        torch.manual_seed(8)
        quantizer.apply_learning()
        grads.append(x.grad)
    assert torch.equal(*grads)
    assert same(state(plain), state(checked))


# --- gradient accumulation


@every_system
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_deferred_learning_equals_one_joined_batch_bit_for_bit(name, masked, trained):
    make = build if trained else fresh
    joined, parts = make(name).train(), make(name).train().defer_learning()
    z, mask = latents(batch=8), padding("sequence", batch=8) if masked else None
    torch.manual_seed(3)
    whole = joined(z, mask)
    before = state(parts)
    outs = [parts(z[i : i + 2], None if mask is None else mask[i : i + 2]) for i in range(0, 8, 2)]
    if trained:  # a new codebook is started by the first forward for the time being
        assert same(before, state(parts))
    torch.manual_seed(3)
    parts.apply_learning()
    assert same(state(joined), state(parts))
    if trained and name not in DRAWN:
        assert torch.equal(torch.cat([out.codes for out in outs]), whole.codes)
        assert torch.equal(torch.cat([out.z_q for out in outs]), whole.z_q)
    after = state(parts)
    parts.apply_learning()  # nothing was gathered since
    assert same(after, state(parts))


# --- rates


@every_system
def test_stages_within_a_rate(name):
    quantizer = build(name)
    assert len(quantizer.stage_ends) == len(quantizer.stage_bits) == quantizer.num_stages
    assert quantizer.stage_ends[-1] == quantizer.num_codes
    assert quantizer.stage_bits[-1] == pytest.approx(quantizer.bits_per_vector)
    for stages, (end, bits) in enumerate(zip(quantizer.stage_ends, quantizer.stage_bits, strict=True), 1):
        assert quantizer.decode(quantizer.encode(latents())[..., :end]).shape == latents().shape
        pairs = zip(quantizer.code_sizes[:end], quantizer.code_density[:end], strict=True)
        assert bits == pytest.approx(sum(share * math.log2(size) for size, share in pairs))
        if bits > 0:
            assert quantizer.stages_within(bits) >= stages
            if stages == 1:
                with pytest.raises(ValueError, match=r"bits=.* is below the first stage; this quantizer has the rates"):
                    quantizer.stages_within(bits * 0.99)
            else:
                assert quantizer.stages_within(bits * 0.999) == stages - 1
    assert quantizer.stages_within(1e9) == quantizer.num_stages
