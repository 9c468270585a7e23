"""The straight-through estimator as a function that returns the quantized value itself.

The usual spelling ``z + (q − z).detach()`` does not return q: the sum is rounded. This one does, bit for bit.

References:
    Bengio et al., "Estimating or propagating gradients through stochastic neurons" (2013), arXiv:1308.3432; IVQ eq. 4.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["straight_through"]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, q: Tensor) -> Tensor:
        return q.detach()  # not a view: a caller may add to z_q in place, and FSDP2 hangs its hooks on it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


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
