"""CIFAR-10 in its binary version: 3073 bytes an image, the label and then 32 × 32 of red, of green and of blue.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the layout is that of the set's own page.
"""

import re
from pathlib import Path

import numpy as np

from vqkit.data.image.pixels import PixelArray

_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIDE, _RECORD_BYTES = 32, 1 + 3 * 32 * 32
_BINARY = re.compile(r"(data|test)_batch(_\d+)?\.bin")
_PICKLED = re.compile(r"(data_batch_\d+|test_batch|batches\.meta)")


def is_cifar(path: Path) -> bool:
    """Return whether the name is that of a file of CIFAR's binary version: ``data_batch_1.bin`` … ``test_batch.bin``."""
    return _BINARY.fullmatch(path.name) is not None


def refuse_pickled_cifar(path: Path) -> None:
    """Refuse the files of CIFAR-10's Python version.

    Raises:
        ValueError: the name is that of one of them.
    """
    if _PICKLED.fullmatch(path.name):
        raise ValueError(
            f"{path} is of CIFAR-10's python version, pickled and therefore not read; allowed is the binary version, data_batch_*.bin"
        )


def cifar_labels(path: Path) -> list[tuple[str, str]]:
    """(label, split) of every image of a file; errors as of `cifar_pixels`."""
    split = "test" if path.name.startswith("test") else "train"
    return [(_NAMES[label], split) for label in _records(path)[:, 0]]


def cifar_pixels(path: Path) -> PixelArray:
    """Read all images of a file, ``(count, 32, 32, 3)``.

    Raises:
        ValueError: the length is not that of whole images, or a label is out of range.
    """
    return PixelArray(_records(path)[:, 1:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _records(path: Path) -> np.ndarray:
    length = path.stat().st_size
    if length == 0 or length % _RECORD_BYTES:
        raise ValueError(
            f"{path} has {length} bytes, a file of CIFAR-10's binary version has {_RECORD_BYTES} for every image"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, _RECORD_BYTES)
    if (highest := records[:, 0].max()) >= len(_NAMES):
        raise ValueError(f"{path} has the label {highest}, allowed are 0 to 9")
    return records
