"""Stage dropout: in training, some batch elements keep only the first stages, so that these decode well alone.

References:
    Zeghidour et al., "SoundStream" (2021), arXiv:2107.03312, section III.C.
"""

import torch
from torch import Tensor

from vqkit.quantize.inputs import narrowed
from vqkit.quantize.losses import rank_weight
from vqkit.types import Bool, Float, Int

__all__ = ["kept_stages", "stage_weights"]


def kept_stages(x: Float[Tensor, "batch *rest"], stages: int, dropout: float) -> Int[Tensor, " batch"] | None:
    """Stages each batch element keeps, or None when all keep all.

    Args:
        x: a batch.
        stages: number of stages.
        dropout: share of the batch elements that keep a random number of stages.
    """
    if dropout == 0 or stages == 1:
        return None
    number = torch.randint(1, stages + 1, (x.shape[0],), device=x.device)
    return torch.where(torch.rand(x.shape[0], device=x.device) < dropout, number, stages)


def stage_weights(
    kept: Int[Tensor, " batch"], stages: int, mask: Bool[Tensor, "*shape"] | None, x: Float[Tensor, "*shape dim"]
) -> Float[Tensor, " stages"]:
    """Weight of each stage's losses on this rank: its share of the vectors that a stage sees, over its share of all vectors."""
    seen = [narrowed(mask, kept > index, x).sum() for index in range(-1, stages)]
    weights = rank_weight(torch.stack(seen))
    return weights[1:] / weights[0].clamp_min(1e-12)
