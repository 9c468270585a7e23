"""Every option of every quantizer takes training steps, and changes what it is there to change."""

import inspect

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
from vqkit.quantize.pretrained import leaf_options

DIM = 12
STEPS = 6

# option: settings that give it something to do, its other value, and what differs then
BOOK = {
    "distance": ({}, "cosine", "codes"),
    "update": ({}, "gradient", "gradients of parameters"),
    "init": ({}, "uniform", "state"),
    "revive": ({"decay": 0.5, "restart_threshold": 0.9}, "none", "state"),
    "anchor": ({"revive": "cvq", "init": "uniform", "decay": 0.5}, "closest", "state"),
    "decay": ({}, 0.5, "state"),
    "restart_threshold": ({"decay": 0.5}, 0.9, "state"),
}
PULLS = {
    "commitment_weight": ({}, 0.5, "loss of commitment"),
    "codebook_weight": ({"update": "gradient"}, 3.0, "loss of codebook"),
}


VARIANTS = {
    "gradient": ({}, "rotation", "gradient of z"),
    "assignment": ({}, "drawn", "codes"),
    "temperature": ({"assignment": "drawn"}, 0.1, "codes"),
    "unit": ({}, True, "z_q"),
    "orthogonality_weight": ({"update": "gradient"}, 0.5, "loss of orthogonality"),
    "diversity_weight": ({}, 0.5, "loss of diversity"),
}
BITS = {
    "dim": ({}, 6, "dim"),
    "bits": ({}, 5, "code sizes"),
    "entropy_weight": ({}, 1.0, "loss of entropy"),
    "diversity": ({}, 2.0, "loss of entropy"),
    "temperature": ({}, 0.5, "loss of entropy"),
    "commitment_weight": ({}, 0.5, "loss of commitment"),
}
GRID = {"bound": ({}, "sigmoid", "z_q"), "noise": ({}, 1.0, "z_q")}
LEARN_NOTHING = (BlockTruncation, LloydMax, RandomProjection, TurboQuant, Stepped, SteppedFSQ)


def sizes(value):
    return {}, value, "code sizes"


