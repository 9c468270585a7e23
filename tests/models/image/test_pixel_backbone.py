"""Pixels as latents: nothing is lost, and a vector is a block, pixel after pixel."""

import pytest
import torch

from vqkit.models import PixelBackbone


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cell", [1, 4, 8])
def test_images_come_back(cell, channels):
    backbone, images = PixelBackbone(cell, channels=channels), torch.rand(2, channels, 16, 24)
    latent = backbone.encode(images)
    assert latent.shape == (2, *backbone.grid(16, 24), backbone.dim)
    torch.testing.assert_close(backbone.decode(latent), images)


def test_a_vector_holds_the_channels_of_pixel_after_pixel():
    image = torch.arange(3 * 4 * 4).view(1, 3, 4, 4) / 48
    vector = PixelBackbone(2).encode(image)[0, 1, 0]  # of rows 2 and 3, columns 0 and 1
    expected = torch.stack([image[0, :, row, column] for row in (2, 3) for column in (0, 1)]) - 0.5
    torch.testing.assert_close(vector, expected.flatten())


def test_what_it_cannot_be_is_refused():
    for options, message in (
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"cell": 0}, "cell must be in 1 … 64"),
    ):
        with pytest.raises(ValueError, match=message):
            PixelBackbone(**options)
    with pytest.raises(ValueError, match="no layer that learns"):
        _ = PixelBackbone().last_layer
