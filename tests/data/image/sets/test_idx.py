import gzip
import struct

import numpy as np
import pytest

from vqkit.data.image.sets.idx import idx_labels, idx_pixels, is_idx_images, read_idx

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
LABELS = [7, 0, 9, 3, 3]


def idx(values):
    values = np.asarray(values, np.uint8)
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("t10k", "test"), ("emnist-letters-test", "test")])
def test_images_and_labels(tmp_path, packed, name, split):
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    path = tmp_path / f"{name}-images-idx3-ubyte{end}"
    path.write_bytes(pack(idx(PIXELS)))
    (tmp_path / f"{name}-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    assert is_idx_images(path)
    np.testing.assert_array_equal(idx_pixels(path).values, PIXELS)
    assert idx_pixels(path).white == 255
    assert idx_labels(path) == [(str(label), split) for label in LABELS]


def test_labels_may_be_packed_differently(tmp_path):
    path = tmp_path / "train-images.idx3-ubyte"
    path.write_bytes(idx(PIXELS))
    with pytest.raises(
        FileNotFoundError, match=r"no labels beside it: no train-labels\.idx1-ubyte or train-labels\.idx1-"
    ):
        idx_labels(path)
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS), mtime=0))
    assert [label for label, _ in idx_labels(path)] == ["7", "0", "9", "3", "3"]
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:4]), mtime=0))
    with pytest.raises(ValueError, match=r"has 4 labels, train-images\.idx3-ubyte has 5 images"):
        idx_labels(path)


HUGE = struct.pack(">4B3I", 0, 0, 8, 3, 60000, 60000, 60000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing, expected 00 00 08 03 and the sizes: an IDX file of bytes in 3 dimensions"),
        (idx(LABELS), "begins with 00 00 08 01"),
        (idx(PIXELS)[:10], "begins with 00 00 08 03, expected 00 00 08 03 and the sizes"),
        (b"\0\0\x0d\x03" + idx(PIXELS)[4:], "begins with 00 00 0d 03"),
        (idx(PIXELS)[:-1], "promises 60 bytes of data, it has 59"),
        (idx(PIXELS) + b"x", "promises 60 bytes of data, it has 61"),
        (idx(PIXELS[:0]), "has sizes 0 × 4 × 3, each must be at least 1"),
        (HUGE + b"x", "promises 216000000000000 bytes of data, it has 1"),
        (gzip.compress(HUGE, mtime=0), "promises 216000000000000 bytes of data, it has at most "),
        (gzip.compress(idx(PIXELS)[:-1], mtime=0), "promises 60 bytes of data, it has 59"),
        (gzip.compress(idx(PIXELS) + b"x", mtime=0), "promises 60 bytes of data, it has more"),
        (gzip.compress(idx(PIXELS), mtime=0)[:-12], "is damaged or cut short"),
        (gzip.compress(idx(PIXELS), mtime=0)[:5], "is damaged or cut short"),
        (gzip.compress(idx(PIXELS), mtime=0)[:-8] + bytes(8), "is damaged or cut short: CRC check failed"),
    ],
)
def test_headers_are_checked(tmp_path, data, message):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "x", 3)
