import numpy as np
import pytest
import torch

from vqkit.losses import Balancer


def step(balancer, source, factor=1.0):
    """One use on an output that is the parameter itself; its gradient and those of the losses."""
    output = source.clone().requires_grad_()
    losses = {"near": (output - 1).square().mean(), "far": factor * (output + 3).abs().pow(1.5).mean()}
    gradients = {name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()}
    balancer(losses, output).backward()
    return output.grad, {name: value.double().numpy() for name, value in gradients.items()}


def test_gradient_equals_the_formula_over_several_steps():
    balancer = Balancer({"near": 1.0, "far": 3.0}, total_norm=2.0, decay=0.9)
    sums, weights = {"near": 0.0, "far": 0.0}, 0.0
    for seed in range(4):
        source = torch.randn(5, 1, 40, generator=torch.Generator().manual_seed(seed))
        found, gradients = step(balancer, source)
        weights = 0.9 * weights + 0.1
        expected = 0
        for name, share in (("near", 0.25), ("far", 0.75)):
            norm = np.mean([np.linalg.norm(item) for item in gradients[name]])
            sums[name] = 0.9 * sums[name] + 0.1 * norm
            expected = expected + 2.0 * share * gradients[name] / (sums[name] / weights)
        np.testing.assert_allclose(found.numpy(), expected / 5, rtol=1e-4, atol=1e-7)


def test_scale_of_a_loss_does_not_matter():
    source = torch.randn(3, 1, 40)
    one, _ = step(Balancer({"near": 1.0, "far": 1.0}), source)
    other, _ = step(Balancer({"near": 1.0, "far": 1.0}), source, factor=1e4)
    torch.testing.assert_close(one, other)


def test_evaluation_leaves_the_averages_and_the_state_is_saved():
    balancer = Balancer({"near": 1.0, "far": 1.0})
    step(balancer, torch.randn(3, 1, 40))
    state = {name: value.clone() for name, value in balancer.state_dict().items()}
    balancer.eval()
    step(balancer, 10 * torch.randn(3, 1, 40))
    assert all(torch.equal(state[name], value) for name, value in balancer.state_dict().items())
    assert sorted(state) == ["average", "seen"]


def test_some_of_the_losses_share_the_norm():
    balancer = Balancer({"near": 1.0, "far": 5.0})
    output = torch.randn(2, 8).requires_grad_()
    balancer({"near": output.square().sum()}, output).backward()
    assert (output.grad.norm(dim=1).mean() * 2).item() == pytest.approx(1.0, rel=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="weights must be positive, at least one, got {'a': 0}"):
        Balancer({"a": 0})
    with pytest.raises(ValueError, match="decay must be in \\[0, 1\\), got 1"):
        Balancer({"a": 1}, decay=1)
    output = torch.zeros(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match="losses must be among a, got b"):
        Balancer({"a": 1})({"b": output.sum()}, output)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("first", [False, True])
def test_a_step_that_is_not_finite_is_seen_and_leaves_no_trace(bad, first):
    sources = torch.randn(4, 3, 1, 40)
    balancer, other = (Balancer({"near": 1.0, "far": 1.0}, decay=0.9) for _ in range(2))
    for number, source in enumerate(sources):
        if number == (0 if first else 2):
            state = {name: value.clone() for name, value in balancer.state_dict().items()}
            with pytest.warns(UserWarning, match="gradient of loss 'far' is not finite: the balancer's averages stay"):
                found, _ = step(balancer, source, factor=bad)
            step(balancer, source, factor=bad)  # said once: tests turn warnings into errors
            assert not found.isfinite().all()
            assert all(torch.equal(state[name], value) for name, value in balancer.state_dict().items())
        assert torch.equal(step(balancer, source)[0], step(other, source)[0])
