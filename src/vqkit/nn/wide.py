"""Sums that half precision cannot hold, in float32 at least, whatever autocast says and whatever dtype a model's weights have."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.nn.fast_linear import fast_linear
from vqkit.types import Float

__all__ = ["no_autocast", "wide", "wide_dtype", "wide_linear"]


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off for what is computed on a device."""
    # the meta device has no autocast, and PyTorch refuses to switch it off
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype itself, but float32 in place of a shorter one.

    Example:
        >>> wide_dtype(torch.bfloat16), wide_dtype(torch.float64)
        (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def wide(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A tensor in its `wide_dtype`; itself if it has that already."""
    return x.to(wide_dtype(x.dtype))


def wide_linear(layer: nn.Linear, x: Float[Tensor, "*shape inputs"]) -> Float[Tensor, "*shape outputs"]:
    """A linear layer, computed in the `wide_dtype` of its weights.

    Example:
        >>> layer = nn.Linear(1, 1).half()
        >>> wide_linear(layer, torch.tensor([1e6])).dtype  # beyond float16
        torch.float32
    """
    weight = wide(layer.weight)
    if weight is layer.weight:  # through the module, so that its hooks run
        return fast_linear(layer, x.to(weight.dtype))
    return functional.linear(x.to(weight.dtype), weight, None if layer.bias is None else layer.bias.to(weight.dtype))
