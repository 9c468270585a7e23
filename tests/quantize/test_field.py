"""What the field has beside the papers' systems, each against numbers from paper or an independent computation."""

import math

import pytest
import torch
from torch.nn import functional as F

from vqkit import (
    BSQ,
    FSQ,
    LFQ,
    PVQ,
    RVQ,
    VQ,
    GainShape,
    Interpolated,
    LloydMax,
    Projected,
    Quantizer,
    RandomProjection,
    Residual,
    ResidualFSQ,
    Rotated,
    SimVQ,
    TurboQuant,
)
from vqkit.quantize.rotated import random_rotation


def error(quantizer: Quantizer, x: torch.Tensor) -> float:
    z = x[None].detach()
    return float((quantizer.eval()(z).z_q.detach() - z).square().mean() / z.square().mean())


# --- grids


def test_clamped_fsq_cuts_the_range_into_even_cells():
    q = FSQ(2, [5, 4], bound="clamp", scale=2.0).eval()
    z = torch.tensor([[[-9.0, -9.0], [9.0, 9.0], [0.1, 0.1], [-0.9, -0.9]]])
    # five cells of width 0.8: middles −1.6, −0.8, 0, 0.8, 1.6; four of width 1: −1.5, −0.5, 0.5, 1.5
    torch.testing.assert_close(q(z).z_q[0], torch.tensor([[-1.6, -1.5], [1.6, 1.5], [0.0, 0.5], [-0.8, -0.5]]))
    assert q.encode(z).flatten().tolist() == [0, 4 + 5 * 3, 2 + 5 * 2, 1 + 5 * 1]


def test_a_clamp_passes_only_gradients_that_lead_back_in():
    z = torch.tensor([[[3.0], [3.0], [0.2]]], requires_grad=True)
    weight = torch.tensor([[[1.0], [-1.0], [-1.0]]])  # of the loss: the step goes against it
    (FSQ(1, [9], bound="clamp")(z).z_q * weight).sum().backward()
    assert (z.grad.flatten() != 0).tolist() == [True, False, True]


def test_the_sigmoid_makes_a_gaussian_even_and_yet_tanh_fills_the_levels_more_evenly():
    z = torch.randn(1, 100_000, 1, generator=torch.Generator().manual_seed(0))
    q = FSQ(1, [9], bound="sigmoid")
    torch.testing.assert_close(q._bound(torch.tensor([0.7])), (2 * torch.sigmoid(torch.tensor([1.12])) - 1) * 4 * 1.001)
    inner = q.encode(z).flatten().bincount(minlength=9)[1:-1].float()
    assert inner.max() / inner.min() < 1.12

    def entropy(bound, levels):
        share = FSQ(1, [levels], bound=bound).encode(z).flatten().bincount(minlength=levels) / 100_000
        return float(-(share * share.clamp_min(1e-12).log2()).sum())

    for levels in (5, 9, 17, 33):  # its outermost cells are half as wide as the others
        assert entropy("tanh", levels) > entropy("sigmoid", levels)


def test_noise_takes_the_place_of_rounding_in_training_alone():
    z = torch.zeros(1, 4000, 2)
    q = FSQ(2, [5, 5], noise=0.25).train()
    moved = (q(z).z_q != 0).any(dim=-1).float().mean()
    assert 0.2 < moved < 0.3
    assert q(z).z_q.abs().max() <= 0.25  # half a cell of width ½
    assert (q.eval()(z).z_q == 0).all()


@pytest.mark.parametrize("levels", [[5, 5, 5], [8, 7, 2]])
def test_bare_residual_fsq_is_one_grid_that_every_stage_refines(levels):
    torch.manual_seed(0)
    z = torch.randn(1, 3000, 3)
    q = ResidualFSQ(3, levels, 4).eval()
    codes = q.encode(z)
    for stages in range(1, 5):
        left = (q.decode(codes, stages=stages) - torch.tanh(z)).abs().amax(dim=(0, 1))
        assert (left <= torch.tensor([float(n) ** -stages for n in levels]) * 1.0001).all()


