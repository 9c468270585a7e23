import math
from itertools import pairwise, product

import pytest
import torch

from vqkit import FSQ, LFQ, Interpolated, Residual, ResidualFSQ, ResidualLFQ
from vqkit.quantize.lfq import _corner_products


def test_fsq_on_paper():
    q = FSQ(dim=2, levels=[3, 4]).eval()
    # odd: tanh(y)·1 rounds to −1, 0, 1; even: −2 … 1 of width 2 → −1, −½, 0, ½
    z = torch.tensor([[[-9.0, -9.0], [0.0, 0.0], [9.0, 9.0], [0.2, -0.5]]])
    out = q(z)
    assert out.z_q[0].tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, 0.5], [0.0, -0.5]]
    assert out.codes.flatten().tolist() == [0 + 3 * 0, 1 + 3 * 2, 2 + 3 * 3, 1 + 3 * 1]
    assert out.losses == {}


def test_fsq_every_code_is_reachable_and_decodes_to_itself():
    q = FSQ(dim=3, levels=[5, 4, 2]).eval()
    codes = torch.arange(40)[None, :, None]
    vectors = q.decode(codes)
    assert len(vectors[0].unique(dim=0)) == 40
    grid = torch.cartesian_prod(*[torch.linspace(-4, 4, 41)] * 3)[None]
    assert len(q.encode(grid).unique()) == 40


def test_fsq_gradient_is_that_of_the_unrounded_map():
    torch.manual_seed(0)
    q = FSQ(dim=8, levels=[7, 5, 4])
    z = torch.randn(2, 5, 8, requires_grad=True)
    weight = torch.randn_like(z)
    (grad,) = torch.autograd.grad((q(z).z_q * weight).sum(), z)
    smooth = q.projection.out_of(q._values(q._bound(q.projection.into(z))))
    (expected,) = torch.autograd.grad((smooth * weight).sum(), z)
    torch.testing.assert_close(grad, expected)


def test_residual_gradient_is_the_chain_rule():
    """I − Π(I − J_i): the Jacobians of the stages composed through the residuals, here one by one."""
    torch.manual_seed(0)
    stages = [FSQ(6, [5, 5]), FSQ(6, [5, 5], scale=0.25), LFQ(6, 3, scale=0.1)]
    q = Residual(stages)
    z = torch.randn(1, 1, 6)
    jacobian = torch.autograd.functional.jacobian(lambda x: q(x).z_q, z).reshape(6, 6)
    left = torch.eye(6)
    residual = z
    for stage in stages:
        own = torch.autograd.functional.jacobian(lambda x, stage=stage: stage(x).z_q, residual).reshape(6, 6)
        left = (torch.eye(6) - own) @ left
        residual = residual - stage(residual).z_q
    torch.testing.assert_close(jacobian, torch.eye(6) - left)


def test_interpolated_gradient_is_that_of_upsampling_and_pooling():
    from vqkit import VQ

    torch.manual_seed(0)
    q = Interpolated(VQ(4, 8), scale=2, spatial_dims=2)
    z = torch.randn(1, 5, 4, 4, requires_grad=True)
    weight = torch.randn_like(z)
    (grad,) = torch.autograd.grad((q(z).z_q * weight).sum(), z)
    smooth = q._pooled(q._interpolate(z))
    (expected,) = torch.autograd.grad((smooth * weight).sum(), z)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("levels", [[7, 5, 5, 5, 5], [8, 5, 4]])
def test_fsq_same_codes_as_vector_quantize_pytorch(levels):
    from vector_quantize_pytorch import FSQ as Peer

    torch.manual_seed(0)
    peer = Peer(levels=levels, dim=len(levels)).eval()
    q = FSQ(dim=len(levels), levels=levels).eval()
    z = torch.randn(4, 500, len(levels)) * 2
    values, codes = peer(z)
    assert torch.equal(q.encode(z)[..., 0], codes.long())
    torch.testing.assert_close(q(z).z_q, values)


