"""The two networks of an image tokenizer, as one part that can be saved: images → latents, and latents → images."""

from abc import ABC, abstractmethod
from typing import Any, Self

from torch import Tensor, nn

from vqkit.models.classes import class_named
from vqkit.nn.turned_layers import check_rotation, turn_inputs, turn_outputs
from vqkit.quantize import pretrained
from vqkit.types import Float

__all__ = ["ImageBackbone", "read_backbone"]


class ImageBackbone(nn.Module, ABC):
    """Encoder and decoder around a quantizer. A subclass sets the attributes and implements the four abstract members.

    Arguments of a subclass's constructor are JSON: they go into the model's ``config.json``.

    Attributes:
        channels: number of channels of the images, 1 or 3.
        dim: length of the latent's vectors.
        cell: pixels a latent vector stands for, each way.
        image_size: (height, width) of the only images it takes; None where it takes any whose sides are multiples of ``cell``.
        margin: pixels around a tile that its latents depend on, or around a tile of latents that its pixels depend on, whichever are more;
            a multiple of ``cell``. None where they depend on the whole image.
    """

    channels: int
    dim: int
    cell: int
    image_size: tuple[int, int] | None = None
    margin: int | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the constructor's arguments, which ``save_pretrained`` writes."""
        self = super().__new__(cls)
        self.__dict__["_arguments"] = pretrained.bound_arguments(cls, args, kwargs)
        return self

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last layer, where the adaptive adversarial weight compares gradients."""

    @property
    def latent_layers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Linear layers and convolutions whose sum is the latent, and all that take it; none where something else gives or takes it."""
        return [], []

    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: without quantizer the images stay the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, not orthonormal, or there are no `latent_layers`.
        """
        check_rotation(rotation, self.dim)
        before, after = self.latent_layers
        if not before or not after:
            raise ValueError(f"the latent of a {type(self).__name__} cannot be rotated")
        for layer in before:
            turn_outputs(layer, rotation)
        for layer in after:
            turn_inputs(layer, rotation)

    def grid(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the latent of an image whose sides are multiples of `cell`, without batch and dim."""
        return (height // self.cell, width // self.cell)

    @abstractmethod
    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *grid dim"]:
        """Latents of images in [0, 1]."""

    @abstractmethod
    def decode(self, latent: Float[Tensor, "batch *grid dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images of latents, about in [0, 1]; not clamped, so that a pixel beyond it has a gradient."""

    @abstractmethod
    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Fit what can be fitted to a first training batch without gradients."""


def read_backbone(config: Any) -> Any:
    """The backbone that a ``config.json`` describes.

    Raises:
        ValueError: an unknown class, or arguments that it refuses.
    """
    if isinstance(config, dict):
        class_named(str(config.get("class")), ImageBackbone)  # type: ignore[type-abstract]  # imports it
    return pretrained.from_expression(ImageBackbone, config)
