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

__all__ = ["START_ITERATIONS", "fitted_shares", "start_codebook"]

START_ITERATIONS = 10
"""Lloyd iterations of a start."""

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
) -> None:
    """`Codebook.initialize` as one operator of a compiled graph: k-means of the batch, unless that was done or nothing is real."""
    batch = JointBatch(x, real)
    if bool(initialized) or not int(batch.count):
        return
    centroids, counts = kmeans(batch, weight.shape[0], START_ITERATIONS, distance, False, weight.dtype)
    weight.copy_(centroids)
    if ema_count is not None and ema_sum is not None:
        ema_count.copy_(fitted_shares(counts))
        ema_sum.copy_(centroids * ema_count[:, None])
    usage.fill_(1)
    initialized.fill_(True)


def fitted_shares(counts: Int[Tensor, " codes"]) -> Float[Tensor, " codes"]:
    """Counts of a fit as shares: how many vectors a training batch holds, by which they are multiplied, only `learn` will know."""
    counts = counts.clamp_min(1)
    return counts / counts.sum()
