"""EnCodec's configuration, and the encoder and decoder of its published checkpoints (safetensors only).

References:
    Défossez et al., "High fidelity neural audio compression" (2022), arXiv:2210.13438.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import EncodecConfig, EncodecModel
from transformers.models.encodec.modeling_encodec import EncodecDecoder, EncodecEncoder

from vqkit.models.audio.rates import check_sample_rate
from vqkit.models.peers.checkpoint import read_checkpoint

__all__ = ["LAYERS", "NAMES", "codec_arguments", "encodec_config", "first_difference", "read_encodec"]

NAMES = {
    "sampling_rate": "sample_rate",
    "audio_channels": "channels",
    "num_filters": "num_filters",
    "num_lstm_layers": "num_lstm_layers",
    "use_causal_conv": "causal",
    "norm_type": "norm",
}
"""EnCodec's names of what a codec's constructor takes by its own names; ``upsampling_ratios`` are its ``strides`` backwards."""

LAYERS = ("num_residual_layers", "kernel_size", "last_kernel_size", "residual_kernel_size", "dilation_growth_rate",
          "pad_mode", "compress", "trim_right_ratio", "use_conv_shortcut")  # fmt: skip
"""The rest of what shapes EnCodec's layers. Its quantizer, chunks and loudness normalisation are not ours."""

_MAX_DILATION = 4096  # samples of padding that no weight shows


def encodec_config(
    *,
    hidden_size: int,
    sample_rate: int,
    channels: int,
    num_filters: int,
    strides: Sequence[int],
    num_lstm_layers: int,
    causal: bool,
    norm: str,
    layers: dict[str, Any],
) -> EncodecConfig:
    """EnCodec's configuration of what `AudioCodec` takes.

    Raises:
        ValueError: an argument out of range.
    """
    check_sample_rate(sample_rate)
    for name, value in {"num_filters": num_filters, "num_lstm_layers": num_lstm_layers}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, got {channels}")
    if not strides or any(stride < 1 for stride in strides):
        raise ValueError(f"strides must be positive integers, at least one, got {tuple(strides)}")
    if norm not in ("weight_norm", "time_group_norm"):
        raise ValueError(f"norm must be 'weight_norm' or 'time_group_norm', got {norm!r}")
    unknown = sorted(set(layers) - set(LAYERS))
    if unknown:
        raise ValueError(f"layers holds {', '.join(unknown)}; allowed: {', '.join(LAYERS)}")
    config = EncodecConfig(
        sampling_rate=sample_rate,
        audio_channels=channels,
        hidden_size=hidden_size,
        num_filters=num_filters,
        upsampling_ratios=list(strides)[::-1],
        num_lstm_layers=num_lstm_layers,
        use_causal_conv=causal,
        norm_type=norm,
        **layers,
    )
    growth, blocks = config.dilation_growth_rate, config.num_residual_layers
    if growth < 1 or (blocks - 1) * math.log2(growth) > math.log2(_MAX_DILATION):
        raise ValueError(
            f"layers must have a dilation_growth_rate of at least 1, to the power of num_residual_layers − 1 at most "
            f"{_MAX_DILATION}, got {growth} and {blocks}"
        )
    return config


def codec_arguments(config: EncodecConfig) -> dict[str, Any]:
    """Arguments of `AudioCodec`, beside the quantizer, that give the same layers."""
    arguments = {ours: getattr(config, theirs) for theirs, ours in NAMES.items()}
    layers = {name: getattr(config, name) for name in LAYERS}
    return {**arguments, "strides": tuple(config.upsampling_ratios)[::-1], "layers": layers}


def first_difference(own: EncodecConfig, other: EncodecConfig) -> str | None:
    """The first setting by which two configurations' layers differ, as "name: own, other"."""
    for name in ("hidden_size", "upsampling_ratios", *NAMES, *LAYERS):
        values = getattr(own, name), getattr(other, name)
        if name != "sampling_rate" and (
            list(values[0]) != list(values[1]) if name == "upsampling_ratios" else values[0] != values[1]
        ):
            return f"{name}: {values[0]}, {values[1]}"
    return None


def read_encodec(name: str | Path) -> tuple[EncodecConfig, EncodecEncoder, EncodecDecoder]:
    """Load an EnCodec checkpoint and keep its encoder and decoder.

    Args:
        name: a folder with ``config.json`` and ``model.safetensors``, or the name of a repository on the hub.

    Returns:
        Its configuration, encoder and decoder.

    Raises:
        ValueError: it cannot be read as an EnCodec checkpoint in safetensors.
    """
    model = read_checkpoint(EncodecModel, name, "an EnCodec")
    return model.config, model.encoder, model.decoder
