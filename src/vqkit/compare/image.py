"""Measure an image tokenizer: quality on test images, codebook use, bits really written, and what the report shows."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from vqkit.bitstream import encode_codes
from vqkit.compare.codebooks import counted, curve_stages, residual_energy, usage_of, use_by_part, values_of
from vqkit.compare.pca import code_cloud
from vqkit.data import MAX_MEGAPIXELS, ImageItem, Images, write_image
from vqkit.metrics import StreamingMetric, image_metrics
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.nn import EfficientNetLite0, PerceptualDistance

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["ImageMeasure", "label"]

_BATCH = 32
_COUNTED = 512  # training images whose codes give the histograms of the entropy coder
_SHOWN_VECTORS = 1 << 15
_NAMES = {"psnr": "PSNR", "ssim": "SSIM", "mae": "MAE", "lpips_effnet": "LPIPS-effnet", "fd_effnet": "FD-effnet"}


def label(item: ImageItem) -> str:
    """Short name of an image, for files and people."""
    return Path(item.name).stem if item.index is None else f"{Path(item.path).stem}-{item.index}"


class ImageMeasure:
    """Measures tokenizers on images of one size.

    Args:
        size: (height, width).
        channels: 1 or 3.
        crop: how images are brought to the size, as in `vqkit.data.Images`.
        crop_share: of random boxes, likewise.
        boxes: with random boxes, how many of each image are measured; the same ones for every tokenizer.
        trunk_size: side in pixels at which the trunk of the perceptual distance and the Fréchet distance sees the images; 0 measures
            without them.
        max_megapixels: as in `vqkit.data.read_image`.
    """

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
        self.size, self.channels, self.crop = size, channels, crop
        self.crop_share, self.boxes, self.max_megapixels = crop_share, boxes, max_megapixels
        self.trunk = None
        if trunk_size:
            self.trunk = EfficientNetLite0.from_package(input_size=trunk_size, min_size=min(trunk_size, 64))

    @property
    def protocols(self) -> dict[str, Any]:
        """Protocol of each metric by name."""
        found: dict[str, Any] = {}
        metrics = cast("dict[str, StreamingMetric]", dict(self._metrics().items()))
        for key in sorted(metrics, key=lambda key: (list(_NAMES).index(key) if key in _NAMES else 99, key)):
            protocol = metrics[key].protocol
            described = {field: protocol[field] for field in ("unit", "better", "description")}
            found[key] = {"name": _NAMES.get(key, key), **described, **protocol["settings"]}
        return found

    def originals(self, shown: Sequence[ImageItem], folder: Path) -> dict[str, Any]:
        """Write the images to show, as the model gets them, and describe them."""
        found = []
        for item, image in zip(shown, self._images(shown), strict=True):
            path = folder / "image" / "original" / f"{label(item)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, image)
            sizes = {"width": self.size[1], "height": self.size[0]}
            group = item.label or "image"
            found.append({"name": label(item), "group": group, **sizes, "original": str(path.relative_to(folder))})
        return {"images": found}

    @torch.no_grad()
    def measure(
        self,
        tokenizer: ImageTokenizer,
        train: Sequence[ImageItem],
        test: Sequence[ImageItem],
        shown: Sequence[ImageItem],
        details: bool,
        folder: Path,
    ) -> dict[str, Any]:
        """Measure on the test images; reconstructions of ``shown`` are written to ``folder``.

        Args:
            tokenizer: in evaluation mode.
            train: images some of whose codes give the histograms of the entropy coder.
            test: images measured.
            shown: those whose reconstruction is kept.
            details: also usage, residual energy, PCA and the rate curve.
            folder: of the run.
        """
        quantizer = tokenizer.quantizer
        metrics, usage = self._metrics(), usage_of(quantizer)
        latents, codes = [], []
        for images in self._batches(test):
            z = tokenizer.analyze(images)
            found = quantizer.encode(z)
            metrics.update(tokenizer.synthesize(quantizer.decode(found), self.size), images)
            usage.update(found)
            latents.append(z.flatten(end_dim=-2))
            codes.append(found.flatten(end_dim=-2))
        z, all_codes = torch.cat(latents), torch.cat(codes)
        pixels = len(test) * self.boxes * math.prod(self.size)
        some = train[:: max(1, len(train) // _COUNTED)]
        histograms = counted(quantizer, (self._codes(tokenizer, images) for images in self._batches(some)))
        entropy = None
        if histograms is not None:
            entropy = 8 * len(encode_codes(all_codes, quantizer.code_sizes, histograms)) / pixels
        values: dict[str, Any] = {
            "facts": {"bits_per_image": tokenizer.stage_bits(*self.size)[-1]},
            "rates": {
                "bpp": 8 * len(encode_codes(all_codes, quantizer.code_sizes)) / pixels,
                "entropy_bpp": entropy,
            },
            "metrics": values_of(metrics),
            "reconstructions": self._reconstructions(tokenizer, shown, folder),
        }
        if details:
            every = max(1, len(z) // _SHOWN_VECTORS)
            spatial = len(tokenizer.grid(*self.size))
            values |= {
                "usage": use_by_part(usage),
                "residual_energy": residual_energy(quantizer, z[::every], all_codes[::every], spatial),
                "pca": code_cloud(quantizer, z[::every], all_codes[::every], spatial),
                "rate_curve": self._rate_curve(tokenizer, test),
            }
        return values

    def _reconstructions(self, tokenizer: ImageTokenizer, shown: Sequence[ImageItem], folder: Path) -> dict[str, str]:
        found = {}
        for item, image in zip(shown, self._images(shown), strict=True):
            path = folder / f"{label(item)}.png"
            write_image(path, tokenizer.decode(tokenizer.encode(image[None]), self.size)[0])
            found[label(item)] = path.name
        return found

    def _rate_curve(self, tokenizer: ImageTokenizer, test: Sequence[ImageItem]) -> list[dict[str, Any]] | None:
        """Quality of the first 1, 2, 4, … stages."""
        quantizer = tokenizer.quantizer
        curve = []
        pixels = len(test) * self.boxes * math.prod(self.size)
        for stages in curve_stages(quantizer):
            metrics, codes = self._metrics(), []
            held = quantizer.stage_ends[stages - 1]
            for images in self._batches(test):
                found = quantizer.first_stages(quantizer.encode(tokenizer.analyze(images)), stages)
                metrics.update(tokenizer.synthesize(quantizer.decode(found), self.size), images)
                codes.append(found.flatten(end_dim=-2))
            written = len(encode_codes(torch.cat(codes), quantizer.code_sizes[:held]))
            curve.append({"stages": stages, "bpp": 8 * written / pixels, "metrics": values_of(metrics)})
        return curve or None

    def _codes(self, tokenizer: ImageTokenizer, images: Tensor) -> Tensor:
        return tokenizer.quantizer.encode(tokenizer.analyze(images)).flatten(end_dim=-2)

    def _images(self, items: Sequence[ImageItem], boxes: int = 1) -> Iterator[Tensor]:
        if not items:  # none are to be shown
            return iter(())
        images = Images(
            items,
            self.size,
            self.channels,
            self.crop,
            self.crop_share,
            unreadable="raise",
            max_megapixels=self.max_megapixels,
            cache_megabytes=200,
        )
        return (images.draw(index, box).image for index in range(len(items)) for box in range(boxes))

    def _batches(self, items: Sequence[ImageItem]) -> Iterator[Tensor]:
        images = self._images(items, self.boxes)
        while batch := list(islice(images, _BATCH)):
            yield torch.stack(batch)

    def _metrics(self) -> "MetricCollection":
        distance = None if self.trunk is None else PerceptualDistance(self.trunk)
        return image_metrics(distance, self.trunk)
