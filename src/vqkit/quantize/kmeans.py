"""Lloyd's k-means over the joint batch of all ranks.

References:
    Lloyd, "Least squares quantization in PCM" (1982); Linde, Buzo, Gray, "An algorithm for vector quantizer design" (1980).
"""

import warnings

import torch
from torch import Tensor

from vqkit.quantize.joint import JointBatch
from vqkit.quantize.search import nearest
from vqkit.types import Float, Int

__all__ = ["kmeans"]


@torch.no_grad()
def kmeans(
    batch: JointBatch,
    num_codes: int,
    iterations: int,
    distance: str = "l2",
    reseed: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Float[Tensor, "codes dim"], Int[Tensor, " codes"]]:
    """Fit ``num_codes`` centroids; all of them differ, also when there are fewer vectors than codes.

    Args:
        batch: the vectors, of all ranks.
        num_codes: how many centroids.
        iterations: Lloyd iterations.
        distance: ``"l2"`` or ``"cosine"`` for the assignment; centroids are plain means.
        reseed: between iterations move an empty centroid next to one of the fullest; otherwise it keeps its vector.
        dtype: dtype of the table that takes the centroids; they still differ when rounded to it.

    Returns:
        Centroids and the number of vectors of each.

    Example:
        >>> import torch
        >>> centroids, counts = kmeans(JointBatch(torch.tensor([[0.0], [0.2], [5.0], [5.2]])), 2, iterations=5)
        >>> centroids.flatten().tolist(), counts.tolist()
        ([0.10000000149011612, 5.099999904632568], [2, 2])
    """
    available = int(batch.count)
    if available < num_codes:
        warnings.warn(
            f"k-means of {num_codes} codes from only {available} vectors: the codes beyond are copies with a little noise; "
            "give a larger batch or a smaller codebook_size",
            stacklevel=2,
        )
    centroids = _separated(batch, batch.sample(num_codes), torch.float32)
    counts = torch.zeros(num_codes, dtype=torch.long, device=centroids.device)
    for step in range(iterations):
        counts, sums = batch.cluster(nearest(batch.x, centroids, distance), num_codes)
        moved = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centroids)
        if reseed and step < iterations - 1:
            moved = _reseeded(batch, moved, counts)
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return _separated(batch, centroids, dtype), counts


def _spread(batch: JointBatch) -> Tensor:
    """Standard deviation of the vectors about their mean, one number."""
    count = batch.count.clamp_min(1)
    real = batch.real[:, None]
    mean = batch.total(torch.where(real, batch.x, 0.0).sum(dim=0)) / count
    square = batch.total(torch.where(real, batch.x - mean, 0.0).square().sum()) / (count * batch.x.shape[1])
    return square.sqrt()


def _separated(batch: JointBatch, centroids: Tensor, dtype: torch.dtype) -> Tensor:
    """Move every copy of a code by a little noise, so that all codes differ when rounded to a dtype."""
    order = torch.arange(len(centroids), device=centroids.device)
    scale: Tensor | None = None
    while True:
        _, inverse = torch.unique(centroids.to(dtype), dim=0, return_inverse=True)
        first = torch.full_like(order, len(order)).scatter_reduce(0, inverse, order, "amin")
        copies = first[inverse] != order
        if not copies.any():
            return centroids
        if scale is None:
            size = centroids.abs().amax()
            scale = 1e-3 * torch.maximum(_spread(batch), 1e-3 * (1 + size))
            scale = torch.maximum(scale, 2 * torch.finfo(dtype).eps * size)
        noise = (batch.draw(*centroids.shape) * 2 - 1) * scale
        centroids = torch.where(copies[:, None], centroids + noise, centroids)
        scale = 2 * scale  # one dimension has few numbers near a code: go further until there are enough


def _reseeded(batch: JointBatch, centroids: Tensor, counts: Tensor) -> Tensor:
    """Split the fullest clusters: an empty code moves beside the code it will share with."""
    empty = (counts == 0).nonzero().flatten()
    if len(empty) == 0:
        return centroids
    donors = counts.topk(min(len(empty), len(counts) - len(empty))).indices
    empty = empty[: len(donors)]
    noise = (batch.draw(len(empty), centroids.shape[1]) * 2 - 1) * 0.1 * _spread(batch)
    return centroids.index_copy(0, empty, centroids[donors] + noise)
