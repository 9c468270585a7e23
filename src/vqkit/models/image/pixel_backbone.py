"""No networks and no transform: the latent of a block is its pixels."""

import torch
from torch import Tensor, nn

from vqkit.models.image.backbone import ImageBackbone
from vqkit.types import Float

__all__ = ["PixelBackbone"]


class PixelBackbone(ImageBackbone):
    """Backbone with one latent vector for every cell × cell pixels: their values less ½, row by row, the channels of a pixel together.

    For quantizers that take blocks as they are, such as `vqkit.BlockTruncation`.

    Args:
        cell: pixels of a block, each way.
        channels: number of channels of the images, 1 or 3.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> backbone, image = PixelBackbone(cell=4), torch.rand(1, 3, 8, 12)
        >>> z = backbone.encode(image)
        >>> z.shape, torch.allclose(backbone.decode(z), image)
        (torch.Size([1, 2, 3, 48]), True)
    """

    margin = 0

    def __init__(self, cell: int = 8, *, channels: int = 3) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if not 1 <= cell <= 64:
            raise ValueError(f"cell must be in 1 … 64, got {cell}")
        self.cell, self.channels, self.dim = cell, channels, cell * cell * channels
        self.middle: Tensor
        self.register_buffer("middle", torch.empty(channels))  # the value of each channel whose latent is 0
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does."""
        self.middle.fill_(0.5)

    @property
    def last_layer(self) -> nn.Parameter:
        """None: nothing is learned.

        Raises:
            ValueError: always.
        """
        raise ValueError("a PixelBackbone has no layer that learns")

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / cell, width / cell, dim)."""
        blocks = images.unflatten(3, (-1, self.cell)).unflatten(2, (-1, self.cell))
        return (blocks.permute(0, 2, 4, 3, 5, 1) - self.middle).flatten(3)

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        blocks = latent.unflatten(3, (self.cell, self.cell, self.channels)) + self.middle
        return blocks.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    @torch.no_grad()
    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Nothing to fit."""
