"""Gradients through a search, against definitions written out with matrices and finite differences."""

import pytest
import torch

from vqkit import VQ, Residual
from vqkit.quantize.assignment import balanced_codes, drawn_codes
from vqkit.quantize.gradients import directional_noise, noise_substitution, rotation_trick


def test_the_rotation_trick_is_a_rotation_and_a_scale():
    torch.manual_seed(0)
    z, e = torch.randn(5, 7, dtype=torch.float64, requires_grad=True), torch.randn(5, 7, dtype=torch.float64)
    weight = torch.randn(5, 7, dtype=torch.float64)
    out = rotation_trick(z, e)
    assert torch.equal(out, e)
    (grad,) = torch.autograd.grad((out * weight).sum(), z)
    for row in range(5):
        u, w = (v / v.norm() for v in (z[row].detach(), e[row]))
        r = (u + w) / (u + w).norm()
        rotation = torch.eye(7, dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(w, u)
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(7, dtype=torch.float64))
        torch.testing.assert_close(rotation @ u, w)
        scale = e[row].norm() / z[row].norm()
        torch.testing.assert_close(grad[row], scale * rotation.T @ weight[row])


@pytest.mark.parametrize(("z", "e"), [([0.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, 0.0], [-2.0, 0.0])])
def test_the_rotation_trick_passes_straight_where_there_is_no_rotation(z, e):
    point = torch.tensor([z], requires_grad=True)
    (grad,) = torch.autograd.grad((rotation_trick(point, torch.tensor([e])) * torch.tensor([3.0, 4.0])).sum(), point)
    assert grad.tolist() == [[3.0, 4.0]]


def test_noise_substitution_is_as_far_as_the_code_in_the_direction_of_the_noise():
    torch.manual_seed(0)
    z, e, noise = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(3))
    out = noise_substitution(z, e, noise)
    torch.testing.assert_close((out - z).norm(dim=-1), (e - z).norm(dim=-1))
    direction = noise / noise.norm(dim=-1, keepdim=True)
    (grad,) = torch.autograd.grad(out.sum(), e)
    expected = direction.sum(dim=-1, keepdim=True) * (e - z) / (e - z).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(grad, expected)


def test_directional_noise_is_the_code_without_noise_and_moves_it_by_the_distance_alone():
    torch.manual_seed(0)
    z, e = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.testing.assert_close(directional_noise(z, e, torch.zeros_like(z)), e)
    out = directional_noise(z, e, torch.randn_like(z))
    assert 0 < (out - e).norm(dim=-1).max() < 0.3
    weight = torch.randn_like(z)
    way = (e - z) / (e - z).norm(dim=-1, keepdim=True)
    (grad,) = torch.autograd.grad((directional_noise(z, e, torch.zeros_like(z)) * weight).sum(), e)
    torch.testing.assert_close(grad, way.detach() * (way.detach() * weight).sum(dim=-1, keepdim=True))


def test_noise_at_a_vector_that_is_its_own_code_has_finite_gradients():
    z = torch.ones(1, 3, requires_grad=True)
    noise_substitution(z, torch.ones(1, 3), torch.ones(1, 3)).sum().backward()
    assert z.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_the_soft_gradient_is_that_of_the_expected_code():
    torch.manual_seed(0)
    q = VQ(4, 6, gradient="soft", update="gradient", init="uniform", revive="none", temperature=0.5)
    with torch.no_grad():
        q.codebook.weight.normal_()
    z, weight = torch.randn(1, 3, 4, requires_grad=True), torch.randn(1, 3, 4)
    out = q(z)
    assert torch.equal(out.z_q, q.decode(out.codes))
    grad_z, grad_codes = torch.autograd.grad((out.z_q * weight).sum(), (z, q.codebook.weight))
    table = q.codebook.weight.detach().clone().requires_grad_()
    x = z.detach().clone().requires_grad_()
    p = (-(x[..., None, :] - table).square().sum(dim=-1) / 0.5).softmax(dim=-1)
    expected_z, expected_codes = torch.autograd.grad((p @ table * weight).sum(), (x, table))
    torch.testing.assert_close(grad_z, expected_z)
    hard = torch.zeros(6, 4).index_add(0, out.codes.flatten(), weight.reshape(-1, 4))
    torch.testing.assert_close(grad_codes, expected_codes + hard)
    assert (grad_codes.abs().sum(dim=1) > 0).all()  # also codes that nobody chose


