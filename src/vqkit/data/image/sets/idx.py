"""IDX files, in which MNIST, Fashion-MNIST and their kin are kept, plain or compressed by gzip.

Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits": two zero bytes, the type (8: unsigned bytes),
the number of dimensions, each size as a big-endian 32-bit integer, then the values.
"""

import gzip
import math
import re
import struct
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.image.pixels import PixelArray

_IMAGES = re.compile(r"(.*)images([-.])idx3-ubyte(\.gz)?")
_MOST_EXPANSION = 1032  # of deflate: what promises more is not in the file


def is_idx_images(path: Path) -> bool:
    """Return whether the name is that of an IDX file of images, such as ``train-images-idx3-ubyte`` or ``t10k-images.idx3-ubyte.gz``."""
    return _IMAGES.fullmatch(path.name) is not None


def idx_labels(path: Path) -> list[tuple[str, str]]:
    """(label, split) of every image of a file of images: from the file of labels beside it, and from its name.

    Raises:
        FileNotFoundError: there is no file of labels.
        ValueError: it is damaged, or is of other images.
    """
    match = _IMAGES.fullmatch(path.name)
    assert match is not None
    stem = f"{match[1]}labels{match[2]}idx1-ubyte"
    beside = next((path.with_name(name) for name in (stem, f"{stem}.gz") if path.with_name(name).is_file()), None)
    if beside is None:
        raise FileNotFoundError(f"{path} has no labels beside it: no {stem} or {stem}.gz")
    labels = read_idx(beside, 1)
    if len(labels) != (count := idx_sizes(path, 3)[0]):
        raise ValueError(f"{beside} has {len(labels)} labels, {path.name} has {count} images")
    words = match[1].lower()
    split = "train" if "train" in words else "test" if "t10k" in words or "test" in words else ""
    return [(str(label), split) for label in labels.tolist()]


def idx_pixels(path: Path) -> PixelArray:
    """Read all images of a file, ``(count, height, width)``; errors as of `read_idx`."""
    return PixelArray(read_idx(path, 3))


def idx_sizes(path: Path, dimensions: int) -> tuple[int, ...]:
    """The sizes that the header states; errors as of `read_idx`."""
    return _read(path, dimensions, header_only=True)[0]


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes.

    Args:
        path: the file; its content tells whether it is compressed.
        dimensions: 1 for labels, 3 for images.

    Returns:
        uint8.

    Raises:
        ValueError: the file is no such IDX file, is damaged, or its length is not what its header says; found before memory is taken.
    """
    sizes, data = _read(path, dimensions, header_only=False)
    return np.frombuffer(data, np.uint8).reshape(sizes)


def _read(path: Path, dimensions: int, header_only: bool) -> tuple[tuple[int, ...], bytes]:
    length = path.stat().st_size
    with path.open("rb") as raw, _content(raw) as file:
        compressed = file is not raw
        try:
            magic, stated = file.read(4), file.read(4 * dimensions)
            if magic != bytes((0, 0, 8, dimensions)) or len(stated) < 4 * dimensions:
                raise ValueError(
                    f"{path} begins with {magic.hex(' ') or 'nothing'}, expected 00 00 08 {dimensions:02x} and the sizes: "
                    f"an IDX file of bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}"
                )
            sizes = struct.unpack(f">{dimensions}I", stated)
            count = math.prod(sizes)
            most = length * _MOST_EXPANSION if compressed else length - 4 - 4 * dimensions
            if count == 0:
                raise ValueError(f"{path} has sizes {' × '.join(map(str, sizes))}, each must be at least 1")
            if count > most or (not compressed and count < most):
                raise ValueError(f"{path} promises {count} bytes of data, it has {'at most ' * compressed}{most}")
            if header_only:
                return sizes, b""
            data = file.read(count)
            if len(data) < count or file.read(1):
                has = len(data) if len(data) < count else "more"
                raise ValueError(f"{path} promises {count} bytes of data, it has {has}")
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged or cut short: {error}") from None
    return sizes, data


def _content(raw: BinaryIO) -> AbstractContextManager[Any]:
    compressed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.open(raw) if compressed else nullcontext(raw)
