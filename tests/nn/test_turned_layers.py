import pytest
import torch
from torch import nn

from vqkit.nn.turned_layers import check_rotation, turn_inputs, turn_outputs

ROTATION = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]


def turned(x):
    """Channels of images, or the last dimension."""
    return torch.einsum("bihw,ip->bphw", x, ROTATION) if x.ndim == 4 else x @ ROTATION


@pytest.mark.parametrize("layer", [nn.Linear(4, 6), nn.Conv2d(4, 6, 3, bias=False), nn.Conv2d(4, 6, 2, 2)])
def test_outputs(layer):
    x = torch.rand(2, 4, 8, 8) if isinstance(layer, nn.Conv2d) else torch.rand(2, 4)
    expected = turned(layer(x))
    turn_outputs(layer, ROTATION)
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(6, 4, 3), nn.ConvTranspose2d(6, 4, 4, 2, 1)])
def test_inputs(layer):
    x = torch.rand(2, 6) if isinstance(layer, nn.Linear) else torch.rand(2, 6, 8, 8)
    expected = layer(x)
    turn_inputs(layer, ROTATION)
    torch.testing.assert_close(layer(turned(x)), expected, atol=1e-6, rtol=1e-5)


def test_what_cannot_be_turned():
    with pytest.raises(TypeError, match="layer must be a Linear, a Conv2d or a Conv3d, got ConvTranspose2d"):
        turn_outputs(nn.ConvTranspose2d(4, 6, 2), ROTATION)
    with pytest.raises(
        TypeError, match="layer must be a Linear, a Conv2d, a Conv3d or a ConvTranspose2d, got GroupNorm"
    ):
        turn_inputs(nn.GroupNorm(2, 6), ROTATION)
    for wrong in (2 * ROTATION, ROTATION[:5]):
        with pytest.raises(ValueError, match=r"rotation must be orthonormal and \(6, 6\), got shape"):
            check_rotation(wrong, 6)
