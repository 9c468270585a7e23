"""Images of one size with their labels, for training and evaluation."""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from vqkit.data.image.file import MAX_MEGAPIXELS, check_megapixels, read_image
from vqkit.data.image.items import ImageItem
from vqkit.data.image.pixels import PixelArray, check_channels
from vqkit.data.image.sets.packed import collection_pixels
from vqkit.data.tensor_cache import TensorCache
from vqkit.types import Float

__all__ = ["Images", "LabelledImage"]


class LabelledImage(NamedTuple):
    """Image with its label, or after a data loader a batch of them.

    Attributes:
        image: float32 in [0, 1], ``(channels, height, width)``.
        label: index into the data set's `classes`; −1 where there is no label.
    """

    image: Float[Tensor, "channels height width"]
    label: int


class Images(Dataset[LabelledImage]):
    """A map-style data set of images at one size.

    A box with the proportions of ``size`` is cut from the image and resized (bilinear, antialiased); where the box is as large as ``size``,
    the pixels stay as they are. Item ``index`` depends only on ``seed``, the epoch and ``index``: not on the number of workers or ranks,
    nor on what was read before. Files of many images are held in memory; a saved folder is read from as images are asked for.

    Args:
        items: items from `list_images`.
        size: ``(height, width)`` of the result, or one number for both.
        channels: 1 for gray, 3 for RGB.
        crop: "center" cuts the largest box from the middle; "random" a box at a random place, anew in every epoch; "stretch" takes the
            whole image and changes its proportions.
        crop_share: smallest and largest height of a random box as a share of the largest that fits, each height between equally likely.
        classes: the labels in the order of their numbers; None sorts those of the items. Give the training set's to the test set.
        unreadable: "skip" names a file that cannot be read in a warning, lists it in `skipped` and takes another item, drawn from seed,
            epoch and index, in its place; "raise" is for evaluation, where a table over other images would not say so.
        seed: seed, at least 0.
        max_megapixels: largest image in 10^6 pixels, as in `read_image`.
        cache_megabytes: decoded image files kept in memory, in each process that reads.

    Raises:
        FileNotFoundError, ValueError: an argument is out of range, or a file of many images cannot be read.

    Example:
        >>> import tempfile
        >>> from vqkit.data import list_images, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/1.png", torch.rand(3, 40, 60))
        ...     images = Images(list_images(folder), size=32)
        ...     images[0].image.shape, images[0].label
        (torch.Size([3, 32, 32]), -1)
    """

    def __init__(
        self,
        items: Sequence[ImageItem],
        size: int | tuple[int, int],
        channels: int = 3,
        crop: Literal["center", "random", "stretch"] = "center",
        crop_share: tuple[float, float] = (1.0, 1.0),
        classes: Sequence[str] | None = None,
        unreadable: Literal["skip", "raise"] = "skip",
        seed: int = 0,
        max_megapixels: float = MAX_MEGAPIXELS,
        cache_megabytes: float = 0.0,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        _check(items, self.size, channels, crop, crop_share, unreadable, seed)
        check_megapixels(max_megapixels)
        self.items = list(items)
        self.channels, self.crop, self.crop_share = channels, crop, crop_share
        self.unreadable, self.seed, self.max_megapixels = unreadable, seed, max_megapixels
        self._cache = TensorCache(cache_megabytes)
        labels = {item.label for item in self.items if item.label}
        self.classes = sorted(labels, key=_natural) if classes is None else list(classes)
        if unknown := labels - set(self.classes):
            raise ValueError(f"label {min(unknown)!r} is not in classes, which has {', '.join(self.classes) or 'none'}")
        self._numbers = {"": -1} | {label: number for number, label in enumerate(self.classes)}
        self._collections = {
            path: collection_pixels(path, max_megapixels)
            for path in sorted({i.path for i in self.items if i.index is not None})
        }
        # In shared memory: loader processes see a new epoch even when they persist, and report the files that they cannot read.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._unusable = torch.zeros(len(self.items), dtype=torch.bool).share_memory_()
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.draw(index, int(self._epoch))

    def draw(self, index: int, epoch: int) -> LabelledImage:
        """Item ``index`` as it is in an epoch."""
        if not 0 <= index < len(self.items):
            raise IndexError(f"image {index} of {len(self.items)}")
        random = np.random.default_rng((self.seed, epoch, index))
        place = random.random(3)
        if self.unreadable == "raise":
            return self._labelled(index, self._read(index), place)
        image = self._attempt(index, warn=True)
        if image is not None:
            return self._labelled(index, image, place)
        # The others in a random order, each once: what other processes or earlier items have found out cannot change the outcome.
        for other in random.permutation(len(self.items)).tolist():
            if (image := self._attempt(other, warn=True)) is not None:
                return self._labelled(other, image, place)
        raise ValueError(
            f"none of the {len(self.items)} images can be read; the last failure: {list(self.skipped.values())[-1]}"
        )

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops: call before each pass, with the same number on every rank."""
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}, it must be at least 0")
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> dict[str, str]:
        """Path → reason of the files found unusable so far, by this process or by its loader workers.

        The path of an image in a saved folder is the folder's with its index.
        """
        for index in self._unusable.nonzero().flatten().tolist():
            if index not in self._reasons:  # found by a worker: ask the file again for the reason
                self._unusable[index] = False
                self._attempt(index, warn=False)
        return {_place(self.items[index]): reason for index, reason in sorted(self._reasons.items())}

    def _read(self, index: int) -> Tensor:
        item = self.items[index]
        if item.index is None:
            return self._cache.get(item.path, lambda: read_image(item.path, self.channels, self.max_megapixels))
        number, held = item.index, self._collections[item.path]
        if isinstance(held, PixelArray):
            return held.image(number, self.channels)
        return self._cache.get((item.path, number), lambda: held.image(number, self.channels))

    def _attempt(self, index: int, warn: bool) -> Tensor | None:
        """The whole image; None, and the item marked, where it cannot be read."""
        if self._unusable[index]:
            return None
        try:
            return self._read(index)
        except (OSError, ValueError) as error:
            self._unusable[index] = True
            self._reasons[index] = str(error)
            if warn:
                warnings.warn(f"skipped {_place(self.items[index])}: {error}", stacklevel=3)
            return None

    def _labelled(self, index: int, image: Tensor, place: np.ndarray) -> LabelledImage:
        if self.crop != "stretch":
            share = self.crop_share[0] + (self.crop_share[1] - self.crop_share[0]) * place[0]
            top, left, height, width = _box(image, self.size, *((share, *place[1:]) if self.crop == "random" else ()))
            image = image[:, top : top + height, left : left + width]
        if image.shape[1:] != self.size:
            image = functional.interpolate(image[None], self.size, mode="bilinear", antialias=True)[0].clamp_(0, 1)
        return LabelledImage(image.clone(), self._numbers[self.items[index].label])


def _place(item: ImageItem) -> str:
    return str(item.path) if item.index is None else f"{item.path}/{item.index:05d}"


def _box(
    image: Tensor, size: tuple[int, int], share: float = 1.0, down: float = 0.5, right: float = 0.5
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a box of ``size``'s proportions; down and right tell the place, 0 … 1."""
    scale = min(image.shape[1] / size[0], image.shape[2] / size[1]) * share
    height, width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (
        int(place * (room + 1)) for place, room in ((down, image.shape[1] - height), (right, image.shape[2] - width))
    )
    return top, left, height, width


def _natural(label: str) -> tuple[bool, int, str]:
    """Numbers first and by value, then words."""
    return (False, int(label), label) if label.isdecimal() else (True, 0, label)


def _check(
    items: Sequence[ImageItem],
    size: tuple[int, int],
    channels: int,
    crop: str,
    crop_share: tuple[float, float],
    unreadable: str,
    seed: int,
) -> None:
    if not items:
        raise ValueError("items is empty, at least one is needed")
    check_channels(channels)
    if min(size) < 1:
        raise ValueError(f"size is {size}, both must be at least 1")
    if crop not in ("center", "random", "stretch"):
        raise ValueError(f"crop is {crop!r}, allowed are 'center', 'random' and 'stretch'")
    if not 0 < crop_share[0] <= crop_share[1] <= 1:
        raise ValueError(f"crop_share is {tuple(crop_share)}, it must be two rising shares in 0 … 1")
    if crop != "random" and tuple(crop_share) != (1.0, 1.0):
        raise ValueError(f"crop_share is {tuple(crop_share)}, it is for crop 'random', not {crop!r}")
    if unreadable not in ("skip", "raise"):
        raise ValueError(f"unreadable is {unreadable!r}, allowed are 'skip' and 'raise'")
    if seed < 0:
        raise ValueError(f"seed is {seed}, it must be at least 0")
