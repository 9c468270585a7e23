"""The common frame of the metrics of reconstructed images: an estimate against its reference, image by image.

Conventions:
    Images are ``(batch, channels, height, width)`` of a float dtype, gray or RGB. References are in [0, 1]; estimates are
    clamped to it, and nothing is rounded to 8 bits.
    One value per image, then the mean over images: each image weighs the same.

Metrics:
    :class:`ImageMetric` is the abstract base.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from vqkit.metrics.image_pairs import pairs_of_images
from vqkit.metrics.item_mean import ItemMean
from vqkit.types import Float

__all__ = ["ImageMetric"]


class ImageMetric(ItemMean):
    """Mean over images of a distance or similarity between an estimate and its reference.

    A metric of this family defines :meth:`measure`, and ``min_size`` if it needs more than one pixel.

    Attributes:
        min_size: least height and width the metric can measure, in pixels.
    """

    item = "image"
    min_size = 1

    @abstractmethod
    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Compare images, already validated.

        Args:
            estimate: reconstructed images in [0, 1], float64.
            reference: original images in [0, 1], float64.

        Returns:
            One value per image.
        """

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
            TypeError: an argument is not a tensor of a float dtype.
            ValueError: shapes differ or are not ``(batch, 1 or 3, height, width)``, images are too small, a pixel is not
                finite, or a reference is not in [0, 1].
        """
        with torch.no_grad():  # all values first: a batch that fails halfway leaves the stream as it was
            values = [
                self.measure(one.double(), other.double())
                for one, other in pairs_of_images(self.name, estimate, reference, self.min_size)
            ]
        self.add(list(torch.cat(values)))
