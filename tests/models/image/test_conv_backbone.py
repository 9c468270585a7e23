"""The layer list against the one of CVQ and LooC, written out here."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, relu

from vqkit.models import ConvBackbone


def numbers_of(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + outputs


@pytest.mark.parametrize(("dim", "channels"), [(64, 1), (128, 3)])
def test_parameters_are_those_of_the_papers_layers(dim, channels):
    backbone = ConvBackbone(dim, channels=channels)
    residual = numbers_of(128, 32, 3) + numbers_of(32, 128, 1)
    encoder = [(channels, 64, 4), (64, 128, 4), (128, 128, 3), (128, dim, 1)]
    decoder = [(dim, 128, 3), (128, 64, 4), (64, channels, 4)]
    for part, layers in ((backbone.encoder, encoder), (backbone.decoder, decoder)):
        assert sum(p.numel() for p in part.parameters()) == 2 * residual + sum(numbers_of(*layer) for layer in layers)


def test_layers_come_in_the_papers_order():
    """The same weights through functions: ReLU before each residual layer, none after the last ones."""
    torch.manual_seed(0)
    backbone = ConvBackbone(8, channels=1, width=16, residual_width=4)
    images = torch.rand(2, 1, 28, 28)
    weights = list(backbone.encoder.parameters())
    pairs = iter(zip(weights[::2], weights[1::2], strict=True))
    x = relu(conv2d(2 * images - 1, *next(pairs), stride=2, padding=1))
    x = relu(conv2d(x, *next(pairs), stride=2, padding=1))
    x = conv2d(x, *next(pairs), padding=1)
    for _ in range(2):
        x = x + conv2d(relu(conv2d(relu(x), *next(pairs), padding=1)), *next(pairs))
    z = conv2d(relu(x), *next(pairs)).permute(0, 2, 3, 1)
    torch.testing.assert_close(backbone.encode(images), z)
    assert z.shape == (2, *backbone.grid(28, 28), 8) == (2, 7, 7, 8)
    weights = list(backbone.decoder.parameters())
    pairs = iter(zip(weights[::2], weights[1::2], strict=True))
    x = conv2d(z.permute(0, 3, 1, 2), *next(pairs), padding=1)
    for _ in range(2):
        x = x + conv2d(relu(conv2d(relu(x), *next(pairs), padding=1)), *next(pairs))
    x = conv_transpose2d(relu(x), *next(pairs), stride=2, padding=1)
    x = conv_transpose2d(relu(x), *next(pairs), stride=2, padding=1)
    torch.testing.assert_close(backbone.decode(z), (x + 1) / 2)
    assert backbone.last_layer is weights[-2]


@pytest.mark.parametrize("downsamples", [1, 2, 3])
def test_each_downsample_halves_the_grid(downsamples):
    backbone = ConvBackbone(4, width=8, residual_width=4, downsamples=downsamples)
    latent = backbone.encode(torch.rand(1, 3, 32, 64))
    assert latent.shape == (1, 32 // backbone.cell, 64 // backbone.cell, 4)
    assert backbone.cell == 2**downsamples
    assert backbone.decode(latent).shape == (1, 3, 32, 64)


def test_initialize_gives_every_layer_unit_scale_and_an_image_in_range():
    torch.manual_seed(0)
    backbone = ConvBackbone(8, width=16, residual_width=4)
    images = torch.rand(4, 3, 32, 32)
    backbone.initialize(images)
    found = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: found.append(output.std().item()))
        for layer in backbone.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    with torch.no_grad():
        made = backbone.decode(backbone.encode(images))
    for hook in hooks:
        hook.remove()
    assert found[:-1] == pytest.approx([1.0] * (len(found) - 1), rel=1e-3)
    assert found[-1] == pytest.approx(0.5, rel=1e-3)  # in [−1, 1]
    assert float(made.std()) == pytest.approx(0.25, rel=1e-3)
    with pytest.raises(ValueError, match="cannot scale the convolutions on this batch"):
        backbone.initialize(torch.full((2, 3, 32, 32), 0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        (
            {"dim": 0},
            "must be at least 1, downsamples 1 … 16, width at least 2 and residual_blocks at least 0, got 0, 32, 2, 128 and 2",
        ),
        ({"width": 1}, "got 64, 32, 2, 1 and 2"),
        ({"downsamples": 0}, "got 64, 32, 0, 128 and 2"),
        ({"downsamples": 17}, "got 64, 32, 17, 128 and 2"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ConvBackbone(**options)
