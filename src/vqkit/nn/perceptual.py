"""A perceptual distance of images: how far apart a trained network's activations are.

References:
    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric" (2018), arXiv:1801.03924, eq. 1, with w_l = 1.
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from vqkit.types import Float

__all__ = ["PerceptualDistance", "Trunk"]

_EPS = 1e-10


class Trunk(Protocol):
    """Network whose activations are compared; an ``nn.Module``.

    Attributes:
        name: short name, part of every label.
        settings: the weights' digest and every parameter, JSON-able.
    """

    @property
    def name(self) -> str:
        """Short name, part of every label."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter and the weights' digest, JSON-able."""

    def features(self, images: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Compute feature maps ``(batch, channels, height, width)`` of several layers, of images in [0, 1]."""


class PerceptualDistance(nn.Module):
    """Mean over layers l of  1/(H_l W_l) Σ_hw ‖ŷ_hw − ŷ'_hw‖², with activations ŷ of unit length over the channels.

    LPIPS has learned weights of the channels besides and adds the layers up; here all channels weigh the same, and the mean over the
    layers makes the range [0, 4] whatever the trunk. So it is not LPIPS, and is called ``lpips_<trunk>``.

    Args:
        trunk: a module with ``name``, ``settings`` and ``features(images)``, for instance :class:`vqkit.nn.EfficientNetLite0`
            or :class:`vqkit.nn.VGG16`.

    Attributes:
        name: name of the trunk.

    Raises:
        TypeError: the trunk is no such module.

    Example:
        >>> from vqkit.nn import VGG16
        >>> distance, image = PerceptualDistance(VGG16()), torch.rand(2, 3, 32, 32)
        >>> distance(image, image)
        tensor([0., 0.])
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        lacking = [part for part in ("name", "settings", "features") if not hasattr(trunk, part)]
        if not isinstance(trunk, nn.Module) or lacking:
            raise TypeError(
                f"trunk must be an nn.Module with name, settings and features, got a {type(trunk).__name__}"
                + (f" without {', '.join(lacking)}" if lacking else "")
            )
        self.trunk = trunk

    @property
    def name(self) -> str:
        """The trunk's."""
        return cast(Trunk, self.trunk).name

    @property
    def settings(self) -> dict[str, Any]:
        """The trunk's."""
        return cast(Trunk, self.trunk).settings

    def forward(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Compare images; differentiable in both.

        Args:
            estimate: reconstructed images, about [0, 1], gray or RGB.
            reference: original images, of the same shape.

        Returns:
            One distance an image, float32.

        Raises:
            ValueError: the shapes differ, or the trunk refuses the images.
        """
        if estimate.shape != reference.shape:
            raise ValueError(
                f"estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} must have the same shape"
            )
        trunk = cast(Trunk, self.trunk)
        layers = zip(trunk.features(estimate), trunk.features(reference), strict=True)
        distances = [(_unit(one) - _unit(other)).square().sum(1).mean((1, 2)) for one, other in layers]
        return torch.stack(distances).mean(0)


def _unit(activations: Tensor) -> Tensor:
    # the floor is below the root: where all channels are 0, as after a ReLU, a norm has no gradient
    activations = activations.float()
    return activations * (activations.square().sum(1, keepdim=True) + _EPS).rsqrt()
