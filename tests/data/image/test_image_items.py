import gzip
import struct

import numpy as np
import pytest
import torch

from vqkit.data import ImageItem, list_images, write_image


def pictures(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, torch.zeros(1, 2, 2))


def facts(items):
    return [(item.name, item.split, item.label) for item in items]


def test_a_folder_of_splits_and_classes(tmp_path):
    folder = tmp_path / "test"  # a name above the source says nothing
    pictures(folder, "train/dog/2.png", "train/dog/10.jpg", "valid/cat/1.webp", "x.png", "train/y.png", ".h/h.png")
    (folder / "notes.txt").touch()
    (folder / "train/dog/broken.JPEG").write_bytes(b"broken")
    with pytest.warns(
        UserWarning, match=f"^passed over 1 file that is neither sound nor an image: notes.txt in {folder}$"
    ):
        items = list_images(folder)
    (folder / "notes.txt").unlink()
    assert facts(items) == [
        ("train/dog/10.jpg", "train", "dog"),
        ("train/dog/2.png", "train", "dog"),
        ("train/dog/broken.JPEG", "train", "dog"),
        ("train/y.png", "train", ""),
        ("valid/cat/1.webp", "valid", "cat"),
        ("x.png", "", ""),
    ]
    assert all(item.path == folder / item.name and item.index is None for item in items)
    assert list_images(folder, split="valid") == [items[4]]
    with pytest.raises(ValueError, match="has no images of split 'test'; there is 'train', 'valid'"):
        list_images(folder, split="test")


def test_content_tells_an_image_without_its_suffix(tmp_path):
    pictures(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "b.png").rename(tmp_path / "b.mp3")
    (tmp_path / "c.png").rename(tmp_path / "c")
    (tmp_path / "sound").write_bytes(b"fLaC")
    (tmp_path / "film.mp4").touch()
    (tmp_path / "done.vqk").touch()
    with pytest.warns(UserWarning, match="^passed over 1 clip and 1 film in"):
        assert [item.name for item in list_images(tmp_path)] == ["a.png", "b.mp3", "c"]
    assert list_images(tmp_path / "c") == [ImageItem(tmp_path / "c", "c")]
    (tmp_path / "manifest.csv").write_text("path,split\nc,train\na.png,train\nsound,train\nb.mp3,train\n../x,y\n")
    assert [item.name for item in list_images(tmp_path)] == ["a.png", "c"]  # what leaves the folder is not looked at


def test_a_manifest(tmp_path):
    pictures(tmp_path, "b.png", "a/c.png", "unlisted.png")
    (tmp_path / "sound.wav").touch()
    rows = "path,split,label,licence\nb.png,train,cat,CC0\na/c.png,dev,a dog,CC0\nsound.wav,train,bark,CC0\n"
    (tmp_path / "manifest.csv").write_text(rows)
    items = list_images(tmp_path)
    assert facts(items) == [("a/c.png", "dev", "a dog"), ("b.png", "train", "cat")]
    (tmp_path / "manifest.csv").rename(tmp_path / "list.csv")
    assert list_images(tmp_path / "list.csv") == items
    (tmp_path / "list.csv").write_text("path,split\nb.png,train\n")
    assert facts(list_images(tmp_path / "list.csv")) == [("b.png", "train", "")]
    (tmp_path / "list.csv").write_text("path,split\ngone.png,train\n")
    with pytest.raises(FileNotFoundError, match=r"lists 1 file that does not exist: gone\.png"):
        list_images(tmp_path / "list.csv")


def test_one_image(tmp_path):
    pictures(tmp_path, "train/x.png")
    assert list_images(tmp_path / "train/x.png") == [ImageItem(tmp_path / "train/x.png", "x.png")]


def test_mnist(tmp_path):
    for name, count in (("train", 3), ("t10k", 2)):
        pixels = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + bytes(count * 784)
        labels = struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(range(4, 4 + count))
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    items = list_images(tmp_path)
    assert facts(items) == [
        ("t10k-images-idx3-ubyte.gz/00000", "test", "4"),
        ("t10k-images-idx3-ubyte.gz/00001", "test", "5"),
        ("train-images-idx3-ubyte.gz/00000", "train", "4"),
        ("train-images-idx3-ubyte.gz/00001", "train", "5"),
        ("train-images-idx3-ubyte.gz/00002", "train", "6"),
    ]
    assert [item.index for item in items] == [0, 1, 0, 1, 2]
    assert list_images(tmp_path / "train-images-idx3-ubyte.gz") == items[2:]


def test_cifar_and_npz(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x03" + bytes(3072))
    (tmp_path / "test_batch.bin").write_bytes(b"\x05" + bytes(3072))
    (tmp_path / "batches.meta.txt").touch()
    assert facts(list_images(tmp_path)) == [
        ("data_batch_1.bin/00000", "train", "cat"),
        ("test_batch.bin/00000", "test", "dog"),
    ]
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[1, 2], split=["train", "valid"])
    assert facts(list_images(tmp_path / "x.npz", "valid")) == [("x.npz/00001", "valid", "2")]


def test_digits():
    assert len(list_images("digits")) == 1797
    assert {item.label for item in list_images("digits", "test")} == set("0123456789")


def test_nothing_to_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder: .*nowhere"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no image files \(.*\.jpg.*\.png"):
        list_images(tmp_path)
    for name, message in (
        ("cifar-10-binary.tar.gz", "is no image and no data set of images; unpack it first"),
        (
            "x.txt",
            r"is no image and no data set of images; allowed are images, \.csv, \.npz, MNIST's and CIFAR-10's files",
        ),
        ("data_batch_1", "pickled and therefore not read"),
        ("train-labels-idx1-ubyte", "is no image and no data set"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=message):
            list_images(tmp_path / name)
