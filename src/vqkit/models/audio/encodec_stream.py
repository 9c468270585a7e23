"""EnCodec's encoder and decoder as layers that take a signal in blocks.

References:
    Défossez et al., "High fidelity neural audio compression" (2022), arXiv:2210.13438, section 3.1.
"""

import math
from typing import Any

from torch import nn
from transformers import EncodecConfig
from transformers.models.encodec.modeling_encodec import (
    EncodecConv1d,
    EncodecConvTranspose1d,
    EncodecLSTM,
    EncodecResnetBlock,
)

from vqkit.nn.streaming_convolution import PAD_MODES, StreamingConvolution, StreamingTransposedConvolution
from vqkit.nn.streaming_layer import Chain, Pointwise, Recurrent, ResidualSum, StreamingLayer

__all__ = ["check_streamable", "streaming_network"]


def check_streamable(config: EncodecConfig) -> None:
    """Refuse layers whose outputs depend on the whole signal.

    Raises:
        ValueError: there are such layers.
    """
    if config.norm_type != "weight_norm":
        raise ValueError(
            f"a codec with norm={config.norm_type!r} cannot be streamed: it normalises by the mean and deviation of the whole "
            "signal; encode clips one by one, or use a codec with norm='weight_norm'"
        )
    if config.pad_mode not in PAD_MODES:
        allowed = ", ".join(map(repr, PAD_MODES))
        raise ValueError(f"a codec with pad_mode={config.pad_mode!r} cannot be streamed; allowed: {allowed}")


def streaming_network(network: nn.Module) -> Chain:
    """An encoder or a decoder in blocks, at the start of a signal, with the weights of now.

    Args:
        network: transformers' ``EncodecEncoder`` or ``EncodecDecoder``, of a config that `check_streamable` lets pass.

    Returns:
        Its layers; the signal goes through them as (batch, channels, time).

    Example:
        >>> import torch
        >>> from transformers.models.encodec.modeling_encodec import EncodecEncoder
        >>> encoder = EncodecEncoder(EncodecConfig(num_filters=2, upsampling_ratios=[2, 2], hidden_size=4)).eval()
        >>> wav = torch.randn(1, 1, 50)
        >>> with torch.no_grad():
        ...     torch.allclose(streaming_network(encoder).push(wav, last=True), encoder(wav), atol=1e-5)
        True
    """
    layers: Any = network.layers
    return Chain([_streaming(layer) for layer in layers])


def _streaming(layer: nn.Module) -> StreamingLayer:
    match layer:
        case EncodecConv1d():
            return _convolution(layer)
        case EncodecConvTranspose1d():
            return _transposed(layer)
        case EncodecLSTM():
            return Recurrent(layer.lstm)
        case EncodecResnetBlock():
            return ResidualSum(Chain([_streaming(part) for part in layer.block]), _streaming(layer.shortcut))
        case nn.ELU() | nn.Identity():
            return Pointwise(layer)
    raise TypeError(f"no streaming form of {type(layer).__name__}")


def _convolution(layer: EncodecConv1d) -> StreamingConvolution:
    conv: Any = layer.conv
    total = int(layer.padding_total)
    right = 0 if layer.causal else total // 2
    return StreamingConvolution(
        conv.weight.detach(),
        conv.bias.detach(),
        stride=conv.stride[0],
        dilation=conv.dilation[0],
        pad_left=total - right,
        pad_right=right,
        pad_mode=layer.pad_mode,
    )


def _transposed(layer: EncodecConvTranspose1d) -> StreamingTransposedConvolution:
    conv: Any = layer.conv
    total = conv.kernel_size[0] - conv.stride[0]
    right = math.ceil(total * layer.trim_right_ratio) if layer.causal else total // 2
    return StreamingTransposedConvolution(
        conv.weight.detach(),
        conv.bias.detach(),
        stride=conv.stride[0],
        trim_left=total - right,
        trim_right=right,
    )
