import pytest
import torch
from plain import IVQ
from torch.nn import functional as F

from vqkit.quantize import hexagrams, structure

VARIANTS = ["yin-yang", "bottom-up", "top-down"]


def test_symmetries_on_paper():
    i = torch.tensor(0b110100)
    assert hexagrams.zong(i, 6) == 0b001011
    assert hexagrams.cuo(i, 6) == 0b001011
    assert hexagrams.cuozong(i, 6) == 0b110100
    assert hexagrams.digits(i, 6, 2).tolist() == [0b110, 0b100]
    assert hexagrams.digits(i, 6, 6).tolist() == [1, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(("lines", "expected"), [(6, 20), (4, 6)])
def test_orbits(lines, expected):
    """Burnside: (2^L + 2·2^(L/2) + 0)/4 for even L (cuo fixes nothing, zong and cuozong 2^(L/2) each)."""
    orbits = hexagrams.orbits(lines)
    assert len(orbits) == expected == (2**lines + 2 * 2 ** (lines // 2)) // 4
    assert sorted(i for orbit in orbits for i in orbit) == list(range(2**lines))


@pytest.mark.parametrize("lines", [4, 6, 12])
def test_symmetries_are_involutions_and_commute(lines):
    i = torch.arange(2**lines)
    for turn in (hexagrams.zong, hexagrams.cuo, hexagrams.cuozong):
        assert torch.equal(turn(turn(i, lines), lines), i)
    assert torch.equal(hexagrams.cuo(hexagrams.zong(i, lines), lines), hexagrams.cuozong(i, lines))


@pytest.mark.parametrize("dim", [96, 120, 192])
def test_storage(dim):
    yin_yang, bottom_up = IVQ(dim), IVQ(dim, variant="bottom-up")
    assert yin_yang.codebook_numel == 4 * 2 * dim // 6 < 2 * dim
    assert bottom_up.codebook_numel == 64 * dim + 8 * dim // 2 + 4 * dim // 3 + 2 * dim // 6 < 74 * dim
    codes = sum(m.num_codes for m in bottom_up.modules() if type(m).__name__ == "Codebook")
    assert codes == 78
    assert IVQ(dim, variant="bottom-up", shared=False).codebook_numel == (64 + 8 + 4 + 2) * dim
    assert yin_yang.bits_per_vector == bottom_up.bits_per_vector == IVQ(dim, variant="top-down").bits_per_vector == 24


def test_variants_and_lines():
    assert IVQ(24, variant="bottom-up").code_sizes == (2,) * 6 + (4,) * 3 + (8,) * 2 + (64,)
    assert IVQ(24, variant="top-down").code_sizes == (64,) + (8,) * 2 + (4,) * 3 + (2,) * 6
    assert IVQ(24).code_sizes == (2,) * 24
    assert IVQ(24, lines=4).bits_per_vector == 16
    assert IVQ(24, lines=12).bits_per_vector == 48
    assert IVQ(24, lines=12, pieces=(12, 6, 4, 3)).code_sizes == (2,) * 12 + (4,) * 6 + (8,) * 4 + (16,) * 3


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("contrast", ["infonce", "paper"])
@pytest.mark.parametrize("weights", [(0.1, 0.0), (0.0, 0.1)], ids=["hierarchy", "structure"])
def test_every_code_moves_when_one_input_is_used(variant, contrast, weights):
    torch.manual_seed(0)
    q = IVQ(24, variant=variant, hierarchy_weight=weights[0], structure_weight=weights[1], contrast=contrast)
    out = q(torch.randn(1, 1, 24))
    out.loss.backward()
    for parameter in q.parameters():
        assert (parameter.grad.abs().sum(dim=1) > 0).all()
    plain = IVQ(24, variant=variant, hierarchy_weight=0, structure_weight=0)
    plain(torch.randn(1, 1, 24)).loss.backward()
    if variant != "yin-yang":  # without them most codes stand still
        assert any((parameter.grad.abs().sum(dim=1) == 0).any() for parameter in plain.parameters())


def test_each_weight_switches_its_own_term():
    z = torch.randn(1, 3, 24)
    found = IVQ(24, hierarchy_weight=0.1, structure_weight=0.1)(z).losses
    assert sorted(found) == ["codebook", "commitment", "cuo", "cuozong", "hierarchy", "zong"]
    assert sorted(IVQ(24, structure_weight=0.1)(z).losses) == ["codebook", "commitment", "cuo", "cuozong", "zong"]
    assert sorted(IVQ(24, hierarchy_weight=0.1)(z).losses) == ["codebook", "commitment", "hierarchy"]
    assert sorted(IVQ(24, structure_weight=(0, 1, 0))(z).losses) == ["codebook", "commitment", "cuo"]
    assert sorted(IVQ(24)(z).losses) == ["codebook", "commitment"]


def test_losses_scale_with_their_weight():
    torch.manual_seed(0)
    one = IVQ(24, hierarchy_weight=1.0, structure_weight=1.0)
    half = IVQ(24, hierarchy_weight=0.5, structure_weight=0.25)
    half.load_state_dict(one.state_dict())
    a, b = one.codebook_losses(), half.codebook_losses()
    torch.testing.assert_close(b["hierarchy"], 0.5 * a["hierarchy"])
    for name in ("zong", "cuo", "cuozong"):
        torch.testing.assert_close(b[name], 0.25 * a[name])


def test_composed_codebook_is_the_concatenation_of_the_pieces():
    q = IVQ(12, variant="bottom-up")
    table = q.quantizer.stages[1].pieces[0].codebook.weight.detach()  # P(4, 3)
    composed = q.composed(1, torch.tensor([0b011110])).detach()
    assert torch.equal(composed[0], torch.cat([table[0b01], table[0b11], table[0b10]]))


def test_hierarchy_loss_equals_a_plain_loop():
    torch.manual_seed(0)
    stages = [torch.randn(64, 24) for _ in range(3)]
    tau = 0.1
    total, paper = 0.0, 0.0
    for a in range(3):
        for b in range(a + 1, 3):
            s = F.cosine_similarity(stages[a][:, None], stages[b][None], dim=-1).double()
            forward = -torch.stack([(s[i, i] / tau) - (s[i] / tau).logsumexp(0) for i in range(64)]).mean()
            backward = -torch.stack([(s[i, i] / tau) - (s[:, i] / tau).logsumexp(0) for i in range(64)]).mean()
            total += (forward + backward) / 2 / 3
            paper += -sum(s[i, i] / s[i].sum() for i in range(64)) / 3
    assert structure.hierarchy_loss(stages, "infonce", tau).item() == pytest.approx(float(total), rel=1e-4)
    assert structure.hierarchy_loss(stages, "paper", tau).item() == pytest.approx(float(paper), rel=1e-2)


def test_relations_of_a_perfectly_structured_codebook():
    """Codes ±e for yin and yang: cuo pairs are exactly opposite, zong pairs are exactly each other's reversal."""
    q = IVQ(12, hierarchy_weight=0.1, structure_weight=1.0)
    with torch.no_grad():
        for stage in q.quantizer.stages:
            stage.pieces[0].codebook.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    losses = q.codebook_losses()
    assert losses["cuo"].item() == pytest.approx(-1.0)
    assert losses["hierarchy"] > 0
    index = torch.arange(64)
    composed = q.composed(0, index)
    assert torch.equal(structure.flip(composed, 6, "lines"), q.composed(0, hexagrams.zong(index, 6)))
    assert torch.equal(structure.flip(composed, 6, "elements"), composed.flip(-1))


def test_paper_contrast_survives_a_zero_denominator():
    a = torch.eye(4)
    b = torch.stack([a[0] - a[1], a[1] - a[0], a[2] - a[3], a[3] - a[2]])
    assert torch.isfinite(structure.paper_contrast(a, b, 0.1))


def test_twelve_lines_compose_a_random_subset():
    torch.manual_seed(0)
    q = IVQ(24, lines=12, hierarchy_weight=0.1)
    assert q.codebook_losses()["hierarchy"] != q.codebook_losses()["hierarchy"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lines", [4, 6, 12])
def test_hexagrams_round_trip(variant, lines):
    torch.manual_seed(0)
    q = IVQ(24, variant=variant, lines=lines).eval()
    z = torch.randn(2, 9, 24)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    codes = q.encode(z, mask)
    indices = q.hexagrams(codes)
    assert indices.shape == (2, 9, len(q.pieces))
    assert ((indices[mask] >= 0) & (indices[mask] < 2**lines)).all()
    assert torch.equal(q.from_hexagrams(indices), codes)


def test_hexagrams_cross_modalities():
    """Indices of one IVQ decode with another's codebooks: same lines and stages, any dim."""
    torch.manual_seed(0)
    visual, music = IVQ(48, variant="bottom-up").eval(), IVQ(24, variant="bottom-up").eval()
    indices = visual.hexagrams(visual.encode(torch.randn(1, 5, 48)))
    z_music = music.decode(music.from_hexagrams(indices))
    expected = sum(music.composed(stage, indices[0, :, stage]) for stage in range(4))
    torch.testing.assert_close(z_music[0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 128}, r"dim must be a multiple of lines = 6 \(for 6 lines 96, 120, 192, …\), got 128"),
        ({"lines": 5}, "lines must be 4, 6 or 12, got 5"),
        ({"variant": "sideways"}, "variant must be one of 'yin-yang', 'bottom-up', 'top-down'"),
        ({"pieces": (4,)}, "pieces must be divisors of lines = 6"),
        ({"structure_weight": (1.0, 2.0)}, "structure_weight must be one number or three"),
        ({"update": "ema", "hierarchy_weight": 0.1}, "update='ema' gives codes no gradient"),
        ({"contrast": "cosine"}, "contrast must be one of"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        IVQ(**{"dim": 120, **options})


def test_bad_hexagrams():
    q = IVQ(24)
    with pytest.raises(TypeError, match="hexagrams must be integers"):
        q.from_hexagrams(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="0 … 63, got 0 … 64"):
        q.from_hexagrams(torch.tensor([[0, 1, 2, 64]]))
    with pytest.raises(ValueError, match="1 to 4 stages"):
        q.from_hexagrams(torch.zeros(1, 5, dtype=torch.long))
