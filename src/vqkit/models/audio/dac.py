"""DAC's encoder and decoder around any quantizer.

References:
    Kumar et al., "High-fidelity audio compression with improved RVQGAN" (2023), arXiv:2306.06546.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DacConfig, DacModel
from transformers.models.dac.modeling_dac import DacDecoder, DacEncoder

from vqkit.models.audio.rates import check_sample_rate
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.peers.checkpoint import read_checkpoint
from vqkit.quantize import Quantizer
from vqkit.types import Float

__all__ = ["DacCodec"]


class DacCodec(WaveformCodec):
    """DAC's encoder and decoder around any quantizer; mono.

    A clip is filled with zeros to whole frames, as transformers' feature extractor for DAC does. Odd strides make DAC's decoder give
    some samples less than frames · hop; they are zeros here.

    Args:
        quantizer: any; its ``dim`` is the width of the latent.
        sample_rate: sample rate of the waveforms, in Hz.
        num_filters: channels of the encoder's first convolution; they double at each stride.
        decoder_filters: channels of the decoder's first convolution; they halve at each stride.
        strides: strides of the encoder's blocks, from the waveform on; their product is `hop_samples`.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from vqkit import RVQ
        >>> codec = DacCodec(RVQ(dim=12, codebook_size=64, num_quantizers=4), num_filters=4, decoder_filters=32).eval()
        >>> codes = codec.encode(torch.randn(1, 1, 16000))
        >>> codes.shape, codec.decode(codes, samples=16000).shape
        (torch.Size([1, 4, 32]), torch.Size([1, 1, 16000]))
    """

    encoder: "PaddedEncoder"
    decoder: "PaddedDecoder"

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        sample_rate: int = 16000,
        num_filters: int = 64,
        decoder_filters: int = 1536,
        strides: Sequence[int] = (2, 4, 8, 8),
    ) -> None:
        super().__init__()
        check_sample_rate(sample_rate)
        if num_filters < 1:
            raise ValueError(f"num_filters must be at least 1, got {num_filters}")
        if not strides or any(stride < 2 for stride in strides):
            raise ValueError(f"strides must be integers from 2 on, at least one, got {tuple(strides)}")
        if decoder_filters < 1 or decoder_filters % 2 ** len(strides):
            raise ValueError(f"decoder_filters must be a multiple of {2 ** len(strides)}, got {decoder_filters}")
        config = DacConfig(
            encoder_hidden_size=num_filters,
            decoder_hidden_size=decoder_filters,
            downsampling_ratios=list(strides),
            sampling_rate=sample_rate,
        )
        config.hidden_size = quantizer.dim
        self.sample_rate, self.channels = sample_rate, 1
        self.hop_samples = math.prod(strides)
        self.encoder = PaddedEncoder(config, self.hop_samples)
        self.quantizer = quantizer
        self.decoder = PaddedDecoder(config, self.hop_samples)
        self.register_buffer("initialized", torch.tensor(True))  # DAC's layers need no scaling before training

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last convolution, or its direction where that is what is trained."""
        last: Any = self.decoder.layers.conv2
        weight: Tensor = last.weight_v if hasattr(last, "weight_v") else last.weight
        return weight

    @classmethod
    def from_dac(cls, name: str | Path, quantizer: Quantizer) -> Self:
        """Give a published DAC checkpoint's encoder and decoder another quantizer.

        Args:
            name: a folder saved by ``transformers.DacModel.save_pretrained``, or its name on the hub, such as
                ``"descript/dac_24khz"``; safetensors only.
            quantizer: its ``dim`` is the checkpoint's ``hidden_size``.

        Returns:
            The codec in evaluation mode.

        Raises:
            ValueError: not such a checkpoint, or the quantizer has another dim.
        """
        model = read_checkpoint(DacModel, name, "a DAC")
        config: Any = model.config
        if config.hidden_size != quantizer.dim:
            raise ValueError(f"the latents of {name} have dim {config.hidden_size}, the quantizer has {quantizer.dim}")
        codec = cls(
            quantizer,
            sample_rate=config.sampling_rate,
            num_filters=config.encoder_hidden_size,
            decoder_filters=config.decoder_hidden_size,
            strides=tuple(config.downsampling_ratios),
        )
        codec.encoder.layers.load_state_dict(model.encoder.state_dict())
        codec.decoder.layers.load_state_dict(model.decoder.state_dict())
        return codec.eval()


class PaddedEncoder(nn.Module):
    """Waveforms filled with zeros to whole frames, then DAC's encoder."""

    def __init__(self, config: DacConfig, hop_samples: int) -> None:
        super().__init__()
        self.layers, self.hop_samples = DacEncoder(config), hop_samples

    def forward(self, wav: Float[Tensor, "batch 1 samples"]) -> Float[Tensor, "batch dim frames"]:
        """⌈samples / hop⌉ frames."""
        samples = wav.shape[-1]
        whole = (samples + self.hop_samples - 1) // self.hop_samples * self.hop_samples
        latent: Tensor = self.layers(functional.pad(wav, (0, whole - samples)))
        return latent


class PaddedDecoder(nn.Module):
    """DAC's decoder, then zeros up to whole frames."""

    def __init__(self, config: DacConfig, hop_samples: int) -> None:
        super().__init__()
        self.layers, self.hop_samples = DacDecoder(config), hop_samples

    def forward(self, latent: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch 1 samples"]:
        """Frames · hop samples."""
        wav: Tensor = self.layers(latent)
        return functional.pad(wav, (0, latent.shape[-1] * self.hop_samples - wav.shape[-1]))
