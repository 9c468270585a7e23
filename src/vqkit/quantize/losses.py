"""The two pulls between a latent and its code.

References:
    van den Oord et al. (2017), arXiv:1711.00937, eq. 3; IVQ eq. 5.
"""

from torch import Tensor

from vqkit.types import Bool, Float

__all__ = ["masked_mean", "pulls"]


def masked_mean(value: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None) -> Tensor:
    """Mean over the real positions and the last dim; 0 where nothing is real."""
    if mask is None:
        return value.mean() if value.numel() else value.sum()
    count = mask.sum().clamp_min(1) * value.shape[-1]
    return (value * mask[..., None]).sum() / count


def pulls(
    x: Tensor, q: Tensor, mask: Tensor | None, commitment_weight: float, codebook_weight: float
) -> dict[str, Tensor]:
    """``commitment``: weight·‖x − sg q‖² moves the encoder; ``codebook``: weight·‖sg x − q‖² moves the codes (means over elements)."""
    losses = {}
    if commitment_weight:
        losses["commitment"] = commitment_weight * masked_mean((x - q.detach()).square(), mask)
    if codebook_weight:
        losses["codebook"] = codebook_weight * masked_mean((x.detach() - q).square(), mask)
    return losses
