"""A vision transformer that puts an image into a short row of tokens, after TiTok.

    patches + latent tokens ─ transformer ─ the latent tokens ─ linear ─ z
    z_q ─ linear ─ with mask tokens, one a patch ─ transformer ─ the patches ─ linear ─ pixels

References:
    Yu et al., "An image is worth 32 tokens for reconstruction and generation" (2024), arXiv:2406.07550, figure 3; IVQ, section 4.4
    (patches of 16 pixels, 64 tokens, 12 layers of width 768).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.image.backbone import ImageBackbone
from vqkit.types import Float

__all__ = ["ViTBackbone"]


class ViTBackbone(ImageBackbone):
    """Images of one size to a row of tokens, each of which may see the whole image.

    Args:
        dim: width of the latent.
        image_size: height and width of the images.
        patch: side of a patch in pixels; divides image_size.
        tokens: number of tokens in the row.
        width: width of the transformers.
        depth: layers of each.
        heads: number of heads of the attention; divides width.
        channels: number of channels of the images, 1 or 3.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> backbone = ViTBackbone(dim=12, image_size=32, patch=8, tokens=8, width=32, depth=2, heads=4)
        >>> latent = backbone.encode(torch.rand(2, 3, 32, 32))
        >>> latent.shape, backbone.decode(latent).shape
        (torch.Size([2, 8, 12]), torch.Size([2, 3, 32, 32]))
    """

    def __init__(
        self,
        dim: int = 120,
        *,
        image_size: int = 256,
        patch: int = 16,
        tokens: int = 64,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if min(dim, image_size, patch, tokens, width, depth, heads) < 1:
            raise ValueError(
                "dim, image_size, patch, tokens, width, depth and heads must be at least 1, got "
                f"{dim}, {image_size}, {patch}, {tokens}, {width}, {depth} and {heads}"
            )
        if image_size % patch or width % heads:
            raise ValueError(
                f"patch must divide image_size and heads must divide width, got {patch} of {image_size} and {heads} of {width}"
            )
        self.channels, self.dim, self.tokens = channels, dim, tokens
        self.cell, self.image_size = image_size, (image_size, image_size)
        self.patch, patches = patch, (image_size // patch) ** 2
        pixels = channels * patch**2
        self.enter = nn.Linear(pixels, width)
        self.places = nn.Parameter(0.02 * torch.randn(patches, width))
        self.asked = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.encoder = _transformer(width, depth, heads)
        self.to_latent = nn.Linear(width, dim)
        self.from_latent = nn.Linear(dim, width)
        self.token_places = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.masked = nn.Parameter(0.02 * torch.randn(patches, width))
        self.decoder = _transformer(width, depth, heads)
        self.leave = nn.Linear(width, pixels)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the map from tokens to pixels."""
        weight: nn.Parameter = self.leave.weight  # type: ignore[assignment]
        return weight

    def grid(self, height: int, width: int) -> tuple[int, ...]:
        """Return the grid of codes: one row of tokens, since images have one size."""
        return (self.tokens,)

    @property
    def latent_layers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The linear layers beside the quantizer."""
        return [self.to_latent], [self.from_latent]

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens dim"]:
        """Latents of the tokens."""
        patches = functional.unfold(2 * images - 1, self.patch, stride=self.patch).transpose(1, 2)
        tokens = torch.cat([self.enter(patches) + self.places, self.asked.expand(len(images), -1, -1)], dim=1)
        latent: Tensor = self.to_latent(self.encoder(tokens)[:, -self.tokens :])
        return latent

    def decode(self, latent: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        known = self.from_latent(latent) + self.token_places
        tokens = torch.cat([self.masked.expand(len(latent), -1, -1), known], dim=1)
        patches: Tensor = self.leave(self.decoder(tokens)[:, : -self.tokens])
        assert self.image_size is not None
        images = functional.fold(patches.transpose(1, 2), self.image_size, self.patch, stride=self.patch)
        return (images + 1) / 2

    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Do nothing: the network's norms keep every layer at unit scale."""


def _transformer(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
