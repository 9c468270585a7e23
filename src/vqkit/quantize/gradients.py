"""Gradients through a nearest-code search: what passes between z and its code e in training.

All of them are functions of z (…, dim) and e (…, dim). In evaluation the value is always e itself; `noise_substitution` and
`directional_noise` give another value in training, which is how they let a gradient reach the codebook.
"""

from typing import Any

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["directional_noise", "noise_substitution", "rotation_trick"]

_TINY = 1e-12


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, e: Tensor) -> Tensor:
        ctx.save_for_backward(z, e)
        return e.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, e = ctx.saved_tensors
        long_z, long_e = z.norm(dim=-1, keepdim=True), e.norm(dim=-1, keepdim=True)
        u, w = z / long_z.clamp_min(_TINY), e / long_e.clamp_min(_TINY)
        middle = u + w
        length = middle.norm(dim=-1, keepdim=True)
        r = middle / length.clamp_min(_TINY)
        turned = grad - 2 * r * (r * grad).sum(dim=-1, keepdim=True) + 2 * u * (w * grad).sum(dim=-1, keepdim=True)
        # without a direction, or with opposite ones, there is no such rotation: straight through
        defined = (long_z > 1e-6) & (long_e > 1e-6) & (length > 1e-4)
        return torch.where(defined, long_e / long_z.clamp_min(_TINY) * turned, grad), None


def rotation_trick(z: Float[Tensor, "*shape dim"], e: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape dim"]:
    """Value e; gradient of z ↦ (‖e‖/‖z‖)·R·z with the rotation R that takes z's direction to e's, both held constant.

    With u = z/‖z‖, w = e/‖e‖, r = (u + w)/‖u + w‖ it is R = I − 2rrᵀ + 2wuᵀ. Where z or e is 0, or w = −u, the gradient passes unchanged.

    Args:
        z: the continuous vectors.
        e: their codes; they receive no gradient.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0, 0.0]], requires_grad=True)
        >>> rotation_trick(z, torch.tensor([[0.0, 2.0]]))[0, 1].backward()  # the code's direction is z's own
        >>> z.grad.round().abs()
        tensor([[2., 0.]])

    References:
        Fifty et al., "Restructuring vector quantization with the rotation trick" (2024), arXiv:2410.06424, section 4.2.
    """
    result: Tensor = _Rotation.apply(z, e.detach())
    return result


def noise_substitution(
    z: Float[Tensor, "*shape dim"], e: Float[Tensor, "*shape dim"], noise: Float[Tensor, "*shape dim"]
) -> Float[Tensor, "*shape dim"]:
    """The sum z + ‖z − e‖·v/‖v‖: noise as large as the quantization error, differentiable in z and e.

    Args:
        z: the continuous vectors.
        e: their codes.
        noise: v ~ N(0, I).

    References:
        Vali & Bäckström, "NSVQ: noise substitution in vector quantization for machine learning" (2022), IEEE Access 10, eq. 4.
    """
    return z + _distance(z, e) * noise / noise.norm(dim=-1, keepdim=True).clamp_min(_TINY)


def directional_noise(
    z: Float[Tensor, "*shape dim"],
    e: Float[Tensor, "*shape dim"],
    noise: Float[Tensor, "*shape dim"],
    deviation: float = 0.03,
) -> Float[Tensor, "*shape dim"]:
    """The sum z + ‖e − z‖·sg(w/‖w‖) with w = e − z + σv: almost e, differentiable in z and e.

    Args:
        z: the continuous vectors.
        e: their codes.
        noise: v ~ N(0, I).
        deviation: σ, how much of it.

    References:
        Vali et al., "DiVeQ: differentiable vector quantization using the reparameterization trick" (2025), arXiv:2509.26469.
    """
    way = (e - z).detach() + deviation * noise
    return z + _distance(z, e) * way / way.norm(dim=-1, keepdim=True).clamp_min(_TINY)


def _distance(z: Tensor, e: Tensor) -> Tensor:
    """‖z − e‖ with gradient 0 where they are equal, at which a root has none."""
    squared = (z - e).square().sum(dim=-1, keepdim=True)
    return torch.where(squared > 0, squared.clamp_min(_TINY).sqrt(), 0.0)
