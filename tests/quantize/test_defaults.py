"""Good as a newcomer writes them; benchmarks/defaults.py measures it on real data."""

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
