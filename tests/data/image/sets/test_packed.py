import numpy as np
import pytest
from sklearn.datasets import load_digits

from vqkit.data.image.sets.packed import DIGITS, collection_labels, collection_pixels, collections_in, is_collection


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.npz", True),
        ("data_batch_2.bin", True),
        ("train-images-idx3-ubyte", True),
        ("t10k-images-idx3-ubyte.gz", True),
        ("train-labels-idx1-ubyte", False),
        ("x.bin", False),
        ("x.png", False),
        ("data_batch_1.png", False),
    ],
)
def test_names(tmp_path, name, expected):
    assert is_collection(tmp_path / name) is expected


def test_a_folder(tmp_path):
    assert collections_in(tmp_path) == []
    for name in (
        "t10k-images-idx3-ubyte",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte",
        "train-images-idx3-ubyte.gz",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in collections_in(tmp_path)] == ["t10k-images-idx3-ubyte", "train-images-idx3-ubyte.gz"]


def test_a_folder_with_the_pickled_cifar(tmp_path):
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(ValueError, match="data_batch_1 is of CIFAR-10's python version"):
        collections_in(tmp_path)
    (tmp_path / "data_batch_1.bin").touch()
    assert [path.name for path in collections_in(tmp_path)] == ["data_batch_1.bin"]


def test_digits():
    digits = load_digits()
    labels = collection_labels(DIGITS)
    assert [int(label) for label, _ in labels] == digits.target.tolist()
    splits = [split for _, split in labels]
    assert splits == ["train"] * 1257 + ["valid"] * 180 + ["test"] * 360
    pixels = collection_pixels(DIGITS)
    np.testing.assert_allclose(pixels.image(1700, 1)[0], digits.images[1700] / 16)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="scikit-learn is not installed: pip install scikit-learn"):
        collection_labels(DIGITS)
