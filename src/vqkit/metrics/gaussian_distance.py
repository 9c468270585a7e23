"""The common frame of the Fréchet distances: two Gaussians fitted to streams of embeddings.

Conventions:
    Sums, sums of outer products (float64) and counts of both sides are the states: exact over ranks, 2·dim² numbers
    however long the stream. Covariances are the unbiased ones. Each embedding weighs the same.

Metrics:
    :class:`GaussianDistance` is the abstract base of :class:`vqkit.metrics.FrechetDistance` (sound) and
    :class:`vqkit.metrics.ImageFrechetDistance`.

References:
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, 2017 (equation 6);
    Dowson & Landau, 1982 (the formula).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import Float

__all__ = ["SIDES", "GaussianDistance", "Side"]

Side = Literal["estimate", "reference"]
SIDES: tuple[Side, ...] = get_args(Side)


class GaussianDistance(StreamingMetric):
    """‖μe − μr‖² + tr(Σe + Σr − 2(Σe Σr)^½). A metric of this family defines ``update``, which calls :meth:`add`.

    Args:
        dim: length of an embedding.

    Attributes:
        num_embeddings: number of embeddings of each side, over all ranks, when ``compute`` last computed; None before.
    """

    unit = ""
    higher_is_better = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._dim = dim
        self.num_embeddings: int | None = None
        for side in SIDES:
            self.add_state(f"{self.name}_{side}_sum", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(
                f"{self.name}_{side}_outer", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum"
            )
            self.add_state(f"{self.name}_{side}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, embedded: Sequence[tuple[Side, Float[Tensor, "embeddings dim"]]]) -> None:
        """Add embeddings, all or, where one is refused, none.

        Args:
            embedded: the side and the embeddings.

        Raises:
            ValueError: embeddings are not finite ``(embeddings, dim)``.
        """
        checked = [(side, self._checked(embeddings)) for side, embeddings in embedded]
        for side, embeddings in checked:
            for kind, term in (
                ("sum", embeddings.sum(0)),
                ("outer", embeddings.T @ embeddings),
                ("count", embeddings.shape[0]),
            ):
                state = f"{self.name}_{side}_{kind}"
                setattr(self, state, getattr(self, state) + term)

    def compute(self) -> Float[Tensor, ""]:
        """Distance over the embeddings so far, of all ranks.

        Returns:
            Scalar, float32.

        Raises:
            ValueError: there have been fewer than two embeddings.
        """
        (one_mean, one), (other_mean, other) = (self._moments(side) for side in SIDES)
        self.num_embeddings = int(getattr(self, f"{self.name}_estimate_count"))
        root = _square_root(one)
        # tr (Σe Σr)^½ = tr (Σe^½ Σr Σe^½)^½, which is symmetric: real eigenvalues, and no general matrix root
        cross = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
        distance = (one_mean - other_mean).square().sum() + one.trace() + other.trace() - 2 * cross
        return distance.clamp_min(0).float()

    def reset(self) -> None:
        """Forget the stream."""
        super().reset()
        self.num_embeddings = None

    def _checked(self, embeddings: Tensor) -> Tensor:
        if embeddings.ndim != 2 or embeddings.shape[1] != self._dim or not embeddings.isfinite().all():
            raise ValueError(
                f"{self.name}: the extractor must give finite (embeddings, {self._dim}), got "
                f"{tuple(embeddings.shape)}" + ("" if embeddings.isfinite().all() else " with NaN or infinity")
            )
        return embeddings.to(getattr(self, f"{self.name}_estimate_sum"))

    def _moments(self, side: Side) -> tuple[Tensor, Tensor]:
        count = getattr(self, f"{self.name}_{side}_count")
        if count < 2:
            raise ValueError(
                f"{self.name} has seen {count} embeddings, at least 2 are needed: call update before compute"
            )
        total, outer = getattr(self, f"{self.name}_{side}_sum"), getattr(self, f"{self.name}_{side}_outer")
        mean = total / count
        return mean, (outer - count * mean.outer(mean)) / (count - 1)


def _square_root(matrix: Tensor) -> Tensor:
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except (
        torch.linalg.LinAlgError
    ):  # MKL's does not converge for some matrices of nearly rank one, as of a few images that look alike
        vectors, values, _ = torch.linalg.svd(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
