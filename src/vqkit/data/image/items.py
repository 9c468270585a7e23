"""The images of a data set: from files, folders, a manifest or one file of many, in a fixed order."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vqkit.data.content import IMAGE_SUFFIXES, content_of_file
from vqkit.data.folders import class_of, split_of, walk
from vqkit.data.image.sets.packed import DIGITS, collection_labels, collections_in, is_collection
from vqkit.data.items import Item, kept
from vqkit.data.manifest import read_manifest

__all__ = ["ImageItem", "list_images"]

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz")


@dataclass(frozen=True)
class ImageItem(Item):
    """Image of a data set: a file, or an image in a file of many or a saved folder, whose name is the file's and its index.

    Attributes:
        index: place in a file of many or a saved folder; None where the file is the image.
    """

    index: int | None = None


def list_images(source: str | Path, split: str | None = None) -> list[ImageItem]:
    """List the images of a data set, with their labels.

    Args:
        source: one of

            - a folder with a ``manifest.csv``, or such a file: columns path, split and perhaps label (see `vqkit.data.manifest`);
            - a folder with the files of MNIST or Fashion-MNIST (``train-images-idx3-ubyte``, perhaps ``.gz``, and the labels) or of
              CIFAR-10's binary version (``data_batch_*.bin``), or one such file;
            - a folder to which Hugging Face's ``datasets`` saved a data set or several splits (see `vqkit.data.image.sets.arrow`);
            - an ``.npz`` file (see `vqkit.data.image.sets.npz`);
            - another folder: its image files, where a folder named train, valid, validation or test gives the split and the innermost
              other folder the label; files without an image's suffix are told by their content, and files that are nothing we know are
              counted in a warning;
            - one image file;
            - "digits": the 8×8 digits of scikit-learn, for tests.

            Where no image has a split, the hash of its name gives it one (see `vqkit.data.items`).
        split: keep this split only.

    Returns:
        The images, files sorted by name; those of a file of many in its order. What has an image's suffix is not opened: a damaged one
        is listed, too.

    Raises:
        FileNotFoundError: the source, a file that its manifest lists, or a file of labels does not exist.
        SplitError: there is no such split.
        ValueError: the source is malformed, pickled, of an unknown format, or no image is left.

    Example:
        >>> import tempfile, torch
        >>> from vqkit.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat", "train/dog", "test/dog"):
        ...         Path(folder, name).mkdir(parents=True)
        ...         write_image(f"{folder}/{name}/1.png", torch.rand(3, 8, 8))
        ...     [(item.name, item.label) for item in list_images(folder, split="train")]
        [('train/cat/1.png', 'cat'), ('train/dog/1.png', 'dog')]
    """
    source = Path(source)
    if not source.exists() and source != DIGITS:
        raise FileNotFoundError(f"no such file or folder: {source}")
    items = _from_folder(source) if source.is_dir() else _from_file(source)
    if not items:
        raise ValueError(f"{source} holds no image files ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return kept(items, source, "images", split)


def _from_folder(folder: Path) -> list[ImageItem]:
    if (folder / "manifest.csv").is_file():
        return _from_manifest(folder / "manifest.csv")
    if collections := collections_in(folder):
        return [item for path in collections for item in _from_collection(path)]
    names = sorted(walk(folder, IMAGE_SUFFIXES, _is_image))
    return [ImageItem(folder / name, name, split_of(name), label=class_of(name)) for name in names]


def _from_file(path: Path) -> list[ImageItem]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _from_manifest(path)
    if is_collection(path):
        return _from_collection(path)
    if _is_image(path):
        return [ImageItem(path, path.name)]
    advice = (
        "unpack it first" if suffix in _ARCHIVES else "allowed are images, .csv, .npz, MNIST's and CIFAR-10's files"
    )
    raise ValueError(f"{path} is no image and no data set of images; {advice}")


def _is_image(path: Path) -> bool | None:
    """Return whether a file is an image, None where its format is unknown. A suffix of images is trusted: a data set may have millions."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    with suppress(OSError):
        if content := content_of_file(path):
            return content == "image"
    return None


def _from_manifest(manifest: Path) -> list[ImageItem]:
    items = [
        ImageItem(
            manifest.parent / row["path"],
            PurePosixPath(row["path"]).as_posix(),
            row["split"],
            row.get("group", ""),
            label=row.get("label", ""),
        )
        for row in read_manifest(manifest, IMAGE_SUFFIXES, _is_image)
    ]
    return sorted(items, key=lambda item: item.name)


def _from_collection(path: Path) -> list[ImageItem]:
    return [
        ImageItem(path, f"{path.name}/{index:05d}", split, label=label, index=index)
        for index, (label, split) in enumerate(collection_labels(path))
    ]
