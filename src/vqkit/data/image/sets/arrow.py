"""Data sets of images that Hugging Face's ``datasets`` saved to disk: ``Dataset.save_to_disk`` and ``DatasetDict.save_to_disk``.

Images are kept as the bytes of their files, or as paths to files in the data set's folder; they are read by our own reader, one at a
time. Nothing is unpickled, nothing is fetched (an image whose path is an address is one that does not exist), and no file outside of the
folder is read: whoever made the data set would else choose what is read on this machine.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from vqkit.data.folders import SPLITS, no_file
from vqkit.data.image.file import MAX_MEGAPIXELS, decode_image, read_image
from vqkit.types import Float, need

_DICT, _STATE = "dataset_dict.json", "state.json"


@dataclass(frozen=True)
class SavedImages:
    """The images of one saved ``Dataset``, decoded on demand.

    Attributes:
        folder: folder of the saved data set.
        rows: column of images, undecoded.
        column: name of that column.
        max_megapixels: largest image in 10^6 pixels, as in `read_image`.
    """

    folder: Path
    rows: Any
    column: str
    max_megapixels: float

    def image(self, index: int, channels: int) -> Float[Tensor, "channels height width"]:
        """Image ``index``, in [0, 1], gray or RGB; errors as in `read_image`."""
        name, stored = f"{self.folder}/{index:05d}", self.rows[index][self.column] or {}
        if (data := stored.get("bytes")) is not None:
            return decode_image(data, name, channels, self.max_megapixels)
        if not stored.get("path"):
            raise ValueError(f"{name} has neither the bytes of an image nor its path")
        place = self.folder / stored["path"]
        if not place.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(
                f"{name} is {stored['path']}, which lies outside of {self.folder}; only files in it are read"
            )
        if place.exists() and (problem := no_file(place)):
            raise ValueError(f"{name} is {stored['path']}, which is {problem}")
        return read_image(place, channels, self.max_megapixels)


def saved_folders(folder: Path) -> list[Path]:
    """The folder of a saved ``Dataset``, or the folders of a ``DatasetDict``; none where neither was saved.

    Raises:
        ValueError: the list of the folders is damaged, or one of them is not there.
    """
    if not (folder / _DICT).is_file():
        return [folder] if is_saved(folder) else []
    words = _json(folder / _DICT).get("splits")
    if not isinstance(words, list) or not all(isinstance(word, str) and Path(word).name == word for word in words):
        raise ValueError(f"{folder / _DICT} has splits {words!r}, expected a list of names of folders")
    if missing := [word for word in words if not is_saved(folder / word)]:
        raise ValueError(
            f"{folder / _DICT} lists the split {missing[0]!r}, but {folder / missing[0]} is no saved data set"
        )
    return [folder / word for word in words]


def is_saved(folder: Path) -> bool:
    """Return whether a ``Dataset`` of Hugging Face was saved in the folder."""
    return (folder / _STATE).is_file() and (folder / "dataset_info.json").is_file()


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved ``Dataset``, in order.

    Raises:
        ValueError: their list is damaged.
    """
    try:
        names = [entry["filename"] for entry in _json(folder / _STATE)["_data_files"]]
        wrong = next((name for name in names if Path(name).name != name), None)
    except (KeyError, TypeError):
        raise ValueError(f"{folder / _STATE} does not list the files of the data set") from None
    if wrong is not None:
        raise ValueError(f"{folder / _STATE} lists {wrong!r}, which does not lie in the folder")
    return [folder / name for name in names]


def saved_labels(folder: Path) -> list[tuple[str, str]]:
    """(label, split) of every image of a saved ``Dataset``; errors as of `saved_images`.

    The label is that of the column ``label``, or else of the first column of class labels; "" where there is none, or the class is −1.
    """
    datasets, table = _load(folder)
    _image_column(datasets, table, folder)
    split = str(table.split or "")
    if folder.name in _sibling_splits(folder):
        split = folder.name
    split = SPLITS.get(split.lower(), split)
    return [(label, split) for label in _labels(datasets, table, folder)]


def saved_images(folder: Path, max_megapixels: float = MAX_MEGAPIXELS) -> SavedImages:
    """The images of a saved ``Dataset``; the files stay on disk.

    Raises:
        ImportError: datasets is not installed.
        ValueError: a file is missing or damaged, or there is no column of images, or several of which none is named ``image``.
    """
    datasets, table = _load(folder)
    column = _image_column(datasets, table, folder)
    rows = _checked(table.select_columns([column]), folder)
    return SavedImages(folder, rows.cast_column(column, datasets.Image(decode=False)), column, max_megapixels)


def _load(folder: Path) -> tuple[ModuleType, Any]:
    datasets = need("datasets", "image")
    for file in saved_files(folder):
        if not file.is_file():
            raise ValueError(f"{folder} is not whole: {file.name} is missing")
    try:
        return datasets, datasets.load_from_disk(str(folder.resolve()), keep_in_memory=False).with_format(None)
    except Exception as error:  # JSON, features and Arrow fail in a dozen ways
        raise ValueError(f"{folder} is not a data set that can be read: {' '.join(str(error).split())}") from None


def _checked(table: Any, folder: Path) -> Any:
    try:
        table.data.validate(full=True)  # a damaged offset would be read as an address
    except ValueError as error:
        raise ValueError(f"{folder} is damaged: {' '.join(str(error).split())}") from None
    return table


def _image_column(datasets: ModuleType, table: Any, folder: Path) -> str:
    found = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    if "image" in found or len(found) == 1:
        return "image" if "image" in found else str(found[0])
    columns = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in table.features.items())
    raise ValueError(f"{folder} must have one column of datasets.Image, or one of them named 'image'; it has {columns}")


def _labels(datasets: ModuleType, table: Any, folder: Path) -> list[str]:
    classes = [name for name, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
    column = "label" if "label" in table.features else next(iter(classes), None)
    if column is None:
        return [""] * len(table)
    values = list(_checked(table.select_columns([column]), folder)[:][column])
    if column in classes:
        names = table.features[column].names
        if wrong := {value for value in values if value is not None and not -1 <= value < len(names)}:
            raise ValueError(f"{folder} has the class {min(wrong)} in {column!r}, which has {len(names)} classes")
        return ["" if value is None or value < 0 else str(names[value]) for value in values]
    if any(value is not None and not isinstance(value, (int, str)) for value in values):
        raise ValueError(f"{folder}: the column 'label' must hold classes, integers or words")
    return ["" if value is None else str(value) for value in values]


def _sibling_splits(folder: Path) -> list[str]:
    """The splits of the ``DatasetDict`` that a folder is part of."""
    try:
        return [path.name for path in saved_folders(folder.parent)] if (folder.parent / _DICT).is_file() else []
    except ValueError:
        return []


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, got {type(content).__name__}")
    return content