OPTIONS = {
    VQ: ({"dim": DIM, "codebook_size": 16}, {"dim": ({}, 6, "dim"), "codebook_size": sizes(8), **BOOK, **PULLS, **VARIANTS}),
    RVQ: (
        {"dim": DIM, "codebook_size": 8, "num_quantizers": 3},
        {
            "dim": ({}, 6, "dim"),
            "codebook_size": sizes(4),
            "num_quantizers": sizes(2),
            "stage_dropout": ({}, 1.0, "codes"),
            "beam": ({}, 3, "codes"),
            "shared": ({}, True, "state"),
            **BOOK,
            **PULLS,
            **VARIANTS,
        },
    ),
    PVQ: (
        {"dim": DIM, "codebook_size": 8, "num_pieces": 3},
        {
            "dim": ({}, 6, "dim"),
            "codebook_size": sizes(4),
            "num_pieces": sizes(2),
            "shared": ({}, True, "state"),
            **BOOK,
            **PULLS,
            **VARIANTS,
        },
    ),
    GroupedRVQ: (
        {"dim": DIM, "codebook_size": 8, "num_quantizers": 2, "num_groups": 2},
        {
            "dim": ({}, 6, "dim"),
            "codebook_size": sizes(4),
            "num_quantizers": sizes(3),
            "num_groups": sizes(3),
            **BOOK,
            **PULLS,
            **VARIANTS,
        },
    ),
    LooC: (
        {"dim": DIM, "codebook_size": 8, "code_dim": 4},
        {
            "dim": ({}, 8, "dim"),
            "codebook_size": sizes(4),
            "code_dim": sizes(3),
            "scale": sizes(2),
            "spatial_dims": ({"scale": 2}, 1, "code sizes"),
            "grouping": ({"scale": 2, "codebook_size": 8}, "folded", "z_q"),
            **BOOK,
            **PULLS,
            **VARIANTS,
        },
    ),
    IVQ: (
        {"dim": DIM},
        {
            "dim": ({}, 6, "dim"),
            "variant": sizes("bottom-up"),
            "lines": sizes(4),
            "pieces": sizes([6, 3]),
            "shared": ({}, False, "state"),
            "hierarchy_weight": ({}, 0.5, "loss of hierarchy"),
            "structure_weight": ({}, 0.5, "loss of zong"),
            "contrast": ({"hierarchy_weight": 0.5}, "paper", "loss of hierarchy"),
            "flip": ({"structure_weight": 0.5}, "elements", "loss of zong"),
            "beta": ({}, 0.5, "loss of commitment"),
            **BOOK,
            **VARIANTS,
        },
    ),
    LFQ: (
        {"dim": DIM, "bits": 4},
        {
            **BITS,
            "scale": ({}, 0.5, "z_q"),
            "sphere": ({}, True, "z_q"),
            "factor_bits": ({}, 2, "loss of entropy"),
        },
    ),
    BSQ: ({"dim": DIM, "bits": 4}, BITS),
    SimVQ: (
        {"dim": DIM, "codebook_size": 8},
        {
            "dim": ({}, 6, "dim"),
            "codebook_size": sizes(4),
            "commitment_weight": ({}, 0.5, "loss of commitment"),
            "codebook_weight": ({}, 3.0, "loss of codebook"),
            "seed": ({}, 1, "codes"),
        },
    ),
    RandomProjection: (
        {"dim": DIM, "codebook_size": 8},
        {"dim": ({}, 6, "dim"), "codebook_size": sizes(4), "code_dim": ({}, 3, "codes"), "seed": ({}, 1, "codes")},
    ),
    LloydMax: (
        {"dim": DIM, "bits": 2},
        {"dim": ({}, 6, "dim"), "bits": sizes(3), "scale": ({}, 2.0, "z_q")},
    ),
    BlockTruncation: (
        {"pixels": 8, "channels": 2},
        {
            "pixels": ({}, 16, "dim"),
            "channels": ({}, 1, "dim"),
            "refinements": sizes(1),
            "levels": sizes(20),
            "run": sizes(4),
            "low": ({}, -3.0, "z_q"),
            "high": ({}, 3.0, "z_q"),
        },
    ),
    TurboQuant: (
        {"dim": DIM, "bits": 2},
        {"dim": ({}, 6, "dim"), "bits": sizes(3), "gain_bits": sizes(8), "seed": ({}, 1, "codes")},
    ),
    GainShape: (
        {"gain": lambda: VQ(1, 8), "shape": lambda: RVQ(DIM, 8, 2)},
        {
            "gain": sizes(lambda: VQ(1, 4)),
            "shape": sizes(lambda: RVQ(DIM, 4, 2)),
            "commitment_weight": ({}, 0.5, "loss of commitment"),
        },
    ),
    Bands: (
        {"bands": lambda: [VQ(DIM - 4, 8), VQ(4, 8)]},
        {"bands": sizes(lambda: [VQ(DIM - 4, 4), VQ(4, 8)])},
    ),
    Stepped: (
        {"quantizer": lambda: FSQ(DIM, [9] * DIM, scale=4.5, bound="clamp"), "steps": [0.5, 1.0]},
        {
            "quantizer": sizes(lambda: FSQ(DIM, [7] * DIM, scale=3.5, bound="clamp")),
            "steps": sizes([0.5]),
            "slope": ({}, 2.0, "codes"),
        },
    ),
    SteppedFSQ: (
        {"bands": [[[[3] * DIM], [[9] * DIM]]], "steps": [0.5, 1.0]},
        {"bands": sizes([[[[9] * DIM]]]), "steps": sizes([0.5]), "slope": ({}, 2.0, "codes")},
    ),
    Projected: (
        {"dim": DIM, "quantizer": lambda: VQ(4, 8)},
        {"dim": ({}, 8, "dim"), "quantizer": sizes(lambda: VQ(4, 4)), "bound": ({}, "sphere", "z_q")},
    ),
    Rotated: (
        {"quantizer": lambda: PVQ(DIM, 8, 3)},
        {
            "quantizer": sizes(lambda: PVQ(DIM, 4, 3)),
            "seed": ({}, 3, "z_q"),
            "learn_rotation": ({}, False, "fit"),
            "method": ({}, "balanced", "fit"),
        },
    ),
    FSQ: (
        {"dim": DIM, "levels": [5, 5]},
        {"dim": ({}, 6, "dim"), "levels": sizes([7, 4, 3]), "scale": ({}, 0.5, "z_q"), **GRID},
    ),
    ResidualFSQ: (
        {"dim": DIM, "levels": [5, 5], "num_quantizers": 2},
        {
            "dim": ({}, 6, "dim"),
            "levels": sizes([7, 4]),
            "num_quantizers": sizes(3),
            "stage_dropout": ({}, 1.0, "codes"),
            "grids": ({}, "each", "z_q"),
        },
    ),
    ResidualLFQ: (
        {"dim": DIM, "bits": 4, "num_quantizers": 2},
        {
            "dim": ({}, 6, "dim"),
            "bits": sizes(5),
            "num_quantizers": sizes(3),
            "stage_dropout": ({}, 1.0, "codes"),
            "entropy_weight": ({}, 1.0, "loss of entropy"),
            "commitment_weight": ({}, 0.5, "loss of commitment"),
        },
    ),
    # parts are made anew for each run, by functions
    Residual: (
        {"stages": lambda: [VQ(DIM, 8), VQ(DIM, 8)]},
        {"stages": sizes(lambda: [VQ(DIM, 8)]), "stage_dropout": ({}, 1.0, "codes"), "beam": ({}, 3, "codes"),
         "repeats": sizes(2)},
    ),
    Sum: (
        {"dim": DIM, "branches": lambda: [VQ(4, 8), VQ(6, 8)]},
        {"dim": ({}, 8, "dim"), "branches": sizes(lambda: [VQ(4, 4), VQ(6, 8)])},
    ),
    Multiscale: (
        {"scales": lambda: [VQ(DIM, 8), VQ(DIM, 8)], "sizes": [1, 4]},
        {
            "scales": sizes(lambda: [VQ(DIM, 4), VQ(DIM, 8)]),
            "sizes": ({}, [1, 2], "codes"),
            "spatial_dims": ({}, 2, "codes"),
            "upsample": ({"sizes": [2, 4]}, "linear", "z_q"),
            "smoothing": ({}, 2, "z_q"),
            "smoothing_weight": ({"smoothing": 2}, 3.0, "loss of smoothing"),
        },
    ),
    QINCo: (
        {"dim": DIM, "codebook_size": 8, "num_quantizers": 3},
        {
            "dim": ({}, 6, "dim"),
            "codebook_size": sizes(4),
            "num_quantizers": sizes(2),
            "hidden": ({}, 16, "state"),
            "blocks": ({}, 2, "state"),
            "candidates": ({}, 1, "z_q"),
            "beam": ({}, 3, "codes"),
            "commitment_weight": ({}, 0.5, "loss of commitment"),
            "codebook_weight": ({}, 3.0, "loss of codebook"),
        },
    ),
    Product: (
        {"pieces": lambda: [VQ(4, 8), VQ(8, 8)]},
        {"pieces": sizes(lambda: [VQ(6, 8), VQ(3, 4), VQ(3, 4)]), "repeats": ({"pieces": lambda: [VQ(4, 8)]}, 3, "dim")},
    ),
    Interpolated: (
        {"quantizer": lambda: VQ(DIM, 8)},
        {
            "quantizer": sizes(lambda: VQ(DIM, 4)),
            "scale": sizes(3),
            "spatial_dims": sizes(1),
            "grouping": ({"scale": 2}, "folded", "dim"),
        },
    ),
    System: ({"quantizer": lambda: VQ(DIM, 8)}, {"quantizer": sizes(lambda: RVQ(DIM, 4, 2))}),
}  # fmt: skip
CASES = [(kind, option) for kind, (_, options) in OPTIONS.items() for option in options]


