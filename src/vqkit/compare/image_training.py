"""Train an image tokenizer around each quantizer, from the same start on the same images."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from vqkit.compare.backbone import Backbone, Note, Training
from vqkit.compare.image import ImageMeasure
from vqkit.compare.watch import trained
from vqkit.data import MAX_MEGAPIXELS, ImageItem, Images
from vqkit.modality import IMAGE
from vqkit.models.hub import WEIGHTS
from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.nn import EfficientNetLite0, PatchDiscriminator, PerceptualDistance
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import expression
from vqkit.training.adversary import Adversary
from vqkit.training.data.image import ImageDataModule
from vqkit.training.reconstruction.image import ImageModule
from vqkit.training.runs.run import train

__all__ = ["ImageTraining"]

_VARIANCE_IMAGES = 1024


@dataclass(frozen=True)
class ImageTraining(Backbone):
    """Base class of the image backbones. The weights of encoder and decoder start alike for all quantizers of a seed.

    Args:
        width: width of the latent, the ``dim`` of every quantizer.
        size: height and width of the images in pixels.
        channels: 1 for gray, 3 for RGB.
        crop: "center", "random" boxes, or "stretch", which changes proportions; for training and measuring.
        crop_share: smallest and largest height of a random box as a share of the largest that fits.
        test_boxes: random boxes of each test image that are measured, the same for every quantizer.
        steps: training steps.
        batch_size: images a step.
        learning_rate: learning rate of encoder and decoder, and of the quantizer.
        warmup_steps: steps until the full learning rate.
        l1_weight: weight of the mean absolute difference.
        l2_weight: weight of the mean squared difference.
        variance_weight: weight of the mean squared difference in [−1, 1] over the variance of the training images in [0, 1].
        perceptual_weight: weight of the perceptual distance, with EfficientNet-Lite0 as its trunk.
        adversarial_weight: weight of a patch discriminator, multiplied by VQGAN's adaptive weight; 0 trains without.
        adversarial_start: first step of the discriminator.
        quantizer_weight: weight of the quantizer's losses.
        initialize: scale the layers to the first batch.
        quantize_after: steps before the quantizer is fitted and joins; by default it takes part from the first.
        start: folder of a trained tokenizer whose networks all quantizers start from; its own quantizer does not matter.
        trunk_size: side in pixels at which EfficientNet-Lite0 sees the images when they are measured; 0 leaves its metrics out.
        save_every: steps between checkpoints, from which an interrupted run goes on.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.
    """

    width: int = 64
    size: int = 32
    channels: int = 3
    crop: Literal["center", "random", "stretch"] = "center"
    crop_share: tuple[float, float] = (1.0, 1.0)
    test_boxes: int = 1
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 3e-4
    warmup_steps: int = 50
    l1_weight: float = 0.0
    l2_weight: float = 0.0
    variance_weight: float = 1.0
    perceptual_weight: float = 0.0
    adversarial_weight: float = 0.0
    adversarial_start: int = 0
    quantizer_weight: float = 1.0
    initialize: bool = True
    quantize_after: int | None = None
    start: str = ""
    trunk_size: int = 64
    save_every: int = 500
    max_megapixels: float = MAX_MEGAPIXELS

    modality = IMAGE

    @abstractmethod
    def networks(self) -> ImageBackbone:
        """Encoder and decoder, at random."""

    @property
    def dim(self) -> int:
        """Width of the latent."""
        return self.width

    @property
    def training_code(self) -> tuple[Any, ...]:
        """Code of the training, whose changes make cached runs stale."""
        return (ImageTokenizer, ImageModule, ImageDataModule, train, *self.network_code)

    @property
    @abstractmethod
    def network_code(self) -> tuple[Any, ...]:
        """Code of the networks, a part of the training's code."""

    @cached_property
    def measures(self) -> ImageMeasure:
        """Metrics and files of images of one size."""
        size = (self.size, self.size)
        return ImageMeasure(
            size, self.channels, self.crop, self.crop_share, self.test_boxes, self.trunk_size, self.max_megapixels
        )

    def settings(self) -> dict[str, Any]:
        """The fields that bear on the result, as JSON, and a digest of the weights to start from."""
        found = {name: value for name, value in super().settings().items() if name != "max_megapixels"}
        if not self.start:
            return {name: value for name, value in found.items() if name != "start"}
        weights = Path(self.start) / WEIGHTS
        if not weights.is_file():
            raise ValueError(f"start={self.start} must be the folder of a trained tokenizer, it has no {WEIGHTS}")
        return {**found, "start_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}

    def train(self, quantizer: Quantizer, items: Sequence[ImageItem], seed: int, folder: Path, note: Note) -> Training:
        """Train, or go on from the checkpoint in ``folder``."""
        torch.manual_seed(seed)  # the same encoder and decoder for every quantizer
        tokenizer = ImageTokenizer(self._started() if self.start else self.networks(), quantizer)
        tokenizer.initialized.fill_(bool(self.start) or not self.initialize)
        module = ImageModule(
            tokenizer,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            l1_weight=self.l1_weight,
            l2_weight=self.l2_weight + (self.variance_weight and 4 * self.variance_weight / self._variance(items)),
            perceptual_weight=self.perceptual_weight,
            perceptual=self._perceptual(),
            quantizer_weight=self.quantizer_weight,
            adversary=self._adversary(),
            adaptive=self.adversarial_weight > 0,
            quantize_after=self.quantize_after,
        )
        data = _GivenImages(items, self, seed)
        return trained(
            module,
            data,
            loss=next(iter(module.weights)),
            folder=folder,
            steps=self.steps,
            seed=seed,
            save_every=self.save_every,
            note=note,
        )

    def saved(self, folder: Path) -> ImageTokenizer:
        """The tokenizer that was trained."""
        return ImageTokenizer.from_pretrained(folder / "tokenizer")

    def _started(self) -> ImageBackbone:
        """The networks of the tokenizer to start from."""
        found, wanted = ImageTokenizer.from_pretrained(self.start).backbone.train(), self.networks()
        if expression(found) != expression(wanted):
            raise ValueError(
                f"start={self.start} has {expression(found)}, these settings describe {expression(wanted)}"
            )
        return found

    def _variance(self, items: Sequence[ImageItem]) -> float:
        """Variance of the pixels in [0, 1] of (some of) the training images."""
        some = items[:: max(1, len(items) // _VARIANCE_IMAGES)]
        crop: Literal["center", "stretch"] = "stretch" if self.crop == "stretch" else "center"
        images = Images(some, self.size, self.channels, crop, max_megapixels=self.max_megapixels)
        return max(1e-4, float(torch.stack([images[i].image for i in range(len(some))]).var()))

    def _perceptual(self) -> PerceptualDistance | None:
        return PerceptualDistance(EfficientNetLite0.from_package()) if self.perceptual_weight else None

    def _adversary(self) -> Adversary | None:
        if not self.adversarial_weight:
            return None
        return Adversary(
            PatchDiscriminator(image_channels=self.channels, width=32),
            adversarial_weight=self.adversarial_weight,
            feature_weight=0.0,
            learning_rate=self.learning_rate,
            start_step=self.adversarial_start,
            update_share=1.0,
        )


class _GivenImages(ImageDataModule):
    """The comparison's images; nothing is validated while training."""

    def __init__(self, items: Sequence[ImageItem], settings: ImageTraining, seed: int) -> None:
        super().__init__(
            "",
            size=settings.size,
            batch_size=settings.batch_size,
            crop=settings.crop,
            crop_share=settings.crop_share,
            flip=settings.crop == "random",
            valid_split=None,
            max_megapixels=settings.max_megapixels,
            seed=seed,
        )
        self._given = list(items)

    def items(self, split: str | None) -> list[ImageItem]:
        """The images given."""
        return self._given
