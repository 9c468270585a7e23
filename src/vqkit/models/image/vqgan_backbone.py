"""The taming-style VQGAN's encoder and decoder, from diffusers, around any of our quantizers.

References:
    Esser et al., "Taming transformers" (2021), arXiv:2012.09841, table 7; Rombach et al., "Latent diffusion" (2022), arXiv:2112.10752,
    appendix E.1 (the family of VQ-f models).
"""

from collections.abc import Sequence
from typing import Any, Self

from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.layout import channels_first
from vqkit.types import Float

__all__ = ["VQGANBackbone"]

_ACTIVATIONS = ("silu", "swish", "mish", "gelu", "relu")
_DOWN = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
_UP = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")


class VQGANBackbone(ImageBackbone):
    """Residual blocks with group norms, downsampled by 2 between widths, with attention in the middle and at chosen scales.

    Attention sees the whole image: images of any size are taken, but a large one cannot be cut into tiles that join without seams.

    Args:
        dim: width of the latent (taming: 256).
        channels: number of channels of the images, 1 or 3.
        widths: channels at each scale; taming's f16 has 128, 128, 256, 256, 512.
        blocks: residual blocks a scale.
        latent_channels: channels between the networks and the 1×1 convolutions beside the quantizer; dim by default.
        norm_groups: number of groups of the group norms; divides every width.
        attention_scales: scales with attention after every residual block, 0 being the full size; taming's f16 has it at 4.
        middle_attention: attention between the two residual blocks of the middle.
        activation: "silu" (or "swish"), "mish", "gelu" or "relu".

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
        attention_scales: Sequence[int] = (),
        middle_attention: bool = True,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if not widths or min(dim, blocks, norm_groups) < 1 or any(w < 1 or w % norm_groups for w in widths):
            raise ValueError(
                f"dim, blocks and norm_groups must be at least 1, and widths multiples of norm_groups, got "
                f"{dim}, {blocks}, {norm_groups} and {list(widths)}"
            )
        if not set(attention_scales) <= set(range(len(widths))):
            raise ValueError(f"attention_scales must be within 0 … {len(widths) - 1}, got {list(attention_scales)}")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, allowed are {', '.join(_ACTIVATIONS)}")
        attends = [scale in attention_scales for scale in range(len(widths))]
        self._networks: dict[str, Any] = {
            "in_channels": channels,
            "out_channels": channels,
            "down_block_types": tuple(_DOWN[attention] for attention in attends),
            "up_block_types": tuple(_UP[attention] for attention in reversed(attends)),
            "block_out_channels": tuple(widths),
            "layers_per_block": blocks,
            "latent_channels": latent_channels or dim,
            "vq_embed_dim": dim,
            "num_vq_embeddings": 1,
            "norm_num_groups": norm_groups,
            "act_fn": activation,
            "mid_block_add_attention": middle_attention,
        }
        model = VQModel(**self._networks)
        self.channels, self.dim, self.cell = channels, dim, 2 ** (len(widths) - 1)
        self.encoder, self.to_latent = model.encoder, model.quant_conv
        self.from_latent, self.decoder = model.post_quant_conv, model.decoder

    @classmethod
    def from_diffusers(cls, model: VQModel) -> Self:
        """A copy of the networks of a VQModel, in float32; its quantizer does not matter.

        Args:
            model: model of diffusers. The backbone takes images in [0, 1], the model in [−1, 1].

        Returns:
            The backbone, on the model's device.

        Raises:
            TypeError: another model.
            ValueError: the model has blocks, norms or channels for which this backbone has no argument.

        Example:
            >>> VQGANBackbone.from_diffusers(VQModel(block_out_channels=(32,), latent_channels=4)).dim
            4
        """
        if not isinstance(model, VQModel):
            raise TypeError(f"model must be a diffusers VQModel, got {type(model).__name__}")
        config: Any = model.config
        widths, down, up = (list(config[key]) for key in ("block_out_channels", "down_block_types", "up_block_types"))
        mirrored = [_UP[_DOWN.index(kind)] if kind in _DOWN else "" for kind in reversed(down)]
        allowed = {
            "down_block_types": (len(down) == len(widths) and "" not in mirrored, " or ".join(_DOWN)),
            "up_block_types": (up == mirrored, "those that mirror down_block_types"),
            "norm_type": (config.norm_type == "group", "group"),
            "in_channels": (config.in_channels in (1, 3), "1 or 3"),
            "out_channels": (config.out_channels == config.in_channels, "as many as in_channels"),
        }
        for key, (fits, words) in allowed.items():
            if not fits:
                raise ValueError(f"a VQGANBackbone cannot hold a model with {key} {config[key]!r}, allowed: {words}")
        backbone = cls(
            model.quant_conv.out_channels,
            channels=config.in_channels,
            widths=widths,
            blocks=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_groups=config.norm_num_groups,
            attention_scales=[scale for scale, kind in enumerate(down) if kind == _DOWN[True]],
            middle_attention=config.mid_block_add_attention,
            activation=config.act_fn.lower(),
        )
        backbone.encoder.load_state_dict(model.encoder.state_dict())
        backbone.to_latent.load_state_dict(model.quant_conv.state_dict())
        backbone.from_latent.load_state_dict(model.post_quant_conv.state_dict())
        backbone.decoder.load_state_dict(model.decoder.state_dict())
        return backbone.to(model.quant_conv.weight.device)

    def networks_config(self) -> dict[str, Any]:
        """Arguments of the ``VQModel`` whose networks these are."""
        return dict(self._networks)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last convolution."""
        weight: nn.Parameter = self.decoder.conv_out.weight
        return weight

    @property
    def latent_layers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The 1×1 convolutions beside the quantizer."""
        return [self.to_latent], [self.from_latent]

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / cell, width / cell, dim)."""
        latent: Tensor = self.to_latent(self.encoder(2 * images - 1))
        return latent.permute(0, 2, 3, 1)

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        images: Tensor = self.decoder(self.from_latent(channels_first(latent)))
        return (images + 1) / 2

    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Do nothing: the network's norms keep every layer at unit scale."""
