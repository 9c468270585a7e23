import io
import zipfile

import numpy as np
import pytest

from vqkit.data.image.sets.npz import npz_labels, npz_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 5), dtype=np.uint8)


def save(path, packed=True, **arrays):
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 3, 5, 2), (1, 2, 3, 10)[:3]])
def test_images(tmp_path, packed, shape):
    values = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    pixels = npz_pixels(save(tmp_path / "x.npz", packed, images=values))
    np.testing.assert_array_equal(pixels.values, values)
    assert npz_labels(tmp_path / "x.npz") == [("", "")] * shape[0]


def test_labels_and_splits(tmp_path):
    path = tmp_path / "x.npz"
    labels, split = np.array([1, 0, 1, 2], np.int16), np.array(["train", "test", "valid", "train"])
    save(path, images=PIXELS, labels=labels, split=split)
    assert npz_labels(path) == [("1", "train"), ("0", "test"), ("1", "valid"), ("2", "train")]
    save(path, images=PIXELS, labels=labels, label_names=np.array(["cat", "dog", "a cow"]))
    assert npz_labels(path) == [("dog", ""), ("cat", ""), ("dog", ""), ("a cow", "")]
    save(path, images=PIXELS, labels=np.array(["x", "y", "x", "z"]))
    assert [label for label, _ in npz_labels(path)] == ["x", "y", "x", "z"]


@pytest.mark.parametrize(
    ("values", "arrays", "expected"),
    [
        (np.array([[[0, 51, 255]]], np.uint8), {}, [0, 0.2, 1]),
        (np.array([[[0, 13107, 65535]]], np.uint16), {}, [0, 0.2, 1]),
        (np.array([[[0, 0.2, 1]]], np.float32), {}, [0, 0.2, 1]),
        (np.array([[[0, 4, 16]]], np.uint8), {"white": np.array(16)}, [0, 0.25, 1]),
    ],
)
def test_white(tmp_path, values, arrays, expected):
    pixels = npz_pixels(save(tmp_path / "x.npz", images=values, **arrays))
    np.testing.assert_allclose(pixels.image(0, 1).flatten(), expected, atol=1e-6)


def test_an_unlikely_white_is_named(tmp_path):
    save(tmp_path / "x.npz", images=PIXELS % 17)
    with pytest.warns(
        UserWarning, match=r"x\.npz: no image is brighter than 16 of 255; if that is white, add an array named 'white'"
    ):
        npz_pixels(tmp_path / "x.npz")


def header_of(shape, dtype="|u1", data=b""):
    """A .npz whose only array states a shape, whatever data follow."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("images.npy", file.getvalue() + data)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": PIXELS}, "has no array 'images'; it has pictures"),
        ({"images": PIXELS[0]}, r"images have shape \(3, 5\), expected \(count, height, width\) or"),
        ({"images": PIXELS[None]}, r"images have shape \(1, 4, 3, 5\)"),
        ({"images": PIXELS[:0]}, r"images have shape \(0, 3, 5\)"),
        ({"images": PIXELS.astype(np.int32)}, "images are int32, allowed are uint8, uint16, float16, float32, float64"),
        ({"images": PIXELS.astype(np.float32)}, "images lie in .*, allowed is 0 … 1"),
        ({"images": np.full((1, 2, 2), np.nan)}, "images lie in nan … nan"),
        (
            {"images": PIXELS, "labels": np.zeros(3, int)},
            r"labels are int64 of shape \(3,\), expected .* of shape \(4,\)",
        ),
        ({"images": PIXELS, "labels": np.zeros(4)}, "labels are float64"),
        ({"images": PIXELS, "split": np.zeros((4, 1), "<U1")}, r"split are <U1 of shape \(4, 1\)"),
        (
            {"images": PIXELS, "labels": np.full(4, 2), "label_names": np.array(["a", "b"])},
            "has the label '2', label_names has 0 to 1",
        ),
        ({"images": PIXELS, "labels": np.array([None] * 4)}, "not an npz file of images: it holds Python objects"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    path = save(tmp_path / "x.npz", **arrays)

    def both():
        npz_labels(path)
        npz_pixels(path)

    with pytest.raises(ValueError, match=message):
        both()


def test_headers_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(header_of((10**6, 10**4, 10**4)))
    with pytest.raises(ValueError, match=r"shape \(1000000, 10000, 10000\) of uint8 does not fit its 128 bytes"):
        npz_pixels(path)
    path.write_bytes(header_of((2, 2, 2), data=bytes(7)))
    with pytest.raises(ValueError, match="does not fit its 135 bytes"):
        npz_pixels(path)
    path.write_bytes(header_of((2, 2, 2), "|O", bytes(8)))
    with pytest.raises(ValueError, match="Python objects"):
        npz_pixels(path)


def test_damaged_files(tmp_path):
    path = save(tmp_path / "x.npz", packed=False, images=PIXELS)
    data = bytearray(path.read_bytes())
    for broken in (b"", b"hello", bytes(data[:-30]), bytes(data[:60])):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"x\.npz is not an npz file of images: "):
            npz_pixels(path)
    data[data.index(PIXELS.tobytes()) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.npz.*Bad CRC-32"):
        npz_pixels(path)
