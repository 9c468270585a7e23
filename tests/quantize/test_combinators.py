import pytest
import torch
from plain import RVQ, VQ, GroupedRVQ, LooC

import vqkit
from vqkit import Interpolated, Product, Residual, System


def scalar(codes: list[float], **options) -> VQ:
    q = VQ(1, len(codes), **options)
    with torch.no_grad():
        q.codebook.weight.copy_(torch.tensor(codes)[:, None])
    return q


def test_residual_on_paper():
    q = Residual([scalar([0.0, 10.0]), scalar([-2.0, 0.0, 2.0]), scalar([-0.5, 0.5])]).eval()
    z = torch.tensor([[[11.4], [1.6], [-3.0]]])
    # 11.4 → 10, 1.4 → 2, −0.6 → −½; 1.6 → 0, 1.6 → 2, −0.4 → −½; −3 → 0, −3 → −2, −1 → −½
    assert q.encode(z)[0].tolist() == [[1, 2, 0], [0, 2, 0], [0, 0, 0]]
    assert q(z).z_q.flatten().tolist() == [11.5, 1.5, -2.5]
    assert q.decode(q.encode(z), stages=2).flatten().tolist() == [12.0, 2.0, -2.0]


def test_residual_losses_are_means_over_stages_and_reach_the_encoder():
    q = Residual([scalar([0.0]), scalar([0.0])])
    z = torch.tensor([[[3.0]]], requires_grad=True)
    out = q(z)
    assert out.losses["commitment"].item() == pytest.approx(0.25 * 9)
    out.losses["commitment"].backward()
    assert z.grad.item() == pytest.approx(0.25 * 6)


def test_residual_same_codes_as_vector_quantize_pytorch():
    from vector_quantize_pytorch import ResidualVQ

    torch.manual_seed(0)
    peer = ResidualVQ(dim=12, codebook_size=32, num_quantizers=4).eval()
    q = RVQ(12, 32, 4).eval()
    with torch.no_grad():
        for stage, table in zip(q.quantizer.stages, peer.codebooks, strict=True):
            stage.codebook.weight.copy_(table)
    z = torch.randn(3, 100, 12)
    values, codes, _ = peer(z)
    assert torch.equal(q.encode(z), codes)
    torch.testing.assert_close(q(z).z_q, values)


def test_stage_dropout_keeps_a_prefix_of_the_stages():
    torch.manual_seed(0)
    q = RVQ(4, 8, 5, stage_dropout=1.0).train()
    z = torch.randn(200, 6, 4)
    out = q(z)
    used = (out.codes >= 0).sum(dim=-1)
    assert (used == used[:, :1]).all()  # a whole element at once
    assert sorted(used.unique().tolist()) == [1, 2, 3, 4, 5]
    assert torch.equal(out.codes >= 0, torch.arange(5) < used[..., None])
    assert torch.equal(out.z_q, q.eval().decode(out.codes))
    assert (q(z).codes >= 0).all()  # never in evaluation


def test_dropped_stages_do_not_learn_from_the_dropped():
    torch.manual_seed(0)
    q = RVQ(4, 8, 3, stage_dropout=1.0, update="ema").train()
    q(torch.randn(50, 6, 4))
    counts = [stage.codebook.ema_count.sum().item() for stage in q.quantizer.stages]
    assert counts[0] > counts[1] > counts[2]


def test_product_on_paper():
    own = Product([scalar([0.0, 1.0]), scalar([0.0, 10.0, 20.0])]).eval()
    z = torch.tensor([[[0.9, 12.0], [0.2, 19.0]]])
    assert own.encode(z)[0].tolist() == [[1, 1], [0, 2]]
    assert own(z).z_q[0].tolist() == [[1.0, 10.0], [0.0, 20.0]]
    assert own.code_sizes == (2, 3)
    shared = Product.shared(scalar([0.0, 1.0]), 3).eval()
    assert shared.encode(torch.tensor([[[0.9, 0.1, 0.6]]])).flatten().tolist() == [1, 0, 1]


def test_product_codes_are_stage_major_then_piece_major():
    pieces = [Residual([scalar([0.0, 10.0]), scalar([0.0, 1.0])]), Residual([scalar([0.0, 100.0]), scalar([0.0, 5.0])])]
    q = Product(pieces).eval()
    z = torch.tensor([[[11.0, 5.0]]])  # piece 1: 10 + 1; piece 2: 0 + 5
    assert q.encode(z).flatten().tolist() == [1, 0, 1, 1]
    assert q.decode(q.encode(z), stages=1).flatten().tolist() == [10.0, 0.0]
    grouped = GroupedRVQ(8, 16, 3, 2)
    assert grouped.codes_per_stage == (2, 2, 2)


