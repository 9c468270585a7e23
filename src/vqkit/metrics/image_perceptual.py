"""Perceptual distance of reconstructed images to their references, by the features of a trained network.

Conventions:
    The same as in :mod:`vqkit.metrics.image_reconstruction`. A distance is that of its network: the metric's name is
    ``lpips_<network>``, and values of different networks do not compare, nor with LPIPS.

Metrics:
    :class:`PerceptualMetric`, lower is better; :class:`ImageDistance` is what it needs.

References:
    Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, 2018, equation 1.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from vqkit.metrics.image_reconstruction import ImageMetric
from vqkit.metrics.network import Network
from vqkit.types import Float

__all__ = ["ImageDistance", "PerceptualMetric"]


class ImageDistance(Network, Protocol):
    """Compares images; for instance :class:`vqkit.nn.PerceptualDistance`."""

    def __call__(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Compute one distance for each image; both inputs are float32 in [0, 1]."""


class PerceptualMetric(ImageMetric):
    """Mean over images of a perceptual distance.

    Args:
        distance: compares images.

    Example:
        >>> from types import SimpleNamespace
        >>> class Furthest(SimpleNamespace):
        ...     def __call__(self, estimate, reference):
        ...         return (estimate - reference).abs().flatten(1).amax(1)
        >>> metric, image = PerceptualMetric(Furthest(name="furthest", settings={})), torch.zeros(1, 1, 8, 8)
        >>> metric.update(image + 0.5, image)
        >>> metric.name, metric.compute()
        ('lpips_furthest', tensor(0.5000))
    """

    unit = ""
    higher_is_better = False

    def __init__(self, distance: ImageDistance) -> None:
        self.name = f"lpips_{distance.name}"  # before __init__, which names the states after it
        super().__init__()
        self.distance = distance
        self.description = (
            f"squared distance of the normalised activations of {distance.name} on estimate and reference; mean over "
            "space, layers and images"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The distance's."""
        return {"network": self.distance.name, **self.distance.settings}

    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Distance of each image.

        Args:
            estimate: reconstructed images.
            reference: original images.

        Returns:
            As the network gives them.

        Raises:
            ValueError: the network gives something else than one finite number per image.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            values = self.distance(estimate.float(), reference.float())
        if values.shape != estimate.shape[:1] or not values.isfinite().all():
            raise ValueError(
                f"{self.name}: the distance must give one finite number per image, ({estimate.shape[0]},), got "
                f"{tuple(values.shape)}" + ("" if values.isfinite().all() else " with NaN or infinity")
            )
        return values