def test_projected_residual_fsq_refines_where_the_earlier_form_stalled():
    torch.manual_seed(0)
    x = torch.randn(8000, 12)
    nested, each = (ResidualFSQ(12, [8] * 5, 4, grids=grids).fit(x) for grids in ("nested", "each"))
    assert error(nested, x) < 0.75 * error(each, x)


def test_residual_fsq_saved_before_grids_existed_keeps_its_meaning(tmp_path):
    import json

    torch.manual_seed(0)
    old = ResidualFSQ(6, [5, 3], 2, grids="each").eval()
    old.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["arguments"]["grids"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    z = torch.randn(1, 50, 6)
    assert torch.equal(Quantizer.from_pretrained(tmp_path)(z).z_q, old(z).z_q)


# --- signs


def test_bsq_is_on_the_sphere_and_its_entropy_is_that_of_single_bits():
    torch.manual_seed(0)
    q, z = BSQ(6, 6, temperature=0.3).eval(), torch.randn(1, 40, 6)
    out = q(z)
    torch.testing.assert_close(out.z_q, z.sign() / math.sqrt(6))
    u = F.normalize(z[0], dim=-1)
    p = torch.stack([(-((u - s / math.sqrt(6)) ** 2) / 0.3) for s in (-1, 1)]).softmax(dim=0)
    single = -(p * p.log()).sum(dim=(0, 2)).mean()
    mean = p.mean(dim=1)
    expected = 0.1 * (single + (mean * mean.log()).sum())
    torch.testing.assert_close(out.losses["entropy"], expected)


def test_factors_of_one_bit_are_what_independent_bits_have():
    torch.manual_seed(0)
    z = torch.randn(1, 200_000, 2)  # independent signs: the joint entropy is the sum
    joint, single = (LFQ(2, 2, factor_bits=bits).eval()(z).losses["entropy"] for bits in (16, 1))
    torch.testing.assert_close(joint, single, atol=1e-4, rtol=0)


# --- scalar and data-oblivious


@pytest.mark.parametrize(("bits", "distortion"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_lloyd_max_reaches_the_distortion_of_max_s_table(bits, distortion):
    z = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    assert error(LloydMax(1, bits), z) == pytest.approx(distortion, rel=0.02)


def test_turbo_quant_does_as_well_on_spiky_vectors_as_on_gaussian_ones():
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(2000, 64, generator=generator)
    spiky = F.one_hot(torch.randint(0, 64, (2000,), generator=generator), 64).float() * 1000
    q = TurboQuant(64, 3)
    assert error(q, gaussian) == pytest.approx(0.0345, rel=0.1)
    assert error(q, spiky) < 0.05
    assert error(LloydMax(64, 3).fit(spiky), spiky) > 0.5


def test_random_projection_is_the_nearest_direction():
    torch.manual_seed(0)
    x = torch.randn(500, 20) * 3 + 5
    q = RandomProjection(20, 64, code_dim=8).fit(x)
    u = F.normalize(((x - x.mean(0)) / x.std(0, correction=0)).double() @ q.projection.T.double(), dim=-1)
    codes = F.normalize(q.codes.double(), dim=-1)
    expected = (u[:, None] - codes).square().sum(dim=-1).argmin(dim=1)
    assert (q.encode(x[None])[0, :, 0] == expected).float().mean() > 0.995
    assert torch.equal(RandomProjection(20, 64, code_dim=8).codes, RandomProjection(20, 64, code_dim=8).codes)
    assert not torch.equal(RandomProjection(20, 64, seed=1).codes, RandomProjection(20, 64).codes)


# --- codebooks


def test_sim_vq_moves_all_codes_with_every_step():
    torch.manual_seed(0)
    q = SimVQ(4, 32).train()
    before = q.table().detach().clone()
    optimizer = torch.optim.SGD(q.parameters(), 0.1)
    q(torch.randn(1, 3, 4)).loss.backward()  # three vectors choose at most three codes
    optimizer.step()
    assert (q.table() != before).any(dim=1).all()
    torch.testing.assert_close(q.table(), q.base @ q.transform)


def test_unit_codes_are_on_the_sphere():
    torch.manual_seed(0)
    q = VQ(5, 8, unit=True).train()
    z = torch.randn(4, 50, 5) * 7
    for _ in range(3):
        out = q(z)
    torch.testing.assert_close(out.z_q.norm(dim=-1), torch.ones(4, 50))
    best = (F.normalize(z, dim=-1) @ q.decode(torch.arange(8)[None, :, None])[0].T).argmax(dim=-1)
    assert torch.equal(q.encode(z)[..., 0], best)


# --- combinators


def test_projected_is_its_formula():
    torch.manual_seed(0)
    q = Projected(10, VQ(3, 16), bound="sphere").fit(torch.randn(500, 10)).eval()
    z = torch.randn(1, 7, 10)
    y = F.normalize(F.linear(z, q.projection.inward.weight, q.projection.inward.bias), dim=-1)
    expected = F.linear(q.quantizer(y).z_q, q.projection.outward.weight, q.projection.outward.bias)
    torch.testing.assert_close(q(z).z_q, expected)
    torch.testing.assert_close(q(z).losses["commitment"], q.quantizer(y).losses["commitment"])


def test_a_rotation_helps_pieces_of_correlated_vectors_and_stays_orthogonal():
    torch.manual_seed(0)
    x = torch.randn(4000, 8) @ torch.randn(8, 8)
    plain, rotated = PVQ(8, 16, 4).fit(x), Rotated(PVQ(8, 16, 4)).fit(x)
    torch.testing.assert_close(rotated.rotation @ rotated.rotation.T, torch.eye(8), atol=1e-5, rtol=0)
    assert error(rotated, x) < 0.8 * error(plain, x)
    turn = random_rotation(50, 3)
    torch.testing.assert_close(turn @ turn.T, torch.eye(50), atol=1e-5, rtol=0)
    assert torch.equal(turn, random_rotation(50, 3))


def test_a_rotation_that_nothing_may_change():
    x = torch.randn(300, 6) @ torch.randn(6, 6)
    q = Rotated(RVQ(6, 8, 2), seed=1, learn_rotation=False).fit(x)
    assert torch.equal(q.rotation, random_rotation(6, 1))


def test_gain_and_shape_on_paper():
    shape = VQ(2, 2)
    with torch.no_grad():
        shape.codebook.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        shape.codebook.initialized.fill_(True)
    gain = FSQ(1, [4001], bound="clamp", scale=8.0)
    q = GainShape(gain, shape).eval()
    out = q(torch.tensor([[[3.0, 1.0], [-1.0, 5.0]]]))
    # the best length along the chosen direction, not the vector's own
    torch.testing.assert_close(out.z_q[0], torch.tensor([[3.0, 0.0], [0.0, 5.0]]), atol=0.02, rtol=0)
    assert out.codes[0, :, 1].tolist() == [0, 1]
    assert q.codes_per_stage == (2,)


def test_gain_and_shape_commit_in_the_scale_of_the_vectors():
    q = GainShape(FSQ(1, [4001], bound="clamp", scale=8.0), VQ(2, 2, commitment_weight=0.0)).freeze().train()
    z = torch.tensor([[[3.0, 1.0], [-1.0, 5.0]]])
    out = q(z)
    expected = 0.25 * (z - out.z_q).square().mean()
    torch.testing.assert_close(out.losses["commitment"], expected)
    torch.testing.assert_close(q(100 * z).losses["commitment"], 100**2 * expected, rtol=0.02, atol=0)


def test_latents_before_gain_and_shape_do_not_grow_without_end():
    torch.manual_seed(0)
    encoder, decoder = (
        torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)) for _ in "ab"
    )
    q = GainShape(VQ(1, 16), VQ(8, 64)).train()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-2)
    for _ in range(150):
        x = torch.randn(1, 256, 8)
        z = encoder(x)
        out = q(z)
        optimizer.zero_grad()
        ((decoder(out.z_q) - x).square().mean() + out.loss).backward()
        optimizer.step()
    assert 0.5 < z.detach().std() < 4  # far beyond 10, and growing, without the commitment of the whole


