"""A ``VQModel`` of diffusers with a quantizer of ours that survives saving: the first stage of a latent diffusion pipeline.

`replace_quantizer` puts a quantizer into a model at hand; diffusers does not load it again. This class names it in its config.
"""

from typing import Any, Self

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.modeling_utils import ModelMixin

from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.image.vqgan_backbone import VQGANBackbone
from vqkit.models.peers.diffusers_quantizer import replace_quantizer
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import expression, from_expression

__all__ = [
    "ModelMixin",
    "QuantizedVQModel",
]  # a pipeline looks for the base class, which says how to load it, beside the class


class QuantizedVQModel(VQModel):
    """A VQModel whose quantizer is ours; ``save_pretrained`` and ``from_pretrained`` are those of diffusers.

    A pipeline that holds one, such as ``LDMPipeline``, is loaded by diffusers after ``from vqkit.models import QuantizedVQModel``: it
    imports no module by itself because a file names it.

    Args:
        in_channels: this and all others but the last are explained in ``VQModel``.
        out_channels: channels of the result.
        down_block_types: blocks of the encoder.
        up_block_types: blocks of the decoder.
        block_out_channels: widths of the levels.
        layers_per_block: layers of a level.
        act_fn: activation.
        latent_channels: channels beside the 1×1 convolutions.
        sample_size: side of the latents that a diffusion model makes.
        num_vq_embeddings: set to the size of the largest alphabet.
        norm_num_groups: groups of the norms.
        vq_embed_dim: length of the latent's vectors.
        scaling_factor: what latents are multiplied by before diffusion.
        norm_type: ``"group"``.
        mid_block_add_attention: attention at the lowest level.
        lookup_from_codebook: whether `decode` looks codes up in the codebook, as in ``VQModel``.
        force_upcast: whether half precision overflows in this model, as in ``VQModel``.
        quantizer: the expression of the quantizer, as `vqkit.quantize.pretrained.expression` makes it; None keeps diffusers' own.

    Raises:
        ValueError: the expression describes no quantizer, or one of another dim.

    References:
        LooC, section 4.3 (LooC in the place of the VQ of latent diffusion); Rombach et al., "High-resolution image synthesis with latent
        diffusion models" (2022), arXiv:2112.10752.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 3,
        sample_size: int = 32,
        num_vq_embeddings: int = 256,
        norm_num_groups: int = 32,
        vq_embed_dim: int | None = None,
        scaling_factor: float = 0.18215,
        norm_type: str = "group",
        mid_block_add_attention: bool = True,
        lookup_from_codebook: bool = False,
        force_upcast: bool = False,
        quantizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            latent_channels=latent_channels,
            sample_size=sample_size,
            num_vq_embeddings=num_vq_embeddings,
            norm_num_groups=norm_num_groups,
            vq_embed_dim=vq_embed_dim,
            scaling_factor=scaling_factor,
            norm_type=norm_type,
            mid_block_add_attention=mid_block_add_attention,
            lookup_from_codebook=lookup_from_codebook,
            force_upcast=force_upcast,
        )
        if quantizer is not None:
            replace_quantizer(self, from_expression(Quantizer, quantizer))

    @classmethod
    def from_tokenizer(cls, tokenizer: ImageTokenizer, scaling_factor: float = 1.0) -> Self:
        """A copy of an image tokenizer with a `VQGANBackbone`, quantizer included.

        Args:
            tokenizer: images go in and come out in [0, 1]; the model has them in [−1, 1].
            scaling_factor: explained there as well.

        Raises:
            TypeError: another backbone.
        """
        backbone = tokenizer.backbone
        if not isinstance(backbone, VQGANBackbone):
            raise TypeError(
                f"the tokenizer must have a VQGANBackbone, which is a VQModel's networks; got {type(backbone).__name__}"
            )
        plain = backbone.networks_config()
        model = cls(**plain, scaling_factor=scaling_factor, quantizer=expression(tokenizer.quantizer))
        model.encoder.load_state_dict(backbone.encoder.state_dict())
        model.quant_conv.load_state_dict(backbone.to_latent.state_dict())
        model.post_quant_conv.load_state_dict(backbone.from_latent.state_dict())
        model.decoder.load_state_dict(backbone.decoder.state_dict())
        own: torch.nn.Module = model.quantize.quantizer
        own.load_state_dict(tokenizer.quantizer.state_dict())
        return model.eval()
