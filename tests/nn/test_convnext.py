"""The way that takes frames first computes what the plain one computes."""

import pytest
import torch

from vqkit.nn import fast_linear as of_linear
from vqkit.nn.convnext import ConvNeXtBlock


@pytest.mark.skipif(not of_linear._AVAILABLE, reason="this build or processor has no such operation")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [8, 31, 200])
@torch.no_grad()
def test_frames_first_is_the_plain_way(causal, frames, monkeypatch):
    torch.manual_seed(0)
    block = ConvNeXtBlock(24, causal=causal).eval()
    x = torch.randn(2, 24, frames)
    expected = block._plain(x)
    monkeypatch.setattr(block, "_plain", lambda x: pytest.fail("the plain way was taken"))
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)
    view = x.transpose(1, 2).contiguous().transpose(1, 2)  # as one block hands it to the next
    torch.testing.assert_close(block(view), expected, rtol=1e-5, atol=1e-5)


def test_gradients_take_the_plain_way():
    torch.manual_seed(0)
    block = ConvNeXtBlock(8).eval()
    x = torch.randn(2, 8, 20, requires_grad=True)
    block(x).square().sum().backward()
    (expected,) = torch.autograd.grad(block._plain(x).square().sum(), x)
    assert torch.equal(x.grad, expected)
    assert all(parameter.grad is not None for parameter in block.parameters())