def test_gain_shape_serves_lengths_that_it_was_not_fitted_to():
    torch.manual_seed(0)
    x = torch.randn(4000, 4)
    relative = {}
    for name, q in {
        "plain": VQ(4, 1024),
        "gain": GainShape(FSQ(1, [64], bound="clamp", scale=12.0), VQ(4, 64)),
    }.items():
        q.fit(x).eval()
        for scale in (0.001, 1, 1000):
            z = x[None] * scale
            relative[name, scale] = ((q(z).z_q - z).norm(dim=-1) / z.norm(dim=-1)).mean().item()
    assert max(relative["gain", scale] for scale in (0.001, 1000)) < 1.1 * relative["gain", 1]
    assert min(relative["plain", scale] for scale in (0.001, 1000)) > 3 * relative["plain", 1]


# --- what the base class offers


def test_decode_passes_a_gradient_to_codebooks_when_asked():
    q = RVQ(4, 8, 2, update="gradient")
    codes = torch.tensor([[[1, 2]]])
    assert not q.decode(codes).requires_grad
    q.decode(codes, gradient=True).sum().backward()
    first, second = (stage.codebook.weight.grad for stage in q.quantizer.stages)
    assert first.sum(dim=1).nonzero().flatten().tolist() == [1]
    assert second.sum(dim=1).nonzero().flatten().tolist() == [2]


