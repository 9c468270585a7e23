"""Stepped and SteppedFSQ: whole numbers of a step that the first code names, chosen by error and rate."""

import math

import pytest
import torch

from vqkit import FSQ, VQ, Bands, Interpolated, Stepped, SteppedFSQ
from vqkit.quantize.stepped import cauchy_bits


def whole_numbers(dim: int = 1, levels: int = 9) -> FSQ:
    return FSQ(dim, [levels] * dim, scale=levels / 2, bound="clamp")


def with_scale(q: Stepped, scale: float) -> Stepped:
    torch.nn.init.constant_(q.log_scale, math.log(scale))
    return q.eval()


def test_bits_are_those_of_the_cauchy_distribution():
    numbers, step = torch.arange(-3.0, 4.0), torch.tensor(0.7)
    edges = [[0.5 + math.atan((n + side) * 0.7) / math.pi for side in (-0.5, 0.5)] for n in numbers.tolist()]
    expected = [-math.log2(right - left) for left, right in edges]
    torch.testing.assert_close(cauchy_bits(numbers, step), torch.tensor(expected))
    far = cauchy_bits(torch.tensor([1e4, 1e6]), torch.tensor(1.0))
    torch.testing.assert_close(far, torch.tensor([math.log2(math.pi * 1e8), math.log2(math.pi * 1e12)]))
    assert (2.0 ** -cauchy_bits(torch.arange(-3000.0, 3001.0), step)).sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
def test_numbers_have_the_least_cost(scale):
    """Of all whole numbers, by trying them: the nearest, the next towards 0 and 0 suffice."""
    q, step = with_scale(Stepped(whole_numbers(1, 31), [0.5], slope=0.2), scale), 0.5
    z = torch.linspace(-6, 6, 997)
    tried = torch.arange(-15.0, 16.0)
    cost = (z[:, None] / step - tried).square() + 0.2 * cauchy_bits(tried, torch.tensor(step / scale))
    best = tried[cost.argmin(dim=1)] * step
    torch.testing.assert_close(q.decode(q.encode(z[None, :, None]))[0, :, 0], best)


def test_rare_coordinates_have_wider_dead_zones():
    q = Stepped(whole_numbers(2), [1.0], slope=0.13)
    q.log_scale.copy_(torch.tensor([10.0, 0.001]).log())
    found = q.eval().decode(q.encode(torch.tensor([[[0.6, 0.6], [0.6, 0.95], [0.6, 2.52]]])))[0]
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 2.0]]))


def test_the_rate_weight_names_the_step():
    steps = [0.25, 0.5, 1.0]
    q = with_scale(Stepped(whole_numbers(), steps, slope=0.1), 1.0)
    assert q.rate_weights == pytest.approx((0.1 / 16, 0.1 / 4, 0.1))
    z = torch.tensor([[[0.9]]])
    assert q.encode(z)[0, 0, 0] == 0
    for index, weight in enumerate(q.rate_weights):
        for near in (0.6 * weight, weight, 1.6 * weight):
            assert q.encode(z, rate_weight=near)[0, 0, 0] == index
    assert q.encode(z, rate_weight=0.0)[0, 0, 0] == 0
    assert q.encode(z, rate_weight=100.0)[0, 0, 0] == 2
    mask = torch.tensor([[True, False]])
    codes = q.encode(torch.tensor([[[0.9], [0.9]]]), mask, rate_weight=0.1)
    assert codes.tolist() == [[[2, 4 + 1], [-1, -1]]]
    assert q.decode(codes).tolist() == [[[1.0], [0.0]]]


def test_a_vector_beyond_reach_takes_a_coarser_step():
    steps = [0.5 * 2 ** (index / 4) for index in range(13)]
    q = with_scale(Stepped(whole_numbers(2), steps, slope=1e-6), 1.0)
    codes = q.encode(torch.tensor([[[1.9, 0.4], [7.6, 0.4], [2.3, 0.4], [50.0, 0.0]]]))
    # of 0.5, 1, 2 and 4, of which each reaches four steps: 1.9 stays; 7.6 is off by 5.6, 3.6, 0.4 and 0.4; 2.3 by 0.3 whichever it takes
    found = q.decode(codes)[0]
    assert codes[0, :, 0].tolist() == [0, 8, 0, 12]
    torch.testing.assert_close(found[:, 0], torch.tensor([2.0, 8.0, 2.0, 16.0]))


def test_training_draws_steps():
    torch.manual_seed(0)
    q = Stepped(whole_numbers(2), [0.5, 0.75, 1.0]).train()
    z = torch.randn(64, 20, 2)
    out = q(z)
    drawn = out.codes[..., 0]
    assert (drawn == drawn[:, :1]).all()  # one a batch element
    assert set(drawn.flatten().tolist()) == {0, 1, 2}
    assert torch.equal(out.z_q, q.decode(out.codes))


def test_a_fit_finds_scales():
    z = torch.distributions.Cauchy(0.0, torch.tensor([2.0, 0.1])).sample((20000,))
    q = Stepped(whole_numbers(2, 9), [0.5, 1.0]).fit(z)
    torch.testing.assert_close(q.log_scale.detach().exp(), torch.tensor([2.0, 0.1]), rtol=0.1, atol=0)


def test_nested_grids_by_hand():
    """7·9 + 4 = 67 steps of reach; the coarse code counts nines, the fine one what is left."""
    q = SteppedFSQ([[[[15]], [[9]]], [[[3, 3]]]], steps=[1.0]).eval()
    torch.nn.init.constant_(q.quantizer.log_scale, 8.0)  # every number is as likely: no dead zone
    z = torch.tensor([[[30.2, 1.1, -5.0], [-67.0, 0.4, 0.0], [100.0, -0.7, 1.0]]])
    codes = q.encode(z)
    assert codes[0, :, 1:3].tolist() == [[7 + 3, 4 + 3], [7 - 7, 4 - 4], [7 + 7, 4 + 4]]
    torch.testing.assert_close(q.decode(codes), torch.tensor([[[30.0, 1, -1], [-67.0, 0, 0], [67.0, -1, 1]]]))
    assert q.codes_per_stage == (3, 1)
    assert q.rate_weights == q.quantizer.rate_weights == (0.13,)


def test_what_they_refuse():
    for steps in ([], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match="steps must be|slope must be"):
            Stepped(whole_numbers(), steps)
    with pytest.raises(ValueError, match="slope must be positive"):
        Stepped(whole_numbers(), [1.0], slope=0)
    with pytest.raises(ValueError, match="put Interpolated around it"):
        Stepped(Interpolated(VQ(2, 4), spatial_dims=2), [1.0])
    with pytest.raises(ValueError, match="levels must be odd"):
        SteppedFSQ([[[[4]]]], [1.0])
    with pytest.raises(ValueError, match="one number of levels, got"):
        SteppedFSQ([[[[3, 3]], [[9, 5]]]], [1.0])
    assert Bands([whole_numbers()]).rate_weights == ()
