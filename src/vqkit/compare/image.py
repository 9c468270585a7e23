"""Measurement of image tokenizers: at one size, on boxes of the test images, all of them coded together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from vqkit.compare.dataset import Dataset
from vqkit.compare.measure import Measure, too_small
from vqkit.data import MAX_MEGAPIXELS, ImageItem, Images, write_image
from vqkit.metrics import image_metrics
from vqkit.modality import IMAGE
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.tokenizer import Tokenizer
from vqkit.nn import EfficientNetLite0, PerceptualDistance

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["ImageMeasure"]

_BATCH = 32
_COUNTED = 512  # training images whose codes give the histograms of the entropy coder


class ImageMeasure(Measure[ImageItem]):
    """Measures tokenizers on images of one size.

    Args:
        size: height and width in pixels.
        channels: 1 for gray, 3 for RGB.
        crop: how images are brought to the size; see `vqkit.data.Images`.
        crop_share: smallest and largest height of a random box as a share of the largest that fits.
        boxes: random boxes of each image that are measured, the same ones for every tokenizer.
        trunk_size: side in pixels at which the trunk of the perceptual distance and the Fréchet distance sees the images; 0 measures
            without them.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.
    """

    modality = IMAGE
    examples, rate = "images", "bpp"
    suffix = ".png"
    titles: ClassVar[Mapping[str, str]] = {
        "mae": "MAE",
        "lpips_effnet": "LPIPS-effnet",
        "fd_effnet": "FD-effnet",
    }
    first = ("psnr", "ssim", "mae", "lpips_effnet", "fd_effnet")

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        crop: Literal["center", "random", "stretch"],
        crop_share: tuple[float, float] = (1.0, 1.0),
        boxes: int = 1,
        trunk_size: int = 64,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        self.image_size, self.channels, self.crop = size, channels, crop
        self.crop_share, self.boxes, self.max_megapixels = crop_share, boxes, max_megapixels
        self.trunk = None
        if trunk_size:
            self.trunk = EfficientNetLite0.from_package(input_size=trunk_size, min_size=min(trunk_size, 64))

    def items(self, data: Dataset, training: bool) -> list[ImageItem]:
        """Images to train on, or to measure on."""
        return data.images(training)

    def described(self, train: Sequence[ImageItem], test: Sequence[ImageItem]) -> dict[str, Any]:
        """Return the numbers of images and their size, for the record."""
        return {"images": {"train": len(train), "test": len(test) * self.boxes}, "size": list(self.image_size)}

    def label(self, item: ImageItem) -> str:
        """The file's name without its suffix, and the number of an image in a file of many."""
        return Path(item.name).stem if item.index is None else f"{Path(item.path).stem}-{item.index}"

    def extent(self, item: ImageItem, signal: Tensor) -> dict[str, Any]:
        """Class, width and height."""
        return {"group": item.label or "image", "width": signal.shape[-1], "height": signal.shape[-2]}

    def metrics(self) -> "MetricCollection":
        """Metrics of images, without SSIM where they are too small for its windows."""
        distance = None if self.trunk is None else PerceptualDistance(self.trunk)
        return image_metrics(distance, self.trunk, self.image_size)

    def left_out(self) -> str:
        """What is said of SSIM, which images below 11 pixels have none of."""
        return too_small("images", self.image_size)

    def signals(self, items: Sequence[ImageItem]) -> Iterator[tuple[ImageItem, Tensor]]:
        """The images (1, channels, height, width), the first box of each; one that cannot be read is an error."""
        return zip(items, (image[None] for image in self._images(items)), strict=True)

    def batches(self, items: Sequence[ImageItem]) -> Iterator[Tensor]:
        """Yield all boxes of the images, in batches."""
        images = self._images(items, self.boxes)
        while batch := list(islice(images, _BATCH)):
            yield torch.stack(batch)

    def counting(self, train: Sequence[ImageItem]) -> Sequence[ImageItem]:
        """Five hundred images, or up to twice as many, spread evenly."""
        return train[:: max(1, len(train) // _COUNTED)]

    def size(self, signals: Tensor) -> tuple[int, int]:
        """Height and width."""
        return self.image_size

    def units(self, signals: Tensor) -> float:
        """Pixels."""
        return len(signals) * math.prod(self.image_size)

    def packed(self, codes: list[Tensor]) -> list[Tensor]:
        """Join the codes of all images: of a single image of a few hundred codes the coder's last bytes would be a tenth."""
        return [torch.cat(codes)]

    def write(self, path: Path, signal: Tensor) -> None:
        """Write an image."""
        write_image(path, signal)

    def facts(self, model: Tokenizer) -> dict[str, Any]:
        """Bits of an image before entropy coding."""
        assert isinstance(model, ImageTokenizer)
        return {"bits_per_image": model.stage_bits(*self.image_size)[-1]}

    def _images(self, items: Sequence[ImageItem], boxes: int = 1) -> Iterator[Tensor]:
        if not items:  # none are to be shown
            return iter(())
        images = Images(
            items,
            self.image_size,
            self.channels,
            self.crop,
            self.crop_share,
            unreadable="raise",
            max_megapixels=self.max_megapixels,
            cache_megabytes=200,
        )
        return (images.draw(index, box).image for index in range(len(items)) for box in range(boxes))