def trained(kind: type[Quantizer], settings: dict, fit: bool) -> dict:
    """What there is to see of a few steps: data that move away, so that codes die, and one seed for all."""
    torch.manual_seed(0)
    quantizer = kind(**{name: value() if callable(value) else value for name, value in settings.items()}).train()
    looks = {module.spatial_dims for module in quantizer.modules() if hasattr(module, "spatial_dims")}
    shape = (4, 16) if looks == {1} else (4, 4, 4)
    start = {name: value.clone() for name, value in quantizer.state_dict().items()}
    learned = list(quantizer.parameters())
    optimizer = torch.optim.SGD(learned, 0.1) if learned else None
    generator = torch.Generator().manual_seed(1)
    codes, values, losses, grads = [], [], [], []
    for step in range(STEPS):
        z = (torch.randn(*shape, quantizer.dim, generator=generator) + step).requires_grad_()
        torch.manual_seed(step)
        out = quantizer(z)
        quantizer.zero_grad()
        (out.loss + (out.z_q - z.detach()).square().mean()).backward()
        assert torch.isfinite(out.loss)
        assert torch.isfinite(z.grad).all()
        assert z.grad.any()
        codes.append(out.codes)
        grads.append(z.grad)
        values.append(out.z_q.detach())
        losses.append({name: float(value.detach()) for name, value in out.losses.items()})
        if optimizer is not None:
            optimizer.step()
    end = quantizer.state_dict()
    assert all(torch.isfinite(value).all() for value in end.values())
    learned_something = any(not torch.equal(value, end[name]) for name, value in start.items())
    assert learned_something is (kind not in LEARN_NOTHING)
    return {
        "dim": quantizer.dim,
        "code sizes": quantizer.code_sizes,
        "codes": torch.stack(codes) if len({c.shape for c in codes}) == 1 else codes,
        "z_q": torch.stack(values),
        "gradient of z": torch.stack(grads),
        "state": {name: value.clone() for name, value in end.items()},
        "fit": quantizer.fit(torch.cat(values).detach()).state_dict() if fit else None,
        "gradients of parameters": [name for name, p in quantizer.named_parameters() if p.grad is not None and p.grad.any()],
        **{f"loss of {name}": [loss.get(name) for loss in losses] for name in {key for loss in losses for key in loss}},
    }  # fmt: skip


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


