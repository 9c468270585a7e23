"""The small VQ-VAE: strided convolutions, two residual blocks, and the mirror image.

    images ─ conv 4×4/2, ReLU (× downsamples) ─ conv 3×3 ─ residual blocks, ReLU ─ conv 1×1 ─ z
    images ─ conv 4×4/2ᵀ (× downsamples, ReLU between) ─ residual blocks, ReLU ─ conv 3×3 ─ z_q

References:
    van den Oord et al., "Neural discrete representation learning" (2017), arXiv:1711.00937, section 4.1; Zheng & Vedaldi, "Online
    clustered codebook" (2023), arXiv:2307.15139 (the layer list on small images); LooC, supplement, section 3.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.layout import channels_first
from vqkit.nn import scale_convolutions
from vqkit.ranks import mean_over_ranks
from vqkit.types import Float

__all__ = ["ConvBackbone"]


class ConvBackbone(ImageBackbone):
    """The encoder and decoder that VQ-VAE, CVQ and LooC compare quantizers with on small images.

    Args:
        dim: width of the latent: 64 in CVQ, 128 in LooC.
        channels: number of channels of the images, 1 or 3.
        width: channels of the networks.
        residual_width: channels within a residual block.
        residual_blocks: how many on either side.
        downsamples: strided convolutions; a latent vector stands for 2^downsamples pixels each way.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> backbone = ConvBackbone(dim=16, channels=1, width=32)
        >>> backbone.encode(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 7, 7, 16])
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        channels: int = 3,
        width: int = 128,
        residual_width: int = 32,
        residual_blocks: int = 2,
        downsamples: int = 2,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if min(dim, residual_width, downsamples) < 1 or downsamples > 16 or residual_blocks < 0 or width < 2:
            raise ValueError(
                "dim and residual_width must be at least 1, downsamples 1 … 16, width at least 2 and residual_blocks at least 0, "
                f"got {dim}, {residual_width}, {downsamples}, {width} and {residual_blocks}"
            )
        self.channels, self.dim, self.cell = channels, dim, 2**downsamples
        widths = [channels, width // 2, *[width] * (downsamples - 1)]
        down = [(nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()) for a, b in pairwise(widths)]
        up = [(nn.ReLU(), nn.ConvTranspose2d(b, a, 4, 2, 1)) for a, b in pairwise(widths)]
        residuals = [[_Residual(width, residual_width) for _ in range(residual_blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(
            *[layer for pair in down for layer in pair],
            nn.Conv2d(widths[-1], width, 3, padding=1),
            *residuals[0],
            nn.ReLU(),
            nn.Conv2d(width, dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, width, 3, padding=1),
            *residuals[1],
            *([nn.Conv2d(width, widths[-1], 1)] if width != widths[-1] else []),
            *[layer for pair in reversed(up) for layer in pair],
        )
        # cells that a latent sees beyond its own, and as many that a pixel sees: one for each 3×3, under one for all strided ones
        self.margin = self.cell * (residual_blocks + 2)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the last transposed convolution."""
        weight: nn.Parameter = self.decoder[-1].weight  # type: ignore[assignment]
        return weight

    @property
    def latent_layers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The last convolution of the encoder, and the first of the decoder."""
        return [self.encoder[-1]], [self.decoder[0]]

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / cell, width / cell, dim)."""
        latent: Tensor = self.encoder(2 * images - 1)
        return latent.permute(0, 2, 3, 1)

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        images: Tensor = self.decoder(channels_first(latent))
        return (images + 1) / 2

    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Scale every convolution so that its output on this batch has standard deviation one.

        Raises:
            ValueError: the batch is of one colour.
        """
        scale_convolutions(self, lambda: self.decode(self.encode(images)), mean_over_ranks)
        with torch.no_grad():  # an image, not noise of deviation one
            self.last_layer.mul_(0.5)


class _Residual(nn.Module):
    """``x + conv 1×1(ReLU(conv 3×3(ReLU(x))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.layers(x)
        return x + inner
