"""Labelled images in one ``.npz`` file.

Arrays
    ``images``: ``(count, height, width)`` or ``(count, height, width, channels)`` with 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA; uint8,
    uint16, or floats.
    ``labels`` (optional): ``(count,)``, words or numbers; with ``label_names``, indices into it.
    ``split`` (optional): ``(count,)``, words such as train, valid and test.
    ``white`` (optional): the value of ``images`` that is white; otherwise 255 for uint8, 65535 for uint16, 1 for floats.
"""

import math
import warnings
import zipfile
from pathlib import Path

import numpy as np

from vqkit.data.image.pixels import PixelArray

_MOST_EXPANSION = 1032  # of deflate: what promises more is not in the file
_WHITE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
_DARK = 1 / 8  # a set none of whose images is brighter than this share of white has another white


def npz_labels(path: Path) -> list[tuple[str, str]]:
    """(label, split) of every image of a file.

    Raises:
        ValueError: the file is damaged, lacks ``images``, or its arrays do not fit each other; nothing is unpickled.
    """
    shapes = _shapes(path)
    count = _count(path, shapes)
    labels, splits = [""] * count, [""] * count
    if "labels" in shapes:
        labels = _words(path, "labels", count)
    if "label_names" in shapes:
        names = np.atleast_1d(_load(path, "label_names")).astype(str).tolist()
        known = {str(index): name for index, name in enumerate(names)}
        if wrong := sorted(set(labels) - known.keys()):
            raise ValueError(f"{path} has the label {wrong[0]!r}, label_names has 0 to {len(names) - 1}")
        labels = [known[label] for label in labels]
    if "split" in shapes:
        splits = _words(path, "split", count)
    return list(zip(labels, splits, strict=True))


def npz_pixels(path: Path) -> PixelArray:
    """Read all images of a file.

    Raises:
        ValueError: as of `npz_labels`, or a value is NaN, less than 0 or more than white.
    """
    shapes = _shapes(path)
    _count(path, shapes)
    images = _load(path, "images")
    if images.dtype.name not in _WHITE:
        raise ValueError(f"{path}: images are {images.dtype}, allowed are {', '.join(_WHITE)}")
    white = float(_load(path, "white").item()) if shapes.get("white", (0,)) == () else _WHITE[images.dtype.name]
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= white and white > 0):
        raise ValueError(f"{path}: images lie in {low:g} … {high:g}, allowed is 0 … {white:g}")
    if "white" not in shapes and 0 < high < white * _DARK:
        warnings.warn(
            f"{path}: no image is brighter than {high:g} of {white:g}; if that is white, add an array named 'white' to the file",
            stacklevel=2,
        )
    return PixelArray(images, white)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Array → shape, after a look at every header: no objects, and no more than the file can hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    if dtype.hasobject:
                        raise ValueError("it holds Python objects, allowed are numbers and words")
                    if math.prod(shape) * dtype.itemsize + file.tell() != entry.file_size:
                        raise ValueError(f"shape {shape} of {dtype} does not fit its {entry.file_size} bytes")
                    if entry.file_size > _MOST_EXPANSION * (entry.compress_size + 1):
                        raise ValueError(
                            f"it promises {entry.file_size} bytes from {entry.compress_size} compressed ones"
                        )
                shapes[entry.filename.removesuffix(".npy")] = shape
    except Exception as error:  # zip and npy headers fail in a dozen ways
        raise ValueError(f"{path} is not an npz file of images: {' '.join(str(error).split())}") from None
    return shapes


def _count(path: Path, shapes: dict[str, tuple[int, ...]]) -> int:
    if "images" not in shapes:
        raise ValueError(f"{path} has no array 'images'; it has {', '.join(shapes) or 'none'}")
    shape = shapes["images"]
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] > 4):
        raise ValueError(
            f"{path}: images have shape {shape}, expected (count, height, width) or (count, height, width, 1 to 4 channels)"
        )
    return shape[0]


def _words(path: Path, name: str, count: int) -> list[str]:
    values = _load(path, name)
    if values.shape != (count,) or values.dtype.kind not in "iuU":
        raise ValueError(
            f"{path}: {name} are {values.dtype} of shape {values.shape}, expected integers or words of shape ({count},)"
        )
    words: list[str] = values.astype(str).tolist()
    return words


def _load(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            array: np.ndarray = arrays[name]
            return array
    except Exception as error:  # a damaged stream fails in as many ways
        raise ValueError(f"{path}: {name} is damaged: {' '.join(str(error).split())}") from None
