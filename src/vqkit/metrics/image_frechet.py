"""Fréchet distance between the embeddings of reconstructed and original images.

Conventions:
    A distance is that of its extractor: the metric's name is ``fd_<extractor>``, and it is shown as "FD-<extractor>". The
    name FID belongs to one extractor, Inception with its published weights, which is not here.
    The distance is biased upwards by few images, the more the larger the embeddings: with fewer images than dimensions the
    covariances are singular. Values compare only on the same number of images, which the protocol states after ``compute``.

Metrics:
    :class:`ImageFrechetDistance`, lower is better; :class:`ImageExtractor` is what it needs.

References:
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, 2017 (equation 6);
    Chong & Forsyth, Effectively unbiased FID and Inception score, 2020 (the bias).
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from vqkit.metrics.gaussian_distance import SIDES, GaussianDistance, Side
from vqkit.metrics.image_pairs import pairs_of_images
from vqkit.metrics.network import Network
from vqkit.types import Float

__all__ = ["ImageExtractor", "ImageFrechetDistance"]


class ImageExtractor(Network, Protocol):
    """Embeds images; for instance :class:`vqkit.nn.EfficientNetLite0`.

    Attributes:
        dim: length of an embedding.
    """

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """Embed each image; images are float32 in [0, 1]."""


class ImageFrechetDistance(GaussianDistance):
    """Fréchet distance of Gaussians fitted to the embeddings of all estimates and of all references.

    Args:
        extractor: what embeds images.

    Example:
        >>> from types import SimpleNamespace
        >>> corner = SimpleNamespace(name="corner", dim=2, settings={}, embed=lambda x: x[:, 0, 0, :2])
        >>> distance, images = ImageFrechetDistance(corner), torch.rand(64, 1, 8, 8) / 2
        >>> distance.update(images + 0.5, images)  # both numbers of the embedding are off by a half
        >>> round(distance.compute().item(), 3), distance.protocol["settings"]["num_images"]
        (0.5, 64)
    """

    def __init__(self, extractor: ImageExtractor) -> None:
        self.name = f"fd_{extractor.name}"  # before __init__, which names the states after it
        super().__init__(extractor.dim)
        self.extractor = extractor
        self.description = (
            f"FD-{extractor.name}: Fréchet distance between Gaussians fitted to the embeddings of all estimates and of "
            "all references, unbiased covariances; biased upwards by few images, compares only on as many"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The extractor's, and the number of images (None before ``compute``)."""
        return {
            "extractor": self.extractor.name,
            "dim": self.extractor.dim,
            "num_images": self.num_embeddings,
            **self.extractor.settings,
        }

    def update(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> None:
        """Add a batch of images.

        Args:
            estimate: reconstructed images; clamped to [0, 1].
            reference: original images in [0, 1], of the same shape.

        Raises:
            TypeError: as of every image metric.
            ValueError: as of every image metric, or the extractor gives something else than finite ``(batch, dim)``.
        """
        embedded: list[tuple[Side, Tensor]] = []
        with torch.no_grad():
            for pair in pairs_of_images(self.name, estimate, reference):
                for side, images in zip(SIDES, pair, strict=True):
                    with torch.autocast(images.device.type, enabled=False):
                        embedded.append((side, self.extractor.embed(images.float())))
        self.add(embedded)