def test_product_loss_is_the_loss_of_the_whole_vector():
    q = Product([VQ(6, 8), VQ(2, 8)])
    z = torch.randn(2, 9, 8)
    out = q(z)
    torch.testing.assert_close(out.losses["codebook"], (out.z_q - z).square().mean())


def test_a_shared_codebook_learns_from_all_pieces():
    q = Product.shared(VQ(1, 2, update="ema", decay=0.0), 3).train()
    with torch.no_grad():
        q.pieces[0].codebook.weight.copy_(torch.tensor([[0.0], [10.0]]))
    q(torch.tensor([[[1.0, 9.0, 3.0], [11.0, 2.0, 10.0]]]))
    torch.testing.assert_close(q.pieces[0].codebook.weight, torch.tensor([[2.0], [10.0]]), atol=1e-3, rtol=0)


def test_interpolation_without_quantization_is_the_fixed_blur():
    q = Interpolated(VQ(1, 2), scale=2, spatial_dims=1)
    impulse = torch.zeros(1, 7, 1)
    impulse[0, 3] = 1
    assert q._pooled(q._interpolate(impulse)).flatten().tolist() == [0, 0, 0.125, 0.75, 0.125, 0, 0]


def test_interpolated_sub_positions_come_last_and_in_order():
    q = Interpolated(scalar([0.0, 1.0, 2.0, 3.0, 4.0]), scale=2, spatial_dims=1).eval()
    z = torch.tensor([[[0.0], [4.0]]])  # sub-positions 0, 1, 3, 4 (half-pixel centres)
    assert q.encode(z)[0].tolist() == [[0, 1], [3, 4]]
    assert q(z).z_q.flatten().tolist() == [0.5, 3.5]


