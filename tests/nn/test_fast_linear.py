"""The faster library gives what the module gives, and is left out wherever something else is meant."""

import pytest
import torch
from torch import nn

from vqkit.nn import fast_linear as of_module
from vqkit.nn.fast_linear import fast_linear, takes_onednn

needs_onednn = pytest.mark.skipif(not of_module._AVAILABLE, reason="this build or processor has no such operation")


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(48, 80)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8,), (3, 50), (2, 3, 7)])
def test_outputs_are_those_of_the_module(bias, shape):
    torch.manual_seed(1)
    layer, x = nn.Linear(48, 80, bias=bias), torch.randn(*shape, 48)
    with torch.no_grad():
        assert takes_onednn(layer, x)
        torch.testing.assert_close(fast_linear(layer, x), layer(x), rtol=1e-5, atol=1e-5)
        turned = x.transpose(0, -1).contiguous().transpose(0, -1)  # not in the order of memory
        torch.testing.assert_close(fast_linear(layer, turned), layer(x), rtol=1e-5, atol=1e-5)


@needs_onednn
def test_it_is_the_other_library_that_computes(layer, monkeypatch):
    """Without this the comparison above would hold of the module with itself."""
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: pytest.fail("the module was called"))
    with torch.no_grad():
        assert fast_linear(layer, torch.randn(9, 48)).shape == (9, 80)


@needs_onednn
def test_a_row_does_not_depend_on_the_rows_beside_it(layer):
    x = torch.randn(300, 48)
    with torch.no_grad():
        whole = fast_linear(layer, x)
        assert torch.equal(fast_linear(layer, x[:150]), whole[:150])


def test_gradients_are_those_of_the_module(layer):
    x = torch.randn(20, 48, requires_grad=True)
    fast_linear(layer, x).square().sum().backward()
    found = [x.grad, layer.weight.grad, layer.bias.grad]
    expected = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight, layer.bias])
    assert all(map(torch.equal, found, expected))


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_frozen_weights_pass_the_gradient_on_by_the_other_library(bias, monkeypatch):
    torch.manual_seed(0)
    layer, x = nn.Linear(48, 80, bias=bias).requires_grad_(False), torch.randn(3, 20, 48, requires_grad=True)
    expected = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    second = torch.autograd.grad(expected[0].square().sum(), x)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: pytest.fail("the module was called"))
    found = torch.autograd.grad(fast_linear(layer, x).pow(3).sum(), x, create_graph=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.autograd.grad(found[0].square().sum(), x), second, rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_what_means_something_else_goes_through_the_module(layer):
    x = torch.randn(20, 48)
    assert not takes_onednn(layer, x[:3])  # too few rows to pay
    assert not takes_onednn(layer.double(), x.double())
    assert not takes_onednn(layer.float(), x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes_onednn(layer, x)
        assert fast_linear(layer, x).dtype == torch.bfloat16
    with torch.enable_grad():
        assert not takes_onednn(layer, x)
    handle = layer.register_forward_hook(lambda module, args, output: output + 1)
    assert torch.equal(fast_linear(layer, x), layer(x))
    handle.remove()

    class Low(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 0

    assert not fast_linear(Low(48, 80), x).any()


def test_an_operation_that_is_gone_or_changed_is_done_without(layer, monkeypatch):
    x = torch.randn(20, 48)
    monkeypatch.setattr(of_module, "takes_onednn", lambda layer, x: True)
    monkeypatch.setattr(torch.ops, "mkldnn", type("Without", (), {"_linear_pointwise": staticmethod(_refuses)}))
    with torch.no_grad():
        assert torch.equal(fast_linear(layer, x), layer(x))


def _refuses(*arguments):
    raise RuntimeError("no such operation")


def test_it_exports_and_compiles_as_the_module(layer):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return fast_linear(self.layer, x)

    x = torch.randn(20, 48)
    with torch.no_grad():
        graph = torch.export.export(Holder().eval(), (x,)).graph
    assert "mkldnn" not in str(graph)
