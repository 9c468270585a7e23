import pytest
import torch

from vqkit.nn import Judgement, PatchDiscriminator


def make(**settings):
    torch.manual_seed(0)
    return PatchDiscriminator(**{"width": 16, **settings})


@pytest.mark.parametrize(("size", "patches"), [(24, 1), (28, 1), (32, 2), (256, 30)])
def test_scores_and_features(size, patches):
    judgement = make()(torch.rand(2, 3, size, size))
    assert isinstance(judgement, Judgement)
    assert judgement.scores[0].shape == (2, 1, patches, patches)
    assert [layer.shape[1] for layer in judgement.features[0]] == [16, 32, 64, 128]


def test_the_published_size():
    """64·48 + 64, then 64→128, 128→256, 256→512 of 4 × 4 with biases and norms, and the score."""
    expected = 64 * 48 + 64 + sum(16 * i * o + 3 * o for i, o in ((64, 128), (128, 256), (256, 512))) + 512 * 16 + 1
    assert sum(parameter.numel() for parameter in PatchDiscriminator().parameters()) == expected


def test_a_patch_is_70_pixels():
    # without the norms, which see the whole image
    discriminator = make(norm_groups=1)
    for layer in discriminator.layers[1:]:
        layer[1] = torch.nn.Identity()
    images = torch.rand(1, 3, 256, 256, requires_grad=True)
    discriminator(images).scores[0][0, 0, 15, 15].backward()
    seen = images.grad.abs().sum((0, 1)) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == 70


def test_an_images_score_does_not_depend_on_its_batch():
    discriminator, images = make().train(), torch.rand(3, 3, 32, 32)
    together = discriminator(images).scores[0]
    alone = torch.cat([discriminator(image[None]).scores[0] for image in images])
    torch.testing.assert_close(together, alone)
    assert not list(discriminator.buffers())


def test_learns_to_tell_two_kinds_apart():
    discriminator = make(image_channels=1, num_layers=2, norm_groups=4)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    smooth = torch.rand(8, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    rough = torch.rand(8, 1, 16, 16)
    for _ in range(40):
        loss = (
            torch.relu(1 - discriminator(smooth).scores[0]).mean()
            + torch.relu(1 + discriminator(rough).scores[0]).mean()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.5


def test_refuses():
    with pytest.raises(
        ValueError,
        match=r"images must be \(batch, 3, height, width\) of at least 24 pixels a side, got \(1, 3, 23, 64\)",
    ):
        make()(torch.rand(1, 3, 23, 64))
    with pytest.raises(ValueError, match=r"got \(1, 1, 32, 32\)"):
        make()(torch.rand(1, 1, 32, 32))
    with pytest.raises(ValueError, match="norm_groups must be a divisor of the width 16, got 3"):
        make(norm_groups=3)
    with pytest.raises(ValueError, match="image_channels, width and num_layers must be at least 1, got 3, 16 and 0"):
        make(num_layers=0)
