import pytest
import torch

from vqkit.models import ViTBackbone


def make(**options):
    torch.manual_seed(0)
    settings = {"dim": 6, "image_size": 16, "patch": 4, "tokens": 5, "width": 16, "depth": 2, "heads": 2} | options
    return ViTBackbone(**settings)


def test_an_image_is_a_row_of_tokens():
    backbone = make()
    images = torch.rand(2, 3, 16, 16)
    latent = backbone.encode(images)
    assert latent.shape == (2, *backbone.grid(16, 16), 6) == (2, 5, 6)
    assert backbone.decode(latent).shape == images.shape
    assert backbone.margin is None


def test_patches_go_back_to_their_places():
    """With the transformers' output replaced by what the layers are given, patch by patch."""
    backbone = make()
    rows = torch.arange(16 * 48, dtype=torch.float32).view(16, 48)  # patch, its pixels
    backbone.decoder = torch.nn.Identity()
    backbone.masked.data = rows[:, :16]
    backbone.leave = torch.nn.Linear(16, 48, bias=False)
    backbone.leave.weight.data = torch.eye(48, 16)
    image = 2 * backbone.decode(torch.zeros(1, 5, 6))[0] - 1
    for patch in range(16):
        top, left = 4 * (patch // 4), 4 * (patch % 4)
        assert torch.equal(image[0, top : top + 4, left : left + 4].flatten(), rows[patch, :16])
        assert not image[1:, top : top + 4, left : left + 4].any()


def test_every_token_sees_every_pixel_and_every_pixel_every_token():
    backbone = make().double()
    images = torch.rand(1, 3, 16, 16, dtype=torch.double, requires_grad=True)
    for token in range(5):
        (gradient,) = torch.autograd.grad(backbone.encode(images)[0, token].square().sum(), images)
        assert (gradient != 0).all()
    latent = torch.rand(1, 5, 6, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(backbone.decode(latent)[0, :, 3, 3].square().sum(), latent)
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, "channels must be 1 or 3, got 4"),
        ({"tokens": 0}, "must be at least 1, got 6, 16, 4, 0, 16, 2 and 2"),
        ({"patch": 5}, "patch must divide image_size and heads must divide width, got 5 of 16 and 2 of 16"),
        ({"heads": 3}, "got 4 of 16 and 3 of 16"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