def test_interpolated_map_matches_a_plain_loop():
    torch.manual_seed(0)
    q = Interpolated(VQ(3, 16), scale=2, spatial_dims=2).eval()
    z = torch.randn(1, 3, 4, 3)
    fine = torch.nn.functional.interpolate(z.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")[0].permute(1, 2, 0)
    table = q.quantizer.codebook.weight.detach()
    expected = torch.zeros(3, 4, 3)
    codes = torch.zeros(3, 4, 4, dtype=torch.long)
    for i in range(6):
        for j in range(8):
            best = (table - fine[i, j]).square().sum(1).argmin()
            codes[i // 2, j // 2, 2 * (i % 2) + j % 2] = best
            expected[i // 2, j // 2] += table[best] / 4
    assert torch.equal(q.encode(z)[0], codes)
    torch.testing.assert_close(q(z).z_q[0], expected)


def test_folded_grouping_covers_one_channel_s_patch():
    """At d = 4, s = 2 a code of the folded grouping is one channel's 2×2 patch (the published code)."""
    torch.manual_seed(0)
    q = LooC(3 * 4, 64, 4, scale=2, grouping="folded", spatial_dims=2).eval()
    z = torch.randn(1, 2, 2, 12)
    fine = torch.nn.functional.interpolate(z.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")[0]
    patch = fine[5, 2:4, 0:2].reshape(4)  # channel 5 at row 1, column 0
    table = q.quantizer.quantizer.pieces[0].codebook.weight.detach()
    expected = (table - patch).square().sum(1).argmin()
    codes = q.encode(z)
    assert codes.shape == (1, 2, 2, 12)
    assert codes[0, 1, 0, 5] == expected
    torch.testing.assert_close(q.decode(codes)[0, 1, 0, 5], table[expected].mean())


def test_looc_sizes_and_rate():
    q = LooC(128, 256, 4, scale=2)
    assert (q.codebook_numel, q.num_codes, q.bits_per_vector) == (1024, 128, 1024.0)
    assert LooC(128, 256, 4, scale=1).num_codes == 32


def test_looc_revives_every_code():
    torch.manual_seed(0)
    q = LooC(16, 64, 4).train()
    start = len(q.encode(torch.randn(40, 6, 6, 16) + 5).unique())
    for _ in range(30):
        q(torch.randn(4, 6, 6, 16) + 5)
    assert start < 10
    assert len(q.encode(torch.randn(40, 6, 6, 16) + 5).unique()) > 60


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Residual([]), "stages must be different quantizers, at least one"),
        (lambda: Residual([VQ(4, 2)] * 2), "some of them the same object"),
        (lambda: Residual([VQ(4, 2), VQ(5, 2)]), r"stages must have one dim, got \[4, 5\]"),
        (lambda: Residual([VQ(4, 2)], stage_dropout=2), "stage_dropout must be in 0 … 1"),
        (lambda: Product([VQ(4, 2)] * 2), "Product.shared"),
        (lambda: Product([VQ(4, 2), RVQ(4, 2, 2)]), r"equally many stages, got \[1, 2\]"),
        (lambda: Product.shared(VQ(4, 2), 0), "repeats must be a positive integer"),
        (lambda: Interpolated(VQ(4, 2), spatial_dims=4), "spatial_dims must be 1, 2 or 3, got 4"),
        (lambda: Interpolated(VQ(6, 2), grouping="folded"), r"multiple of scale\^n = 4, got 6"),
        (lambda: LooC(10, 8, 4), "dim must be a multiple of code_dim = 4, got 10"),
        (lambda: LooC(10, 8, 1, distance="cosine"), "needs dim > 1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_layout_is_refused():
    q = Interpolated(VQ(4, 2), spatial_dims=2)
    with pytest.raises(ValueError, match=r"z must have 2 spatial dims"):
        q(torch.randn(1, 5, 4))


def test_codes_without_their_grid_are_named():
    quantizer = Interpolated(VQ(4, 8), scale=2, spatial_dims=2).eval()
    with pytest.raises(ValueError, match=r"codes must have 2 spatial dims \(spatial_dims=2\), got shape \(1, 6, 4\)"):
        quantizer.decode(torch.zeros(1, 6, 4, dtype=torch.int64))


def test_a_residual_with_an_interpolated_stage_is_fitted_stage_by_stage():
    z = torch.randn(4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    quantizer = Residual([VQ(8, 16), LooC(8, 16, 4, scale=2)])
    alone = VQ(8, 16).fit(z)
    quantizer.fit(z)
    first, second = quantizer.stages
    assert torch.equal(first.codebook.weight, alone.codebook.weight)
    rest = z - alone.decode(alone.encode(z))
    torch.testing.assert_close(
        second.state_dict()["quantizer.quantizer.pieces.0.codebook.weight"],
        LooC(8, 16, 4, scale=2).fit(rest).state_dict()["quantizer.quantizer.pieces.0.codebook.weight"],
    )
    errors = [float((quantizer.eval().decode(quantizer.encode(z), stages=n) - z).square().mean()) for n in (1, 2)]
    assert errors[1] < errors[0]


def test_pieces_that_look_at_neighbours_are_refused():
    with pytest.raises(ValueError, match="put Interpolated around the Product"):
        Product([LooC(4, 8, 2, scale=2), LooC(4, 8, 2, scale=2)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: System(Residual([VQ(8, 16), LooC(8, 16, 4, scale=2)])),
        lambda: Residual([Interpolated(RVQ(8, 16, 2)), Residual([VQ(8, 16), LooC(8, 16, 4, scale=2)])]),
        lambda: Interpolated(Residual([VQ(8, 16), LooC(8, 16, 4, scale=2)])),
    ],
)
def test_a_residual_with_an_interpolated_stage_is_fitted_wherever_it_stands(make):
    torch.manual_seed(0)
    maps = [torch.randn(4, 6, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(9, 8)]  # of any size, and bare vectors
    quantizer = make()
    before = (quantizer.eval()(maps[0]).z_q - maps[0]).square().mean()
    quantizer.fit(iter(maps))
    after = (quantizer.eval()(maps[0]).z_q - maps[0]).square().mean()
    assert after < 0.8 * before
    with pytest.raises(ValueError, match="no vectors to fit"):
        quantizer.fit([])


@pytest.mark.parametrize(
    ("kind", "arguments"), [(vqkit.RVQ, (4, 8, 3)), (Residual, ([vqkit.VQ(4, 8), vqkit.VQ(4, 8), vqkit.VQ(4, 8)],))]
)
def test_a_subclass_that_encodes_in_its_own_way_does_so_for_the_first_stages(kind, arguments):
    class Turned(kind):
        def _encode(self, x, mask):
            return super()._encode(-x, mask)

    torch.manual_seed(0)
    quantizer, z = Turned(*arguments).eval(), torch.randn(1, 9, 4)
    assert torch.equal(quantizer.encode(z, stages=2), quantizer.encode(z)[..., :2])
