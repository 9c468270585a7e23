"""The straight-through estimator as a function that returns the quantized value itself.

The usual spelling ``z + (q − z).detach()`` does not return q: the sum is rounded. This one does, bit for bit.

Where the value that is rounded has no bound of its own, such as a projection before a sign, the gradient can push it on for ever although
its code no longer changes. `straight_through_within` passes the gradient only near the codes.

References:
    Bengio et al., "Estimating or propagating gradients through stochastic neurons" (2013), arXiv:1308.3432; IVQ eq. 4.
    Hubara et al., "Binarized neural networks" (2016), arXiv:1602.02830, section 1.3 (only near the codes).
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["straight_through", "straight_through_within"]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, q: Tensor) -> Tensor:
        return q.detach()  # not a view: a caller may add to z_q in place, and FSDP2 hangs its hooks on it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _StraightThroughWithin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, q: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(z.abs() <= bound)
        return q.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (near,) = ctx.saved_tensors
        return torch.where(near, grad, 0.0), None, None


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """Return ``q``, with the gradient passed unchanged to ``z``.

    Args:
        z: the continuous latent, any shape.
        q: its quantized value, same shape; receives no gradient.

    Returns:
        A tensor equal to ``q`` bit for bit.

    Example:
        >>> import torch
        >>> z = torch.tensor([0.3], requires_grad=True)
        >>> (2 * straight_through(z, torch.tensor([1.0]))).backward()
        >>> z.grad
        tensor([2.])
    """
    result: Tensor = _StraightThrough.apply(z, q.detach())
    return result


def straight_through_within(z: Tensor, q: Tensor, bound: float) -> Tensor:
    """Return ``q``, with the gradient passed to ``z`` where |z| ≤ ``bound``, and none elsewhere.

    Args:
        z: the value that is rounded, any shape.
        q: its rounded value, same shape; receives no gradient.
        bound: positive.

    Returns:
        A tensor equal to ``q`` bit for bit.

    Example:
        >>> import torch
        >>> z = torch.tensor([0.3, -5.0], requires_grad=True)
        >>> (2 * straight_through_within(z, torch.tensor([1.0, -1.0]), 2.0)).sum().backward()
        >>> z.grad
        tensor([2., 0.])
    """
    result: Tensor = _StraightThroughWithin.apply(z, q.detach(), bound)
    return result
