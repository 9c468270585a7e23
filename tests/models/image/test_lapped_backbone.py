"""The lapped transform: exact, local, and sparse on smooth images."""

import math

import pytest
import torch

from vqkit.models import LappedBackbone
from vqkit.models.image.lapped_backbone import cosine_basis, lapping


def plain(dim: int = 768, channels: int = 3) -> LappedBackbone:
    return LappedBackbone(dim, channels=channels).double()


def test_the_cosine_basis_by_hand():
    c, s = math.cos(math.pi / 8) / math.sqrt(2), math.sin(math.pi / 8) / math.sqrt(2)
    expected = torch.tensor([[0.5, 0.5, 0.5, 0.5], [c, s, -s, -c], [0.5, -0.5, -0.5, 0.5], [s, -c, c, -s]])
    torch.testing.assert_close(cosine_basis(4), expected.double())
    fourth = cosine_basis(8, 0.5)
    torch.testing.assert_close(fourth @ fourth, torch.eye(8, dtype=torch.float64))


@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_lapping_keeps_flat_signals_and_changes_edges(stretch):
    matrix = lapping(16, stretch)
    torch.testing.assert_close(matrix @ torch.ones(16).double(), torch.ones(16).double())
    edge = torch.cat([torch.zeros(8), torch.ones(8)]).double()
    assert (matrix @ edge - edge).abs().max() > 0.1
    distance = (matrix @ matrix.T - torch.eye(16)).abs().max()
    assert (distance < 1e-12) == (stretch == 1)


@pytest.mark.parametrize("size", [(16, 16), (48, 16), (64, 80)])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_coefficients_give_the_image_back(size, channels):
    backbone, images = plain(256 * channels, channels), torch.rand(2, channels, *size, dtype=torch.float64)
    latent = backbone.encode(images)
    assert latent.shape == (2, size[0] // 16, size[1] // 16, 256 * channels)
    torch.testing.assert_close(backbone.decode(latent), images, atol=1e-5, rtol=0)  # constants are float32


def test_a_gray_image_has_one_coefficient():
    backbone = plain()
    latent = backbone.encode(torch.full((1, 3, 64, 64), 0.75, dtype=torch.float64))
    torch.testing.assert_close(latent[..., 0], torch.full((1, 4, 4), 0.25 * 16 * math.sqrt(3), dtype=torch.float64))
    assert latent[..., 1:].abs().max() < 1e-5


def test_lapping_makes_ramps_sparser_than_blocks_do():
    """The reason for it: a ramp costs a block transform coefficients in every block, since its ends do not meet."""
    ramp = torch.linspace(0, 1, 128, dtype=torch.float64).expand(1, 1, 128, 128)
    backbone = plain(256, 1)
    lapped = backbone.encode(ramp)[0, 3, 3]
    basis = cosine_basis(16)
    block = (basis @ (ramp[0, 0, 48:64, 48:64] - 0.5) @ basis.T).flatten()[backbone.order]
    assert lapped[1:].abs().sum() < 0.7 * block[1:].abs().sum()


def test_the_first_batch_chooses_the_coefficients():
    backbone = plain(2, 1)
    columns = torch.cos(math.pi * (torch.arange(16) + 0.5) * 5 / 16).repeat(4)
    images = (
        0.5 + 0.3 * columns.expand(4, 1, 64, 64).double() * torch.tensor([1.0, -1.0, 0.5, -0.5])[:, None, None, None]
    )
    backbone.initialize(images)
    assert set(backbone.order.tolist()) == {5, 5 * 16}  # across, and down the same
    with pytest.raises(ValueError, match="of one colour"):
        backbone.initialize(torch.full((2, 1, 32, 32), 0.5, dtype=torch.float64))


def test_a_tile_with_its_margin_is_the_image():
    torch.manual_seed(0)
    backbone = LappedBackbone(60).double()
    images, cells = torch.rand(1, 3, 192, 192, dtype=torch.float64), backbone.margin // 16
    whole = backbone.encode(images)
    tile = backbone.encode(images[..., : 96 + backbone.margin, : 96 + backbone.margin])
    torch.testing.assert_close(tile[:, :6, :6], whole[:, :6, :6])
    part = backbone.decode(whole[:, : 6 + cells, : 6 + cells])
    torch.testing.assert_close(part[..., :96, :96], backbone.decode(whole)[..., :96, :96])
    less = backbone.decode(whole[:, : 6 + cells - 1, : 6 + cells - 1])
    assert not torch.allclose(less[..., :96, :96], backbone.decode(whole)[..., :96, :96])


def test_what_it_refuses():
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        LappedBackbone(8, channels=2)
    with pytest.raises(ValueError, match="dim must be in 1 … 256, got 257"):
        LappedBackbone(257, channels=1)