def test_codebooks_are_listed_in_order():
    q = Residual([VQ(4, 8), SimVQ(4, 16), FSQ(4, [5, 5])])
    assert [tuple(table.shape) for table in q.codebooks] == [(8, 4), (16, 4)]


def test_logits_say_which_code_and_train_by_cross_entropy():
    torch.manual_seed(0)
    q, z = VQ(4, 8).fit(torch.randn(300, 4)).eval(), torch.randn(2, 5, 4, requires_grad=True)
    logits = q.logits(z)
    assert logits.shape == (2, 5, 8)
    assert torch.equal(logits.argmax(dim=-1), q.encode(z)[..., 0])
    F.cross_entropy(logits.flatten(0, 1), torch.zeros(10, dtype=torch.long)).backward()
    assert torch.isfinite(z.grad).all()


def test_a_result_prints_shapes_and_not_numbers():
    text = repr(VQ(4, 8).eval()(torch.zeros(2, 5, 4)))
    assert text.startswith("Quantized(z_q=float32(2, 5, 4), codes=int64(2, 5, 1), loss=")
    assert "commitment=" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Projected(8, VQ(4, 8), bound="cube"), "bound must be one of 'none', 'tanh', 'sphere', got 'cube'"),
        (lambda: Projected(8, Interpolated(VQ(4, 8))), "put Interpolated around the Projected"),
        (lambda: Rotated(Interpolated(VQ(4, 8))), "put Interpolated around the Rotated"),
        (lambda: GainShape(VQ(2, 8), VQ(4, 8)), "gain must have dim 1 and one stage, got dim 2 and 1 stages"),
        (lambda: GainShape(VQ(1, 8), Interpolated(VQ(4, 8))), "put Interpolated around it"),
        (lambda: LloydMax(4, 9), "bits must be at most 8, got 9"),
        (lambda: LloydMax(4, 2, scale=0), "scale must be positive, got 0"),
        (lambda: TurboQuant(4, 2, gain_bits=17), "gain_bits must be in 1 … 16, got 17"),
        (lambda: ResidualFSQ(4, [5], 2, grids="fine"), "grids must be one of 'nested', 'each', got 'fine'"),
        (lambda: LFQ(4, 4, factor_bits=20), "factor_bits must be at most 16, got 20"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
