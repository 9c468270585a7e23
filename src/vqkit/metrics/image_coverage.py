"""Precision, recall and nearest training images of generated images: measures of their realism, diversity and novelty.

Conventions:
    All work on embeddings of images, one a row, of an extractor that the caller names beside the number. A manifold is the union of balls
    around embeddings, each with the distance to its k-th neighbour as radius; precision and recall depend on k and on the number of images,
    and compare only within both.

Metrics:
    `coverage`: precision (share of generated images within the manifold of real ones) and recall (share of real images within that of
    generated ones), higher is better. `nearest`: for every image the most similar one of another set.

References:
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models" (2019), arXiv:1904.06991, eqs 1 and 2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.types import Float, Int

__all__ = ["Coverage", "Nearest", "coverage", "nearest"]


@dataclass(frozen=True)
class Coverage:
    """Precision and recall of generated images, each in 0 … 1."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Nearest:
    """The nearest neighbours of embeddings.

    Attributes:
        index: number of the neighbour.
        distance: Euclidean, to it.
    """

    index: Int[Tensor, " images"]
    distance: Float[Tensor, " images"]


def coverage(
    generated: Float[Tensor, "generated dim"], real: Float[Tensor, "real dim"], neighbours: int = 3
) -> Coverage:
    """Precision and recall.

    Args:
        generated: embeddings of generated images.
        real: embeddings of real images, none of which was trained on.
        neighbours: k.

    Raises:
        ValueError: fewer than k + 1 images on a side, or embeddings that do not fit together.

    Example:
        >>> real = torch.arange(8.0)[:, None]
        >>> coverage(real[:4] + 0.1, real, neighbours=1)
        Coverage(precision=1.0, recall=0.625)
    """
    _check(generated, real)
    if neighbours < 1 or min(len(generated), len(real)) <= neighbours:
        raise ValueError(
            f"neighbours={neighbours} needs more images on each side, got {len(generated)} and {len(real)}"
        )
    return Coverage(_within(generated, real, neighbours), _within(real, generated, neighbours))


def nearest(images: Float[Tensor, "images dim"], others: Float[Tensor, "others dim"]) -> Nearest:
    """The nearest of ``others`` for each image, such as of the training images for generated ones.

    A generator that copies has much smaller distances than new real images have. Errors as in `coverage`.

    Example:
        >>> found = nearest(torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0]]))
        >>> found.index.tolist(), round(found.distance.item(), 3)
        ([1], 0.1)
    """
    _check(images, others)
    distance, index = torch.cdist(images.double(), others.double()).min(dim=1)
    return Nearest(index, distance.float())


def _within(points: Tensor, others: Tensor, neighbours: int) -> float:
    """Share of points within the manifold of the others."""
    among = torch.cdist(others.double(), others.double())
    radius = among.kthvalue(neighbours + 1, dim=1).values  # the nearest is the point itself
    return float((torch.cdist(points.double(), others.double()) <= radius).any(dim=1).double().mean())


def _check(one: Tensor, other: Tensor) -> None:
    for embeddings in (one, other):
        if embeddings.ndim != 2 or not len(embeddings) or not bool(torch.isfinite(embeddings).all()):
            raise ValueError(f"embeddings must be finite (images, dim), got shape {tuple(embeddings.shape)}")
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"embeddings must have one length, got {one.shape[1]} and {other.shape[1]}")
