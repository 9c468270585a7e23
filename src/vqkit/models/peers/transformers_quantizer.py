"""A quantizer of ours inside a model of transformers, whose own methods go on working."""

import copy
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import DacModel, EncodecConfig, EncodecModel

from vqkit.counts import check_numbers
from vqkit.models.audio.rates import stage_rates_kbps
from vqkit.models.peers.quantizer_adapter import QuantizerAdapter
from vqkit.quantize import Quantizer
from vqkit.stages import stages_within
from vqkit.types import Float, Int

__all__ = ["replace_quantizer", "restore_quantizer"]

Model = TypeVar("Model", EncodecModel, DacModel)


def replace_quantizer(model: Model, quantizer: Quantizer) -> Model:
    """Put a quantizer into an EnCodec or DAC model, in place.

    ``encode``, ``decode`` and the call keep their arguments and shapes. EnCodec's bandwidths become those of the quantizer's stages:
    ``config.target_bandwidths``, of which transformers takes the first by default. In DAC ``n_quantizers`` counts stages, ``loss`` is
    the quantizer's, and ``projected_latents`` are the latents themselves.

    The model gets a config of its own that says what is now true: ``codebook_size`` (of the largest alphabet), ``codebook_dim`` (length of
    the vectors that codes decode to) and ``num_quantizers`` or ``n_codebooks`` (codes a frame). `restore_quantizer` undoes all of it.

    EnCodec's call hands on codes alone, so that no gradient reaches the encoder, whichever quantizer is in it: to train one, use
    `AudioCodec.from_encodec`. transformers cannot load a model with our quantizer after ``save_pretrained``: restore its own before, and
    save ours beside it, or use `AudioCodec.from_encodec` and `DacCodec.from_dac`.

    Args:
        model: model of ``transformers``.
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
    config: Any = _checked(model).config
    if quantizer.dim != config.hidden_size:
        raise ValueError(f"the latents of this model have dim {config.hidden_size}, the quantizer has {quantizer.dim}")
    largest = max(quantizer.code_sizes)
    settings: dict[str, Any] = {"codebook_size": largest, "codebook_dim": quantizer.dim}
    rates: tuple[float, ...] = ()
    if isinstance(model, EncodecModel):
        rates = stage_rates_kbps(quantizer, config.sampling_rate / config.hop_length)
        settings["target_bandwidths"], settings["__class__"] = list(rates), CountedEncodecConfig
    else:
        settings["n_codebooks"] = quantizer.num_codes
        settings["quantizer_dropout"] = 0.0  # ours leaves stages out by its own ``stage_dropout``
        settings["commitment_loss_weight"] = settings["codebook_loss_weight"] = 1.0  # our losses are weighted already
    before = {name: getattr(config, name) for name in settings}
    replaced: nn.Module = model.quantizer
    adapter = (EncodecAdapter if rates else DacAdapter)(quantizer, replaced, before, _weight(model))
    model.config = _with(config, settings)
    if isinstance(adapter, EncodecAdapter):
        adapter.rates_kbps, model.config.num_codes = rates, quantizer.num_codes
    model.add_module("quantizer", adapter.train(model.training))
    model.bits_per_codebook = (largest - 1).bit_length()
    return model


def restore_quantizer(model: Model) -> Model:
    """Give an EnCodec or DAC model its own quantizer back, in place; one that has it already stays as it is.

    Args:
        model: after `replace_quantizer`, or any other.

    Returns:
        The same model, with the same module in it that was there before, whose weights have not changed since, and its config.

    Raises:
        TypeError: another model.

    Example:
        >>> from transformers import DacConfig
        >>> from vqkit import FSQ
        >>> model = DacModel(DacConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 4])).eval()
        >>> own = model.quantizer
        >>> model = restore_quantizer(replace_quantizer(model, FSQ(dim=16, levels=(8, 5, 5, 5))))
        >>> model.quantizer is own, model.config.codebook_size
        (True, 1024)
    """
    adapter: nn.Module = _checked(model).quantizer
    if isinstance(adapter, EncodecAdapter | DacAdapter):
        model.add_module("quantizer", adapter.restored(_weight(model)).train(model.training))
        model.config = _with(model.config, adapter.before)
        model.bits_per_codebook = int(math.log2(adapter.before["codebook_size"]))
    return model


class CountedEncodecConfig(EncodecConfig):
    """EnCodec's config with ``num_quantizers`` as it is, which EnCodec reckons from its highest bandwidth.

    Attributes:
        num_codes: codes a frame.
    """

    num_codes: int

    @property
    def num_quantizers(self) -> int:
        """Codes a frame."""
        return self.num_codes


def _checked(model: Model) -> Model:
    if not isinstance(model, (EncodecModel, DacModel)):
        raise TypeError(f"model must be a transformers EncodecModel or DacModel, got {type(model).__name__}")
    return model


def _weight(model: EncodecModel | DacModel) -> Tensor:
    return next(model.encoder.parameters())


def _with(config: Any, settings: Mapping[str, Any]) -> Any:
    """A copy of a config with other settings, its class included."""
    config = copy.deepcopy(config)  # several models may share the one at hand
    config.__dict__.pop("num_codes", None)
    for name, value in settings.items():
        setattr(config, name, value)
    return config


class EncodecAdapter(QuantizerAdapter):
    """Quantizer with the interface that ``EncodecModel`` calls.

    Attributes:
        rates_kbps: bitrate with the first stage, the first two and so on.
    """

    rates_kbps: tuple[float, ...]

    def encode(
        self, embeddings: Float[Tensor, "batch dim frames"], bandwidth: float | None = None
    ) -> Int[Tensor, "num_codes batch frames"]:
        """Return the codes of as many stages as fit into ``bandwidth``, in kbit/s; of all without it."""
        stages = None
        check_numbers(bandwidth=bandwidth)  # False as well, which would mean all stages
        if bandwidth:
            stages = stages_within(self.rates_kbps, bandwidth, "bandwidth", "this quantizer has", "kbit/s")
        return self.quantizer.encode(embeddings.transpose(1, 2), stages=stages).permute(2, 0, 1)

    def decode(self, codes: Int[Tensor, "num_codes batch frames"]) -> Float[Tensor, "batch dim frames"]:
        """Latents of the codes of all stages or the first ones."""
        return self.quantizer.decode(codes.permute(1, 2, 0)).to(self.latent).transpose(1, 2)


class DacAdapter(QuantizerAdapter):
    """Quantizer with the interface that ``DacModel`` calls."""

    quantizers: tuple[nn.Module, ...] = ()  # DacModel.apply_weight_norm walks through them

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
            check_numbers(n_quantizers=n_quantizers)
            if n_quantizers < 1:
                raise ValueError(f"n_quantizers must be at least 1, got {n_quantizers}")
            codes = self.quantizer.first_stages(codes, min(n_quantizers, self.quantizer.num_stages))
            z_q = z + (self.quantizer.decode(codes).to(z.dtype) - z).detach()
        return z_q.transpose(1, 2), codes.transpose(1, 2), hidden_state, out.loss, torch.zeros_like(out.loss)

    def from_codes(self, audio_codes: Int[Tensor, "batch num_codes frames"]) -> tuple[Tensor, Tensor, Tensor]:
        """Quantized latents, twice, and the codes."""
        z_q = self.quantizer.decode(audio_codes.transpose(1, 2)).to(self.latent).transpose(1, 2)
        return z_q, z_q, audio_codes

    def from_latents(self, latents: Float[Tensor, "batch dim frames"]) -> tuple[Tensor, Tensor]:
        """Quantized latents, twice."""
        z_q = self.quantizer(latents.transpose(1, 2)).z_q.transpose(1, 2)
        return z_q, z_q
