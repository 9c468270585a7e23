"""Linear layers on the CPU by oneDNN, which is the faster library for them on some processors.

PyTorch sends float32 ``linear`` to the BLAS that it was built with. MKL, which most x86 builds have, computes on AMD's processors at less
than half the rate of oneDNN, which lies in the same builds; on Intel's they are alike. The sums are the same, added in another order.
"""

import platform
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float

__all__ = ["fast_linear", "takes_onednn"]

_LEAST_ROWS = 8  # with fewer the call costs more than the sum
_X86 = platform.machine().lower() in ("x86_64", "amd64")  # other processors have other libraries behind both names


def fast_linear(layer: nn.Linear, x: Float[Tensor, "*shape inputs"]) -> Float[Tensor, "*shape outputs"]:
    """``layer(x)``, by the faster library where that gives the same within float rounding and no weight needs a gradient.

    Example:
        >>> layer, x = nn.Linear(6, 4), torch.randn(2, 20, 6)
        >>> with torch.no_grad():
        ...     fast = fast_linear(layer, x)
        >>> fast.shape, torch.allclose(fast, layer(x), atol=1e-6)
        (torch.Size([2, 20, 4]), True)
    """
    if not takes_onednn(layer, x):
        plain: Tensor = layer(x)
        return plain
    if torch.is_grad_enabled() and x.requires_grad:
        found: Tensor = _OfFrozenWeights.apply(x, layer.weight, layer.bias)
        return found
    return _by_onednn(x, layer.weight, layer.bias)


def takes_onednn(layer: nn.Linear, x: Float[Tensor, "*shape inputs"]) -> bool:
    """Whether `fast_linear` may leave the module out: plain float32 weights and values on x86, no gradient of weights, no hooks."""
    if torch.compiler.is_compiling() or not _AVAILABLE or not takes_fast_paths(x):
        return False
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in layer.parameters()):
        return False
    # a subclass, a hook or a dtype of autocast means something else than weight @ x + bias in float32
    plain = type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)
    return (
        plain
        and x.dtype == layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.numel() >= _LEAST_ROWS * x.shape[-1]
        and bool(torch.backends.mkldnn.enabled)
    )


class _OfFrozenWeights(torch.autograd.Function):
    """The sum and its gradient by the inputs alone, both by the faster library."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``x @ weight.T + bias``."""
        ctx.save_for_backward(weight)
        return _by_onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """``gradient @ weight``, which has a gradient itself."""
        (weight,) = ctx.saved_tensors
        found: Tensor = _OfFrozenWeights.apply(gradient.contiguous(), weight.T, None)
        return found, None, None


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    try:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    except (RuntimeError, TypeError):  # an operation that PyTorch keeps for itself may change
        return functional.linear(x, weight, bias)
    return found


def _has_operation() -> bool:
    return (
        _X86
        and torch.backends.mkldnn.is_available()
        and torch._C._dispatch_has_kernel_for_dispatch_key("mkldnn::_linear_pointwise", "CPU")
    )


_AVAILABLE = _has_operation()
