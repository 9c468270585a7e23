"""The two pulls between a latent and its code, and what the losses of several ranks add up to.

Every rank computes its losses as means over its own real vectors. `rank_weight` makes their average over ranks, and with it the
gradient that DDP or FSDP averages, the mean over the joint batch, however unevenly the ranks' vectors, masks and dropped stages fall.

References:
    van den Oord et al. (2017), arXiv:1711.00937, eq. 3; IVQ eq. 5.
"""

import torch
from torch import Tensor

from vqkit.ranks import num_ranks, sum_over_ranks
from vqkit.types import Bool, Float, Int

__all__ = ["masked_mean", "means_over_ranks", "pulls", "rank_weight"]


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


def rank_weight(count: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Weight of this rank's mean over so many vectors: ranks · own count / joint count; 1 where no rank has any."""
    joint = sum_over_ranks(count)
    return torch.where(joint > 0, count * num_ranks() / joint.clamp_min(1), 1.0)


def means_over_ranks(means: list[Tensor], count: Tensor) -> list[Tensor]:
    """Means over this rank's vectors → those over the joint batch, with the gradient of this rank's own mean.

    The losses of a rank are weighted by its share of the vectors (`rank_weight`), so that this is the gradient of the joint mean.
    """
    packed = sum_over_ranks(torch.cat([*[mean.flatten() * count for mean in means], count[None]]))
    joint = packed[:-1] / packed[-1].clamp_min(1)
    parts = joint.split([mean.numel() for mean in means])
    return [mean + (part.view_as(mean) - mean).detach() for mean, part in zip(means, parts, strict=True)]
