"""A quantizer of ours inside a ``VQModel`` of diffusers, whose own methods go on working."""

import copy
from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.vae import VectorQuantizer
from diffusers.models.autoencoders.vq_model import VQModel
from torch import Tensor, nn

from vqkit.models.peers.quantizer_adapter import QuantizerAdapter
from vqkit.quantize import VQ, Quantizer
from vqkit.types import Float, Int

__all__ = ["quantizer_of", "replace_quantizer", "restore_quantizer"]


def replace_quantizer(model: VQModel, quantizer: Quantizer) -> VQModel:
    """Put a quantizer into a VQModel, in place.

    ``encode``, ``decode``, the call, ``force_not_quantize`` and ``lookup_from_codebook`` keep their arguments and shapes.
    ``model.quantize(h)`` gives, as before, the quantized latent, the loss (ours, with its weights) and (None, None, indices). Indices are
    flat, (batch · height · width), and with a quantizer of several codes (batch · height · width, num_codes);
    ``model.quantize.get_codebook_entry(indices, shape)`` takes them, also in any other shape of as many numbers, and the codes of the
    first stages only. ``config.num_vq_embeddings`` becomes the size of the largest alphabet. The model's own quantizer is kept for
    `restore_quantizer`, outside of the model's parameters and of what it saves.
    diffusers does not load our quantizer after ``save_pretrained``, but warns and makes a new one: keep the quantizer beside the model, or
    use `ImageTokenizer.from_diffusers`.

    Args:
        model: model of diffusers.
        quantizer: its ``dim`` is the model's ``config.vq_embed_dim``; it moves to the model's device, and keeps its dtype.

    Returns:
        The same model.

    Raises:
        TypeError: another model.
        ValueError: the quantizer has another dim.

    Example:
        >>> from vqkit import RVQ
        >>> model = VQModel(block_out_channels=(32,), latent_channels=4).eval()
        >>> model = replace_quantizer(model, RVQ(dim=4, codebook_size=16, num_quantizers=3))
        >>> quantized, loss, (_, _, indices) = model.quantize(model.encode(torch.randn(2, 3, 8, 8)).latents)
        >>> indices.shape, model.quantize.get_codebook_entry(indices, (2, 8, 8, 4)).shape
        (torch.Size([128, 3]), torch.Size([2, 4, 8, 8]))
    """
    own: nn.Module = _checked(model).quantize
    dim = model.quant_conv.out_channels
    if quantizer.dim != dim:
        raise ValueError(f"the latents of this model have dim {dim}, the quantizer has {quantizer.dim}")
    before = {"num_vq_embeddings": model.config["num_vq_embeddings"]}
    model.add_module("quantize", VQAdapter(quantizer, own, before, model.quant_conv.weight).train(model.training))
    model.register_to_config(num_vq_embeddings=max(quantizer.code_sizes))
    return model


def restore_quantizer(model: VQModel) -> VQModel:
    """Give a VQModel its own quantizer back, in place; one that has it already stays as it is.

    Args:
        model: after `replace_quantizer`, or any other.

    Returns:
        The same model, with the same module in it that was there before, whose weights have not changed since, and its config.

    Raises:
        TypeError: another model.

    Example:
        >>> from vqkit import FSQ
        >>> model = VQModel(block_out_channels=(32,), latent_channels=4)
        >>> own = model.quantize
        >>> restore_quantizer(replace_quantizer(model, FSQ(dim=4, levels=(8, 5, 5, 5)))).quantize is own
        True
    """
    adapter: nn.Module = _checked(model).quantize
    if isinstance(adapter, VQAdapter):
        model.add_module("quantize", adapter.restored(model.quant_conv.weight).train(model.training))
        model.register_to_config(**adapter.before)
    return model


def quantizer_of(model: VQModel) -> Quantizer:
    """A copy of a VQModel's quantizer as ours: a `VQ` with its codebook and weights of the loss, or what `replace_quantizer` put in.

    Args:
        model: model of diffusers.

    Returns:
        The quantizer, in float32 if it is the model's own.

    Raises:
        TypeError: another model, or its quantizer is neither its own nor ours.

    Example:
        >>> quantizer_of(VQModel(block_out_channels=(32,), latent_channels=4, num_vq_embeddings=64))
        VQ(
          dim=4, bits_per_vector=6, codebook_numel=256
          (codebook): Codebook()
        )
    """
    own: nn.Module = _checked(model).quantize
    if isinstance(own, VQAdapter):
        return copy.deepcopy(own.quantizer)
    if not isinstance(own, VectorQuantizer):
        raise TypeError(
            f"the model's quantizer must be a VectorQuantizer of diffusers or ours, got {type(own).__name__}"
        )
    # diffusers has the weight β at the codebook's pull by default, "legacy", and not at the commitment
    weights = (1.0, own.beta) if own.legacy else (own.beta, 1.0)
    quantizer = VQ.paper(own.vq_embed_dim, own.n_e, commitment_weight=weights[0], codebook_weight=weights[1])
    with torch.no_grad():
        quantizer.codebook.weight.copy_(own.embedding.weight)
    return quantizer.to(own.embedding.weight.device)


def _checked(model: VQModel) -> VQModel:
    if not isinstance(model, VQModel):
        raise TypeError(f"model must be a diffusers VQModel, got {type(model).__name__}")
    return model


class VQAdapter(QuantizerAdapter):
    """Quantizer with the interface that ``VQModel`` calls."""

    def forward(
        self, z: Float[Tensor, "batch dim height width"]
    ) -> tuple[
        Float[Tensor, "batch dim height width"], Float[Tensor, ""], tuple[None, None, Int[Tensor, "places *codes"]]
    ]:
        """Quantized latents, the loss, and (None, None, indices)."""
        out = self.quantizer(z.permute(0, 2, 3, 1).contiguous())
        sane = getattr(self.original, "sane_index_shape", False)
        indices = out.codes if sane else out.codes.flatten(0, 2)
        if self.quantizer.num_codes == 1:
            indices = indices[..., 0]
        return out.z_q.permute(0, 3, 1, 2).contiguous(), out.loss, (None, None, indices)

    def get_codebook_entry(
        self, indices: Int[Tensor, "*places"], shape: Sequence[int] | None
    ) -> Float[Tensor, "batch dim height width"] | Float[Tensor, "*places dim"]:
        """Quantized latents of indices.

        Args:
            indices: indices as `forward` gives them.
            shape: (batch, height, width, dim) of the result, which then comes as (batch, dim, height, width); None keeps the shape of the
                indices, with dim in place of the codes.

        Raises:
            TypeError: indices are not integers.
            ValueError: an index out of range, or a shape that does not fit.
        """
        if shape is None:
            codes = indices[..., None] if self.quantizer.num_codes == 1 else indices
            return self.quantizer.decode(codes).to(self.latent.dtype)
        places = torch.Size(shape[:-1]).numel()
        if len(shape) != 4 or shape[-1] != self.quantizer.dim or places < 1 or indices.numel() % places:
            raise ValueError(
                f"shape must be (batch, height, width, {self.quantizer.dim}) of the {indices.numel()} indices, got {tuple(shape)}"
            )
        return (
            self.quantizer.decode(indices.reshape(*shape[:-1], -1))
            .to(self.latent.dtype)
            .permute(0, 3, 1, 2)
            .contiguous()
        )
