"""Data of a comparison of images, and its test images to look at; read from JSON and checked."""

from dataclasses import dataclass
from typing import Any

from vqkit.report.node import Node

__all__ = ["ImageData", "Picture", "parse_image_data", "parse_picture"]


@dataclass(frozen=True)
class ImageData:
    """Training and test data of a comparison of images; ``height`` and ``width`` in pixels, ``settings`` holds the further fields."""

    name: str
    train_images: int
    test_images: int
    height: int
    width: int
    settings: dict[str, Any]

    @property
    def description(self) -> str:
        """The data in words."""
        square = self.height == self.width
        size = f"{self.width}×{self.height} pixels" if square else f"{self.width} pixels wide, {self.height} high"
        return f"{self.name}, {size}"

    @property
    def trained_on(self) -> str:
        """Amount of training data, in words."""
        return _amount(self.train_images)

    @property
    def tested_on(self) -> str:
        """Amount of test data, in words."""
        return _amount(self.test_images)


@dataclass(frozen=True)
class Picture:
    """A test image to look at, or a test clip whose frames stand side by side.

    Attributes:
        name: name of the item.
        group: its class.
        width: width in pixels, of all frames together.
        height: height in pixels.
        original: path relative to the folder.
        frames: number of frames; 1 of an image.
        frame_rate: frames a second of a clip's player.
    """

    name: str
    group: str
    width: int
    height: int
    original: str
    frames: int = 1
    frame_rate: float = 8.0


def parse_image_data(node: Node) -> ImageData:
    """Read ``data`` of a comparison of images.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    images, size = node.get("images"), node.get("size")
    sides = size.items()
    if len(sides) != 2:
        raise size.error("a pair [height, width] in pixels")
    return ImageData(
        name=node.get("name").text(),
        train_images=images.get("train").integer(),
        test_images=images.get("test").integer(),
        height=sides[0].integer(least=1),
        width=sides[1].integer(least=1),
        settings=node.further("name", "images", "size"),
    )


def parse_picture(node: Node) -> Picture:
    """Read one element of ``images``.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    return Picture(
        name=node.get("name").text(),
        group=node.get("group").text(),
        width=node.get("width").integer(least=1),
        height=node.get("height").integer(least=1),
        original=node.get("original").inner_path(),
    )


def _amount(images: int) -> str:
    return f"{images:,} image{'' if images == 1 else 's'}"