@pytest.mark.parametrize("gradient", ["rotation", "nsvq", "diveq", "soft"])
def test_every_gradient_trains_an_encoder(gradient):
    """A scale in front of the quantizer that is wrong by 5 learns to be right, through the quantizer alone."""
    torch.manual_seed(0)
    target = torch.randn(1, 400, 2)
    q = VQ(2, 64, gradient=gradient).fit(target)
    q.freeze()
    q.train()
    scale = torch.nn.Parameter(torch.tensor(0.2))
    optimizer = torch.optim.Adam([scale], 0.02)
    for _ in range(150):
        out = q(target * scale)
        optimizer.zero_grad()
        (out.z_q - target).square().mean().backward()
        optimizer.step()
    assert 0.75 < scale.item() < 1.3


def test_gradients_through_residual_stages_are_finite_and_reach_the_encoder():
    torch.manual_seed(0)
    q = Residual([VQ(6, 8, gradient="rotation"), VQ(6, 8, gradient="rotation")])
    z = torch.randn(2, 9, 6, requires_grad=True)
    q(z).z_q.square().sum().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad != 0).any(dim=-1).all()


def test_balanced_codes_are_even_where_the_nearest_are_not():
    torch.manual_seed(0)
    x, codes = torch.randn(1000, 2), torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    scores = -(x[:, None] - codes).square().sum(dim=-1)
    nearest = scores.argmax(dim=1).bincount(minlength=4)
    balanced = balanced_codes(scores, None, 0.05, iterations=200).bincount(minlength=4)
    assert nearest[0] > 900
    assert balanced.min() > 180
    masked = balanced_codes(scores, torch.arange(1000) < 500, 0.05, iterations=200)[:500].bincount(minlength=4)
    assert masked.min() > 80


def test_drawn_codes_follow_the_softmax():
    torch.manual_seed(0)
    scores = torch.tensor([0.0, 1.0, 2.0]).expand(30_000, 3)
    share = drawn_codes(scores, 2.0, torch.rand(30_000, 3)).bincount(minlength=3) / 30_000
    torch.testing.assert_close(share, torch.tensor([0.0, 0.5, 1.0]).softmax(dim=0), atol=0.01, rtol=0)


def test_evaluation_and_encode_take_the_nearest_whatever_the_assignment():
    torch.manual_seed(0)
    z = torch.randn(1, 200, 3)
    q = VQ(3, 8, assignment="drawn", temperature=5.0).fit(z)
    plain = VQ(3, 8)
    plain.load_state_dict(q.state_dict())
    assert torch.equal(q.encode(z), plain.encode(z))
    assert torch.equal(q.eval()(z).codes, plain.encode(z))
    assert not torch.equal(q.train().freeze()(z).codes, plain.encode(z))


def test_the_spreading_losses_on_paper():
    q = VQ(2, 3, update="gradient", init="uniform", orthogonality_weight=1.0, diversity_weight=1.0).eval()
    with torch.no_grad():
        q.codebook.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    losses = q(torch.tensor([[[1.0, 0.0]]])).losses
    assert losses["orthogonality"].item() == pytest.approx((0.5 + 0.5) * 2 / 6)  # cosines 0, √½, √½; six ordered pairs
    p = torch.tensor([-1.0, -2.0, -1.0]).softmax(dim=0)
    assert losses["diversity"].item() == pytest.approx((p * p.log()).sum().item())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"gradient": "none"},
            "gradient must be one of 'straight-through', 'rotation', 'nsvq', 'diveq', 'soft', got 'none'",
        ),
        ({"assignment": "far"}, "assignment must be one of 'nearest', 'balanced', 'drawn'"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"orthogonality_weight": 1.0}, "needs update='gradient'"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        VQ(4, 8, **arguments)
