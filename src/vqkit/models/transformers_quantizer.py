"""A quantizer of ours inside a model of transformers, whose own methods go on working."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import DacModel, EncodecModel

from vqkit.models.rates import stage_rates_kbps, stages_within
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["replace_quantizer"]

Model = TypeVar("Model", EncodecModel, DacModel)


def replace_quantizer(model: Model, quantizer: Quantizer) -> Model:
    """Put a quantizer into an EnCodec or DAC model, in place.

    ``encode``, ``decode`` and the call keep their arguments and shapes. EnCodec's bandwidths become those of the quantizer's stages:
    ``config.target_bandwidths``, of which transformers takes the first by default. In DAC ``n_quantizers`` counts stages, ``loss`` is
    the quantizer's, and ``projected_latents`` are the latents themselves. transformers cannot load such a model after
    ``save_pretrained``: keep the quantizer beside it, or use `AudioCodec.from_encodec` and `DacCodec.from_dac`.

    Args:
        model: of ``transformers``.
        quantizer: its ``dim`` is the model's ``config.hidden_size``.

    Returns:
        The same model.

    Raises:
        TypeError: another model.
        ValueError: the quantizer has another dim.

    Example:
        >>> from transformers import EncodecConfig
        >>> from vqkit import RVQ
        >>> model = EncodecModel(EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16, upsampling_ratios=[5, 4])).eval()
        >>> model = replace_quantizer(model, RVQ(dim=16, codebook_size=64, num_quantizers=4).eval())
        >>> model.config.target_bandwidths
        [7.2, 14.4, 21.6, 28.8]
        >>> model.encode(torch.randn(2, 1, 2000), bandwidth=14.4).audio_codes.shape  # chunks, batch, codes, frames
        torch.Size([1, 2, 2, 100])
    """
    if not isinstance(model, (EncodecModel, DacModel)):
        raise TypeError(f"model must be a transformers EncodecModel or DacModel, got {type(model).__name__}")
    config: Any = model.config
    if quantizer.dim != config.hidden_size:
        raise ValueError(f"the latents of this model have dim {config.hidden_size}, the quantizer has {quantizer.dim}")
    device = next(model.parameters()).device
    adapter: nn.Module
    if isinstance(model, EncodecModel):
        rates = stage_rates_kbps(quantizer, config.sampling_rate / config.hop_length)
        config.target_bandwidths = list(rates)
        adapter = EncodecAdapter(quantizer, rates)
    else:
        config.commitment_loss_weight = config.codebook_loss_weight = 1.0  # our losses are weighted already
        adapter = DacAdapter(quantizer)
    model.add_module("quantizer", adapter.to(device).train(model.training))
    return model


class EncodecAdapter(nn.Module):
    """What ``EncodecModel`` asks of its quantizer."""

    def __init__(self, quantizer: Quantizer, rates_kbps: tuple[float, ...]) -> None:
        super().__init__()
        self.quantizer, self.rates_kbps = quantizer, rates_kbps

    def encode(
        self, embeddings: Float[Tensor, "batch dim frames"], bandwidth: float | None = None
    ) -> Int[Tensor, "num_codes batch frames"]:
        """Codes of as many stages as fit into so many kbit/s."""
        stages = stages_within(self.rates_kbps, bandwidth) if bandwidth else None
        codes = self.quantizer.encode(embeddings.transpose(1, 2))
        return codes[..., : sum(self.quantizer.codes_per_stage[:stages])].permute(2, 0, 1)

    def decode(self, codes: Int[Tensor, "num_codes batch frames"]) -> Float[Tensor, "batch dim frames"]:
        """Latents of the codes of all stages or the first ones."""
        return self.quantizer.decode(codes.permute(1, 2, 0)).transpose(1, 2)


class DacAdapter(nn.Module):
    """What ``DacModel`` asks of its quantizer."""

    quantizers: tuple[nn.Module, ...] = ()  # DacModel.apply_weight_norm walks through them

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(
        self, hidden_state: Float[Tensor, "batch dim frames"], n_quantizers: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Quantized latents, codes (batch, num_codes, frames), latents, the quantizer's loss, and zero.

        Fewer stages than all are for evaluation, as in DAC's own quantizer; in training a quantizer's ``stage_dropout`` leaves some out.
        """
        z = hidden_state.transpose(1, 2)
        out = self.quantizer(z)
        z_q, codes = out.z_q, out.codes
        if n_quantizers is not None and not self.training:
            if n_quantizers < 1:
                raise ValueError(f"n_quantizers must be at least 1, got {n_quantizers}")
            codes = codes[..., : sum(self.quantizer.codes_per_stage[:n_quantizers])]
            z_q = z + (self.quantizer.decode(codes).to(z.dtype) - z).detach()
        return z_q.transpose(1, 2), codes.transpose(1, 2), hidden_state, out.loss, torch.zeros_like(out.loss)

    def from_codes(self, audio_codes: Int[Tensor, "batch num_codes frames"]) -> tuple[Tensor, Tensor, Tensor]:
        """Quantized latents, twice, and the codes."""
        z_q = self.quantizer.decode(audio_codes.transpose(1, 2)).transpose(1, 2)
        return z_q, z_q, audio_codes

    def from_latents(self, latents: Float[Tensor, "batch dim frames"]) -> tuple[Tensor, Tensor]:
        """Quantized latents, twice."""
        z_q = self.quantizer(latents.transpose(1, 2)).z_q.transpose(1, 2)
        return z_q, z_q
