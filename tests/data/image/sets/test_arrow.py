import contextlib
import io
import json
import os
import pickle
import shutil
import socket
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vqkit.data import ImageItem, Images, decode_image, fingerprint, list_images, read_image

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
CLASSES = datasets.ClassLabel(names=["cat", "dog"])


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch):
    connect = socket.socket.connect

    def local_only(self, address):
        assert self.family == socket.AF_UNIX, f"the network was asked: {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


def file_of(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def saved(folder, images=None, label=(0, 1, 0, 1, -1, None), features=None, shards=None, **columns):
    """A saved Dataset of `PIXELS`."""
    if images is None:
        images = [{"bytes": file_of(values), "path": None} for values in PIXELS]
    columns = {"image": images, "label": list(label)[: len(images)]} | columns
    kinds = {"image": datasets.Image(), "label": CLASSES} | (features or {})
    data = datasets.Dataset.from_dict(
        columns, datasets.Features({name: kinds[name] for name in columns}), split="train"
    )
    data.save_to_disk(folder, num_shards=shards)
    return data


def test_a_data_set(tmp_path):
    saved(tmp_path / "pets", shards=3)
    items = list_images(tmp_path / "pets")
    assert [(item.name, item.split, item.label, item.index) for item in items] == [
        (f"pets/{index:05d}", "train", label, index) for index, label in enumerate(("cat", "dog", "cat", "dog", "", ""))
    ]
    assert list_images(tmp_path / "pets", "train") == items
    images = Images(items, (5, 7), cache_megabytes=1)
    for _ in range(2):  # from the files, and from the cache
        for values, image in zip(PIXELS, images, strict=True):
            np.testing.assert_allclose(image.image, values.transpose(2, 0, 1) / 255, atol=1e-6)
    assert [label for _, label in images] == [0, 1, 0, 1, -1, -1]
    assert Images(items, 4, channels=1)[3].image.shape == (1, 4, 4)
    here = torch.stack([image for image, _ in images])
    assert torch.equal(torch.cat([batch.image for batch in DataLoader(images, batch_size=2, num_workers=2)]), here)
    sent = pickle.loads(pickle.dumps(images))  # noqa: S301 - as a loader that spawns its workers does
    assert torch.equal(sent[5].image, here[5])


def test_splits(tmp_path):
    data = saved(tmp_path / "pets")
    splits = {"train": data, "validation": data.select([3, 1]), "unlabelled": data.select([4])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "all")
    items = list_images(tmp_path / "all")
    assert [item.split for item in items] == ["train"] * 6 + ["valid"] * 2 + ["unlabelled"]
    valid = list_images(tmp_path / "all", split="valid")
    assert [(item.name, item.label) for item in valid] == [("validation/00000", "dog"), ("validation/00001", "dog")]
    np.testing.assert_allclose(Images(valid, (5, 7))[1].image, PIXELS[1].transpose(2, 0, 1) / 255, atol=1e-6)
    assert list_images(tmp_path / "all" / "validation") == valid
    assert len(Images(items, (5, 7))) == 9


def test_paths(tmp_path):
    (tmp_path / "pets/files").mkdir(parents=True)
    for index, values in enumerate(PIXELS[:2]):
        Image.fromarray(values).save(tmp_path / "pets/files" / f"{index}.png")
    os.mkfifo(tmp_path / "pets/pipe.png")
    Image.fromarray(PIXELS[0]).save(tmp_path / "secret.png")
    (tmp_path / "pets/link.png").symlink_to("../secret.png")
    paths = [str(tmp_path / "pets/files/0.png"), "../pets/files/1.png", "gone.png", "https://example.org/x.png", None]
    elsewhere = [str(tmp_path / "secret.png"), "../secret.png", "files/../../secret.png", "link.png"]
    paths += [*elsewhere, "pipe.png", "files"]
    rows = [{"bytes": None, "path": path} for path in paths]
    # save_to_disk would take the files in: write the column as what it is stored as, then say what it is
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    saved(tmp_path / "pets", rows, features={"image": stored}, label=[0] * len(paths))
    info = json.loads((tmp_path / "pets/dataset_info.json").read_text())
    info["features"]["image"] = {"_type": "Image"}
    (tmp_path / "pets/dataset_info.json").write_text(json.dumps(info))
    images = Images(list_images(tmp_path / "pets"), (5, 7), unreadable="raise")
    for values, image in zip(PIXELS, (images[0], images[1]), strict=False):
        np.testing.assert_allclose(image.image, values.transpose(2, 0, 1) / 255, atol=1e-6)
    for index in (2, 3):
        with pytest.raises(FileNotFoundError, match=r"no such image file: .*(gone|x)\.png"):
            images[index]
    with pytest.raises(ValueError, match="pets/00004 has neither the bytes of an image nor its path"):
        images[4]
    for index, path in enumerate(elsewhere, start=5):
        with pytest.raises(
            ValueError, match=f"pets/0000{index} is {path}, which lies outside of .*pets; only files in"
        ):
            images[index]
    with pytest.raises(ValueError, match=r"pets/00009 is pipe\.png, which is a named pipe, not a file"):
        images[9]
    with pytest.raises(ValueError, match="pets/00010 is files, which is a folder"):
        images[10]


def test_bad_images_are_named_and_skipped(tmp_path):
    huge = Image.new("1", (9000, 9000))
    buffer = io.BytesIO()
    huge.save(buffer, "PNG")
    good = file_of(PIXELS[0])
    rows = [{"bytes": data, "path": None} for data in (good, good[:60], b"", b"%!PS", buffer.getvalue())]
    saved(tmp_path / "pets", [*rows, None])
    items = list_images(tmp_path / "pets")
    images = Images(items, (5, 7), unreadable="raise")
    messages = {
        1: "is damaged or cut short",
        2: r"is empty \(0 bytes\)",
        3: "is not an image that can be read",
        4: "has 9000 × 9000 pixels, allowed are at least 1 and at most 64 megapixels",
        5: "has neither the bytes of an image nor its path",
    }
    for index, message in messages.items():
        with pytest.raises(ValueError, match=f"pets/0000{index} {message}"):
            images[index]
    with pytest.raises(ValueError, match=r"at most 1e-05 megapixels"):
        Images(items, 4, unreadable="raise", max_megapixels=1e-5)[0]
    skipping = Images(items, (5, 7))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert all(torch.equal(image.image, images[0].image) for image in skipping)
    place = tmp_path / "pets/00002"
    assert f"skipped {place}: {place} is empty (0 bytes)" in [str(warning.message) for warning in caught]
    assert list(skipping.skipped) == [str(tmp_path / f"pets/0000{index}") for index in messages]


@pytest.mark.parametrize(
    ("column", "kind", "values", "labels"),
    [
        ("label", datasets.Value("int64"), [7, None], ["7", ""]),
        ("label", datasets.Value("string"), ["a", "b"], ["a", "b"]),
        ("coarse", CLASSES, [1, 0], ["dog", "cat"]),
        ("score", datasets.Value("float32"), [1.0, 0.5], ["", ""]),
    ],
)
def test_labels(tmp_path, column, kind, values, labels):
    rows = [{"bytes": file_of(PIXELS[0]), "path": None}] * 2
    picture = datasets.Features({"photo": datasets.Image(), column: kind})
    datasets.Dataset.from_dict({"photo": rows, column: values}, picture).save_to_disk(tmp_path / "x")
    items = list_images(tmp_path / "x")
    assert [(item.label, item.split) for item in items] == [(label, "") for label in labels]
    assert Images(items, (5, 7))[1].image.shape == (3, 5, 7)


def test_which_column(tmp_path):
    rows = [{"bytes": file_of(PIXELS[0]), "path": None}] * 2
    saved(tmp_path / "two", rows, mask=rows, features={"mask": datasets.Image()})
    assert len(list_images(tmp_path / "two")) == 2
    for columns in ({"a": datasets.Image(), "b": datasets.Image()}, {"a": datasets.Value("string")}):
        folder = tmp_path / str(len(columns))
        rows_of = {name: rows if isinstance(kind, datasets.Image) else ["x"] for name, kind in columns.items()}
        datasets.Dataset.from_dict(rows_of, datasets.Features(columns)).save_to_disk(folder)
        with pytest.raises(
            ValueError, match=r"must have one column of datasets.Image, or one of them named 'image'; it has a \("
        ):
            list_images(folder)
    saved(tmp_path / "float", rows, label=[0.5, 1.0], features={"label": datasets.Value("float32")})
    with pytest.raises(ValueError, match="the column 'label' must hold classes, integers or words"):
        list_images(tmp_path / "float")


def test_a_damaged_data_set(tmp_path):
    saved(tmp_path / "whole", shards=2)
    arrow = "data-00000-of-00002.arrow"
    for name, change, message in (
        ("gone", lambda f: (f / arrow).unlink(), f"is not whole: {arrow} is missing"),
        (
            "cut",
            lambda f: (f / arrow).write_bytes((f / arrow).read_bytes()[:300]),
            "is not a data set that can be read",
        ),
        ("json", lambda f: (f / "state.json").write_text("{"), r"state\.json is not JSON"),
        ("list", lambda f: (f / "state.json").write_text("[]"), r"state\.json must hold an object, got list"),
        ("empty", lambda f: (f / "state.json").write_text("{}"), r"state\.json does not list the files"),
        (
            "elsewhere",
            lambda f: (f / "state.json").write_text((f / "state.json").read_text().replace("data-", "../whole/data-")),
            r"state\.json lists '\.\./whole/data-.*', which does not lie in the folder",
        ),
        ("info", lambda f: (f / "dataset_info.json").write_text("[]"), "is not a data set that can be read"),
        (
            "dict",
            lambda f: (f / "dataset_dict.json").write_text('{"splits": ["../whole"]}'),
            "expected a list of names",
        ),
        (
            "split",
            lambda f: (f / "dataset_dict.json").write_text('{"splits": ["x"]}'),
            "lists the split 'x', but .* is no",
        ),
    ):
        shutil.copytree(tmp_path / "whole", tmp_path / name)
        change(tmp_path / name)
        with pytest.raises(ValueError, match=rf"^[^\n]*{message}[^\n]*$"):
            list_images(tmp_path / name)
    with pytest.raises(ValueError, match="is not a data set that can be read|is not whole|state.json"):
        Images([ImageItem(tmp_path / "gone", "gone/00000", index=0)], 4)


def test_altered_bytes_give_images_or_one_error(tmp_path):
    saved(tmp_path / "pets", shards=1)
    path = tmp_path / "pets/data-00000-of-00001.arrow"
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        altered = bytearray(data)
        for place in random.integers(0, len(data), 4):
            altered[place] = random.integers(256)
        path.write_bytes(altered)
        with contextlib.suppress(ValueError, FileNotFoundError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images = Images(list_images(tmp_path / "pets"), 4)
            assert all(image.shape == (3, 4, 4) for image, _ in images)


def test_the_fingerprint_is_of_the_contents(tmp_path):
    saved(tmp_path / "pets", shards=2)
    items = list_images(tmp_path / "pets")
    before = fingerprint(items)
    shutil.copytree(tmp_path / "pets", tmp_path / "there/pets")
    (tmp_path / "there/pets/cache-0.arrow").write_bytes(b"what map() leaves")
    assert fingerprint(list_images(tmp_path / "there/pets")) == before
    file = tmp_path / "pets/data-00001-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:])
    assert fingerprint(items) != before


def test_bytes_are_read_as_files_are(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    assert torch.equal(decode_image(data), read_image(tmp_path / "x.png"))
    assert decode_image(data, channels=1).shape == (1, 5, 7)
    for arguments, message in (
        ({"data": b""}, r"mine is empty \(0 bytes\)"),
        ({"data": data[:50]}, "mine is damaged or cut short"),
        ({"data": data, "max_megapixels": 1e-6}, "mine has 7 × 5 pixels"),
        ({"data": data, "channels": 2}, "channels is 2"),
        ({"data": data, "max_megapixels": 0}, "max_megapixels is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_image(name="mine", **arguments)
