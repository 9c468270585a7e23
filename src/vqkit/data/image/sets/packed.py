"""Data sets of many images in one file or in one saved folder: which format a file has, its labels, its pixels."""

from pathlib import Path
from types import ModuleType

import numpy as np

from vqkit.data.image.file import MAX_MEGAPIXELS
from vqkit.data.image.pixels import PixelArray
from vqkit.data.image.sets.arrow import SavedImages, saved_folders, saved_images, saved_labels
from vqkit.data.image.sets.cifar import cifar_labels, cifar_pixels, is_cifar, refuse_pickled_cifar
from vqkit.data.image.sets.idx import idx_labels, idx_pixels, is_idx_images
from vqkit.data.image.sets.npz import npz_labels, npz_pixels
from vqkit.types import need

DIGITS = Path("digits")  # stands for a set that scikit-learn brings, and no file
_DIGITS_WHITE = 16.0


def is_collection(path: Path) -> bool:
    """Return whether the name is that of a file of many images.

    Raises:
        ValueError: the name is that of a pickled file.
    """
    refuse_pickled_cifar(path)
    return path == DIGITS or path.suffix.lower() == ".npz" or is_cifar(path) or is_idx_images(path)


def collections_in(folder: Path) -> list[Path]:
    """The files of MNIST's or CIFAR-10's format in a folder, by name; a file of images that is there compressed and plain counts once.

    Where ``datasets`` saved a data set, its folder or those of its splits.

    Raises:
        ValueError: the folder holds CIFAR-10's pickled version only, or a saved data set is not whole.
    """
    if saved := saved_folders(folder):
        return saved
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [path for path in files if is_cifar(path) or is_idx_images(path)]
    if not found:
        for path in files:
            refuse_pickled_cifar(path)
    return [path for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]


def collection_labels(path: Path) -> list[tuple[str, str]]:
    """(label, split) of every image of a file or saved folder; errors as of the formats."""
    if path.is_dir():
        return saved_labels(path)
    if path == DIGITS:
        labels = _sklearn().load_digits().target
        # in blocks: a writer's digits follow each other
        split = np.repeat(["train", "valid", "test"], [1257, 180, len(labels) - 1437])
        return list(zip(labels.astype(str).tolist(), split.tolist(), strict=True))
    if path.suffix.lower() == ".npz":
        return npz_labels(path)
    return cifar_labels(path) if is_cifar(path) else idx_labels(path)


def collection_pixels(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> PixelArray | SavedImages:
    """Read all images of a file, or open a saved folder from which they are read; errors as of the formats."""
    if path.is_dir():
        return saved_images(path, max_megapixels)
    if path == DIGITS:
        return PixelArray(_sklearn().load_digits().images, _DIGITS_WHITE)
    if path.suffix.lower() == ".npz":
        return npz_pixels(path)
    return cifar_pixels(path) if is_cifar(path) else idx_pixels(path)


def _sklearn() -> ModuleType:
    try:
        return need("sklearn.datasets", "dev")
    except ImportError:
        raise ImportError("scikit-learn is not installed: pip install scikit-learn") from None
