"""How a codebook starts from its first training batch, as one operator of a compiled graph.

A graph cannot branch on the buffer that says whether the codebook was started; an operator can. It is `Codebook.initialize` in eager mode,
with the same random numbers.
"""

from typing import Any

import torch
from torch import Tensor

from vqkit.quantize.joint import JointBatch
from vqkit.quantize.kmeans import kmeans
from vqkit.types import Float, Int

__all__ = ["START_ITERATIONS", "fitted_shares", "start_codebook", "start_weight", "weighed_shares"]

START_ITERATIONS = 10
"""Lloyd iterations of a start."""

_SHARES = 1e-4  # float32 shares add up to 1 within this

# it reads the buffer, which a captured CUDA graph could not; older torch has neither the tag nor the argument for it
_TAGS: dict[str, Any] = {"tags": [torch.Tag.cudagraph_unsafe]} if hasattr(torch.Tag, "cudagraph_unsafe") else {}


@torch.library.custom_op(
    "vqkit::start_codebook", mutates_args=("weight", "usage", "initialized", "ema_count", "ema_sum"), **_TAGS
)
def start_codebook(
    x: Tensor,
    real: Tensor,
    weight: Tensor,
    usage: Tensor,
    initialized: Tensor,
    ema_count: Tensor | None,
    ema_sum: Tensor | None,
    distance: str,
    decay: float,
) -> None:
    """`Codebook.initialize` as one operator of a compiled graph: k-means of the batch, unless that was done or nothing is real."""
    batch = JointBatch(x, real)
    if bool(initialized) or not int(batch.count):
        return
    centroids, counts = kmeans(batch, weight.shape[0], START_ITERATIONS, distance, False, weight.dtype)
    weight.copy_(centroids)
    if ema_count is not None and ema_sum is not None:
        ema_count.copy_(fitted_shares(counts, start_weight(decay)))
        ema_sum.copy_(centroids * ema_count[:, None])
    usage.fill_(1)
    initialized.fill_(True)


def start_weight(decay: float) -> float:
    """Weight of a start in the moving averages that it begins: 1 − γ, as of every batch; 1 where γ = 1 lets none of them in.

    The averages are then over the few batches there were (the first twice, since it is learned from like any other), as Adam corrects
    the bias of its own, and not over 1/(1 − γ) batches of which nearly all are copies of the first. An encoder moves its latents by
    many deviations in its first ten steps; codes that cannot follow leave the decoder without a signal, and the same number of steps
    ends at up to twice the error (docs/results/defaults).
    """
    return 1 - decay or 1.0


def fitted_shares(counts: Int[Tensor, " codes"], weight: float = 1.0) -> Float[Tensor, " codes"]:
    """Moving counts after k-means: shares of the codes times −weight; `weighed_shares` turns them into counts at the next step.

    How many vectors a training batch holds, by which shares become counts, only that step knows.

    Args:
        counts: vectors of each code.
        weight: of the fit in the moving averages, where all later batches together can reach 1: 1 for a fit to data, which may be all
            there is, and `start_weight` for a start from a first batch.
    """
    counts = counts.clamp_min(1)
    return counts * (-weight / counts.sum())


def weighed_shares(ema_count: Float[Tensor, " codes"], real: Int[Tensor, ""]) -> Float[Tensor, ""]:
    """Factor that turns what `fitted_shares` left into counts; 1 where that was done, or where the batch is empty.

    Args:
        ema_count: moving counts.
        real: vectors of the batch.
    """
    total = ema_count.sum()
    earlier = (total - 1).abs() < _SHARES  # in files from before shares had a sign
    return torch.where(real > 0, torch.where(total < 0, -real, torch.where(earlier, real, 1)), 1).to(ema_count.dtype)
