"""Good as a newcomer writes them; benchmarks/defaults.py measures it on real data."""

import importlib
from pathlib import Path

import pytest
import torch

from vqkit import IVQ, PVQ, RVQ, VQ, GroupedRVQ, LooC

SYSTEMS = {
    "VQ": lambda: VQ(12, 64),
    "RVQ": lambda: RVQ(12, 32, 3),
    "PVQ": lambda: PVQ(12, 32, 3),
    "GroupedRVQ": lambda: GroupedRVQ(12, 32, 2, 2),
    "LooC": lambda: LooC(12, 32, 4),
    "IVQ": lambda: IVQ(12),
    "IVQ bottom-up": lambda: IVQ(12, variant="bottom-up"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_as_written_every_code_lives_far_from_the_start(name):
    """Latents far from the origin, as an encoder at random gives them. A codebook that starts near 0 loses most of its codes there."""
    torch.manual_seed(0)
    quantizer = SYSTEMS[name]().train()
    scales, centre = torch.logspace(-0.5, 0.5, 12), 3 * torch.randn(12)
    if name.startswith(
        ("IVQ", "LooC")
    ):  # one codebook for all pieces: pieces that have nothing in common cannot share it
        scales, centre = torch.ones(12), torch.full((12,), 3.0)
    for _ in range(60):
        quantizer(torch.randn(1, 512, 12) * scales + centre)
    z = torch.randn(1, 8192, 12) * scales + centre
    out = quantizer.eval()(z)
    used = [len(out.codes[..., i].unique()) / size for i, size in enumerate(quantizer.code_sizes)]
    assert min(used) >= 0.9
    assert float((out.z_q - z).square().mean() / z.var(dim=1).mean()) < 0.75


def test_ivq_learns_by_gradient_only_where_its_losses_need_it():
    found = {
        "plain": IVQ(12),
        "losses": IVQ(12, structure_weight=0.1),
        "paper": IVQ.paper(12),
        "paper without losses": IVQ.paper(12, hierarchy_weight=0.0, structure_weight=0.0, update="ema"),
    }
    updates = {name: bool(list(quantizer.parameters())) for name, quantizer in found.items()}
    assert updates == {"plain": False, "losses": True, "paper": True, "paper without losses": False}
    with pytest.raises(ValueError, match="update='ema' gives codes no gradient"):
        IVQ(12, structure_weight=0.1, update="ema")


@pytest.mark.parametrize(
    ("quantizer", "expected"),
    [
        (VQ.paper(4, 8), {"update": "gradient", "init": "uniform", "revive": "none"}),
        (LooC.paper(4, 8, 2), {"update": "gradient", "init": "uniform", "revive": "cvq", "distance": "l2"}),
        (LooC.paper(4, 8, 2, distance="cosine"), {"distance": "cosine"}),
        (IVQ.paper(12), {"hierarchy_weight": 0.1, "structure_weight": 0.1, "init": "uniform", "revive": "none"}),
    ],
)
def test_the_papers_settings_are_one_word_away_and_are_saved(quantizer, expected, tmp_path):
    quantizer.save_pretrained(str(tmp_path))
    saved = type(quantizer).from_pretrained(str(tmp_path))
    assert saved._arguments == quantizer._arguments
    assert {name: quantizer._arguments[name] for name in expected} == expected


@pytest.fixture
def benchmark(monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("defaults")


def test_the_benchmark_counts_a_shared_codebook_as_a_whole(benchmark):
    low = torch.arange(8).repeat(40)
    codes = torch.stack([low, low + 8], dim=-1)[None]  # two pieces, each with its own half of 16 codes
    shared = benchmark.usage(LooC(8, 16, 4), codes)
    own = benchmark.usage(PVQ(8, 16, 2), codes)
    assert (shared["usage"], shared["whole"]) == (0.5, 1.0)
    assert (own["usage"], own["whole"]) == (0.5, 0.5)
    assert shared["entropy"] == pytest.approx(3 / 4)


def test_the_benchmark_compares_on_the_seeds_that_nothing_was_chosen_by(benchmark):
    written = {str(seed): {"error": error} for seed, error in enumerate((9.0, 2.0, 8.0))}
    other = {str(seed): {"error": error} for seed, error in enumerate((1.0, 1.0, 2.0, 5.0))}
    found = benchmark.ratio({"as written": written, "other": other}, "other", ["0"])
    assert found["seeds"] == 2
    assert found["ratio"] == pytest.approx(8**0.5)  # of 2 and 4
    assert found["high"] == pytest.approx(
        8**0.5 * 2 ** (12.7062 / 2), rel=1e-4
    )  # t of one degree; the logarithms' error is ln 2 / 2
    assert benchmark.judged(found) == "not separated"
    assert benchmark.judged({"seeds": 3, "ratio": 2.0, "low": 1.5, "high": 2.5}) == "worse"
    assert benchmark.judged({"seeds": 3, "ratio": 1.04, "low": 0.5, "high": 2.5}) == "good"
