"""An image transform codec with networks beside it: quick to train and to run, for images of any size.

    images ─┬─ blocks of 8×8 pixels ─ ConvNeXt blocks ─ halved ─ ConvNeXt blocks ─┐
            └─ linear map of overlapping blocks ──────────────────────────────────┴─ z

    z_q ─┬─ ConvNeXt blocks ─ doubled ─ ConvNeXt blocks ─ blocks of 8×8 pixels ─┐
         └─ linear map to overlapping blocks ───────────────────────────────────┴─ images

The linear way through starts as the principal components of blocks of pixels: a transform codec, good from the first step on. The networks
do what it cannot. All layers work at an eighth or a sixteenth of the resolution.

References:
    Liu et al., "A ConvNet for the 2020s" (2022), arXiv:2201.03545 (the blocks); Jain, "Fundamentals of digital image processing" (1989),
    section 5.11 (principal components of blocks).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.layout import channels_first
from vqkit.nn.convnext2d import ConvNeXtBlock2d
from vqkit.types import Float

__all__ = ["TransformBackbone"]

_BLOCK = 8  # pixels that the networks take in and give out at once
_CELL = 16
_NETWORK_SHARE = 0.1  # of the output of either half, at the start


class TransformBackbone(ImageBackbone):
    """Backbone with one latent vector for every 16×16 pixels.

    Args:
        dim: width of the latent.
        channels: number of channels of the images, 1 or 3.
        width: channels of the blocks at a sixteenth of the resolution; half of it at an eighth.
        encoder_blocks: blocks at an eighth, and at a sixteenth.
        decoder_blocks: blocks at a sixteenth, and at an eighth.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> backbone = TransformBackbone(dim=16, width=32)
        >>> backbone.encode(torch.rand(2, 3, 64, 48)).shape
        torch.Size([2, 4, 3, 16])
    """

    def __init__(
        self,
        dim: int = 80,
        *,
        channels: int = 3,
        width: int = 192,
        encoder_blocks: tuple[int, int] = (2, 3),
        decoder_blocks: tuple[int, int] = (5, 3),
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if dim < 1 or dim > channels * _CELL**2 or width < 2 or width % 2 or min(*encoder_blocks, *decoder_blocks) < 0:
            raise ValueError(
                f"dim must be in 1 … {channels * _CELL**2}, width even and at least 2, and blocks at least 0, got "
                f"{dim}, {width}, {tuple(encoder_blocks)} and {tuple(decoder_blocks)}"
            )
        self.channels, self.dim, self.cell = channels, dim, _CELL
        half, pixels = width // 2, channels * _BLOCK**2
        self.analysis = nn.Conv2d(channels, dim, 2 * _CELL, _CELL, _CELL // 2)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(_BLOCK),
            nn.Conv2d(pixels, half, 1),
            *[ConvNeXtBlock2d(half) for _ in range(encoder_blocks[0])],
            nn.Conv2d(half, width, 2, 2),
            *[ConvNeXtBlock2d(width) for _ in range(encoder_blocks[1])],
            nn.Conv2d(width, dim, 1),
        )
        self.synthesis = nn.ConvTranspose2d(dim, channels, 2 * _CELL, _CELL, _CELL // 2)
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, width, 1),
            *[ConvNeXtBlock2d(width) for _ in range(decoder_blocks[0])],
            nn.Conv2d(width, 4 * half, 1),
            nn.PixelShuffle(2),
            *[ConvNeXtBlock2d(half) for _ in range(decoder_blocks[1])],
            nn.Conv2d(half, pixels, 1),
            nn.PixelShuffle(_BLOCK),
        )
        reach = ConvNeXtBlock2d(1).reach
        halves = max(encoder_blocks[0], decoder_blocks[1]) * reach
        cells = -(-halves // 2) + max(encoder_blocks[1], decoder_blocks[0]) * reach
        self.margin = _CELL * max(1, cells)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the linear map to pixels."""
        weight: nn.Parameter = self.synthesis.weight  # type: ignore[assignment]
        return weight

    @property
    def latent_layers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The layers of the linear way and of the networks."""
        return [self.analysis, self.encoder[-1]], [self.synthesis, self.decoder[0]]

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / 16, width / 16, dim)."""
        images = 2 * images - 1
        wider = functional.pad(images, (_CELL // 2,) * 4, mode="replicate")
        latent: Tensor = functional.conv2d(wider, self.analysis.weight, self.analysis.bias, _CELL)
        return (latent + self.encoder(images)).permute(0, 2, 3, 1)

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        z = channels_first(latent)
        wider = functional.pad(z, (1, 1, 1, 1), mode="replicate")
        linear = self.synthesis(wider)[..., _CELL:-_CELL, _CELL:-_CELL]
        images: Tensor = linear + self.decoder(z)
        return (images + 1) / 2

    @torch.no_grad()
    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Make the linear way the principal components of the batch's blocks, and the networks small beside it.

        Raises:
            ValueError: the batch is of one colour.
        """
        blocks = functional.unfold(2 * images - 1, _CELL, stride=_CELL).transpose(1, 2).flatten(end_dim=1)
        mean = blocks.mean(dim=0)
        values, components = torch.linalg.eigh(torch.cov((blocks - mean).T.double()))
        if not values[-1] > 1e-8:
            raise ValueError("cannot fit principal components to this batch: it is of one colour")
        chosen = components.flip(1)[:, : self.dim].T.to(blocks)
        scale = values.flip(0)[: self.dim].clamp_min(0).mean().sqrt().to(blocks)  # latents then have a variance of one
        middle = slice(_CELL // 2, _CELL // 2 + _CELL)
        shape = (self.dim, self.channels, _CELL, _CELL)
        for layer, maps in ((self.analysis, chosen / scale), (self.synthesis, chosen * scale)):
            layer.weight.zero_()
            layer.weight[:, :, middle, middle] = maps.view(shape)
        assert self.analysis.bias is not None
        assert self.synthesis.bias is not None
        self.analysis.bias.copy_(-(chosen @ mean) / scale)
        self.synthesis.bias.copy_(mean.view(self.channels, -1).mean(dim=1))
        for last in (self.encoder[-1], self.decoder[-2]):
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            last.weight.mul_(_NETWORK_SHARE)
            last.bias.zero_()
