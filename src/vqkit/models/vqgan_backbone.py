"""The taming-style VQGAN's encoder and decoder, from diffusers, around any of our quantizers.

References:
    Esser et al., "Taming transformers" (2021), arXiv:2012.09841, table 7; Rombach et al., "Latent diffusion" (2022), arXiv:2112.10752,
    appendix E.1 (the family of VQ-f models).
"""

from collections.abc import Sequence

from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from vqkit.models.image_backbone import ImageBackbone
from vqkit.types import Float

__all__ = ["VQGANBackbone"]


class VQGANBackbone(ImageBackbone):
    """Residual blocks with group norms, halved as often as there are widths less one, and attention in the middle.

    Attention sees the whole image: images of any size are taken, but a large one cannot be cut into tiles that join without seams.

    Args:
        dim: of the latent (taming: 256).
        channels: of the images, 1 or 3.
        widths: channels at each scale; taming's f16 has 128, 128, 256, 256, 512.
        blocks: residual blocks a scale.
        latent_channels: channels between the networks and the 1×1 convolutions beside the quantizer; dim by default.
        norm_groups: of the group norms; divides every width.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> backbone = VQGANBackbone(dim=16, widths=(32, 64))
        >>> backbone.encode(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 16, 24, 16])
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        channels: int = 3,
        widths: Sequence[int] = (128, 128, 256, 256, 512),
        blocks: int = 2,
        latent_channels: int | None = None,
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if not widths or min(dim, blocks, norm_groups) < 1 or any(w < 1 or w % norm_groups for w in widths):
            raise ValueError(
                f"dim, blocks and norm_groups must be at least 1, and widths multiples of norm_groups, got "
                f"{dim}, {blocks}, {norm_groups} and {list(widths)}"
            )
        model = VQModel(
            in_channels=channels,
            out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            latent_channels=latent_channels or dim,
            vq_embed_dim=dim,
            num_vq_embeddings=1,
            norm_num_groups=norm_groups,
        )
        self.channels, self.dim, self.cell = channels, dim, 2 ** (len(widths) - 1)
        self.encoder, self.to_latent = model.encoder, model.quant_conv
        self.from_latent, self.decoder = model.post_quant_conv, model.decoder

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last convolution."""
        weight: nn.Parameter = self.decoder.conv_out.weight
        return weight

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / cell, width / cell, dim)."""
        latent: Tensor = self.to_latent(self.encoder(2 * images - 1))
        return latent.permute(0, 2, 3, 1)

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        images: Tensor = self.decoder(self.from_latent(latent.permute(0, 3, 1, 2).contiguous()))
        return (images + 1) / 2

    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Nothing: its norms keep every layer at unit scale."""