def test_lfq_same_codes_as_vector_quantize_pytorch():
    from vector_quantize_pytorch import LFQ as Peer

    torch.manual_seed(0)
    peer = Peer(codebook_size=2**9, dim=9).eval()
    z = torch.randn(4, 500, 9)
    values, codes, _ = peer(z)
    q = LFQ(dim=9, bits=9).eval()
    assert torch.equal(q.encode(z)[..., 0], codes.long())
    torch.testing.assert_close(q(z).z_q, values)


def test_lfq_on_paper():
    q = LFQ(dim=3, bits=3).eval()
    out = q(torch.tensor([[[0.1, -2.0, 3.0], [0.0, -1.0, -1.0]]]))
    assert out.codes.flatten().tolist() == [0b101, 0b000]
    assert out.z_q[0].tolist() == [[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]


def test_lfq_entropy_equals_the_softmax_over_all_codes():
    torch.manual_seed(0)
    q = LFQ(dim=5, bits=5, temperature=2.0, diversity=0.7, entropy_weight=0.3)
    z = torch.randn(2, 11, 5)
    corners = torch.tensor(list(product([-1.0, 1.0], repeat=5)))
    p = torch.softmax(-torch.cdist(z.reshape(-1, 5), corners).square() / 2.0, dim=-1)
    mean = p.mean(dim=0)
    expected = -(p * p.log()).sum(-1).mean() + 0.7 * (mean * mean.log()).sum()
    torch.testing.assert_close(q(z).losses["entropy"], 0.3 * expected)


def test_lfq_entropy_is_per_factor_above_16_bits():
    torch.manual_seed(0)
    z = torch.randn(1, 7, 20)
    both = LFQ(dim=20, bits=20, entropy_weight=1.0)(z).losses["entropy"]
    first = LFQ(dim=16, bits=16, entropy_weight=1.0)(z[..., :16]).losses["entropy"]
    second = LFQ(dim=4, bits=4, entropy_weight=1.0)(z[..., 16:]).losses["entropy"]
    torch.testing.assert_close(both, first + second)


def test_corner_products_sum_to_one():
    p = torch.rand(6, 4)
    corners = _corner_products(torch.stack([1 - p, p], dim=-1))
    assert corners.shape == (6, 16)
    torch.testing.assert_close(corners.sum(dim=1), torch.ones(6))


def test_lfq_with_62_bits():
    q = LFQ(dim=62, bits=62).eval()
    z = torch.randn(1, 3, 62)
    assert torch.equal(q.decode(q.encode(z)), q(z).z_q)
    assert q.code_sizes == (2**62,)


@pytest.mark.parametrize("make", [lambda: ResidualFSQ(12, [5, 5, 5], 4), lambda: ResidualLFQ(12, 6, 4)])
def test_later_stages_are_not_all_zeros(make):
    """Without a scale a stage the residual falls into the middle level and the later codes carry nothing."""
    torch.manual_seed(0)
    x = torch.randn(4000, 12)
    q = make().fit(x).eval()
    codes = q.encode(x[None])[0]
    errors = [(q.decode(codes[None, :, :n])[0] - x).square().mean().item() for n in range(1, 5)]
    assert all(later < 0.95 * earlier for earlier, later in pairwise(errors))
    for stage in range(4):
        share = torch.bincount(codes[:, stage]) / len(codes)
        assert -(share[share > 0] * share[share > 0].log2()).sum() > 0.5 * math.log2(q.code_sizes[stage])


def test_bare_residual_fsq_needs_and_has_its_scale():
    torch.manual_seed(0)
    z = torch.randn(1, 500, 4)
    q = ResidualFSQ(4, [5] * 4, 3).eval()
    codes = q.encode(z)
    assert all(len(codes[..., stage].unique()) > 50 for stage in range(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FSQ(4, []), "levels must be integers of at least 2"),
        (lambda: FSQ(4, [1, 5]), r"levels must be integers of at least 2, got \[1, 5\]"),
        (lambda: FSQ(4, [2] * 63), "product below 2\\^62"),
        (lambda: FSQ(4, [5, 5], scale=[1.0]), "scale must be positive, one number or one for each of 2 levels"),
        (lambda: LFQ(4, 63), "bits must be at most 62"),
        (lambda: LFQ(4, 2, temperature=0), "scale and temperature must be positive"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