TRAINED: dict[tuple, dict] = {}


def trained_twice(kind: type[Quantizer], settings: dict, fit: bool) -> dict:
    """The same twice over, so that what differs is the option's; done once for all options that are tried with these settings."""
    key = (kind, fit, repr(sorted(settings.items())))  # a function is told by its address
    if key not in TRAINED:
        found, again = trained(kind, settings, fit), trained(kind, settings, fit)
        assert all(same(again[name], found[name]) for name in found)
        TRAINED[key] = found
    return TRAINED[key]


@pytest.mark.parametrize(("kind", "option"), CASES, ids=[f"{kind.__name__}-{option}" for kind, option in CASES])
def test_every_option_trains_and_changes_what_it_should(kind, option):
    required, options = OPTIONS[kind]
    context, value, effect = options[option]
    base = {**required, **context}
    fit = effect == "fit"
    without, with_it = trained_twice(kind, base, fit), trained(kind, {**base, option: value}, fit)
    assert not same(without.get(effect), with_it[effect]), f"{option}={value!r} changes nothing: {effect}"


def test_no_option_is_forgotten():
    public = {getattr(vqkit, name) for name in vqkit.__all__ if isinstance(getattr(vqkit, name), type)}
    assert set(OPTIONS) == {kind for kind in public if issubclass(kind, Quantizer)} - {Quantizer}
    for kind, (_, options) in OPTIONS.items():
        named = {
            key for key, about in inspect.signature(kind).parameters.items() if about.kind is not about.VAR_KEYWORD
        }
        assert set(options) == named | set(leaf_options(kind)), kind.__name__


def test_systems_pass_on_every_option_of_their_codebooks():
    named = {name for name, about in inspect.signature(VQ).parameters.items() if about.kind is about.KEYWORD_ONLY}
    for kind in (RVQ, PVQ, GroupedRVQ, LooC):
        assert set(leaf_options(kind)) == named, kind.__name__
    assert set(leaf_options(IVQ)) == named - {"update", "commitment_weight", "codebook_weight"}
