"""The training batch of all ranks, joined: sums, draws and rows as one process on the concatenated batch would see them.

Whether ranks exchange anything is decided here, when a batch arrives: a quantizer built before the process group starts syncs all the
same. Random numbers are drawn on rank 0 and broadcast, so every rank holds the same codebook after each step.
"""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from vqkit.quantize.search import CHUNK_SCORES, similarity
from vqkit.types import Bool, Float, Int

__all__ = ["JointBatch"]


def _synced() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class JointBatch:
    """Vectors of this rank, seen as a part of the batch of all ranks.

    Args:
        x: float32 vectors of this rank.
        real: True where a vector counts; None when all do.
    """

    def __init__(self, x: Float[Tensor, "vectors dim"], real: Bool[Tensor, " vectors"] | None = None) -> None:
        self.x = x
        self.weight = x.new_ones(x.shape[0]) if real is None else real.to(x.dtype)
        own = self.weight.sum().long().reshape(1)
        self.start = torch.zeros_like(own)  # how many real vectors the ranks before this one hold
        self.count = own  # how many all ranks hold
        if _synced():
            counts = self._all_gather(own).flatten()
            self.start = counts[: dist.get_rank()].sum().reshape(1)
            self.count = counts.sum().reshape(1)

    @staticmethod
    def _all_gather(value: Tensor) -> Tensor:
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.stack(parts)

    @staticmethod
    def total(value: Tensor) -> Tensor:
        """Sum of a tensor over ranks."""
        if _synced():
            value = value.contiguous()
            dist.all_reduce(value)
        return value

    def draw(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), the same on every rank."""
        numbers = torch.rand(shape, device=self.x.device)
        if _synced():
            dist.broadcast(numbers, src=0)
        return numbers

    def cluster(self, codes: Int[Tensor, " vectors"], num_codes: int) -> tuple[Tensor, Tensor]:
        """Number and sum of the vectors assigned to each code: ``(codes,)`` and ``(codes, dim)``."""
        packed = self.x.new_zeros(num_codes, self.x.shape[1] + 1)
        rows = torch.cat([self.weight[:, None], self.x * self.weight[:, None]], dim=1)
        packed = self.total(packed.index_add(0, codes, rows))
        return packed[:, 0], packed[:, 1:]

    def rows(self, index: Int[Tensor, " picks"]) -> Float[Tensor, "picks dim"]:
        """The real vectors at these places of the joint batch."""
        order = self.weight.cumsum(0).long()
        local = index - self.start
        here = (local >= 0) & (local < self.weight.sum().long())
        row = torch.searchsorted(order, local + 1).clamp(0, max(self.x.shape[0] - 1, 0))
        picked = self.x[row] if self.x.shape[0] else self.x.new_zeros(index.shape[0], self.x.shape[1])
        return self.total(torch.where(here[:, None], picked, 0.0))

    def sample(self, num: int) -> Float[Tensor, "num dim"]:
        """Draw ``num`` real vectors, one from each of ``num`` equal strata: all different while there are enough."""
        strata = torch.arange(num + 1, device=self.x.device) * self.count // num
        low, high = strata[:-1], strata[1:]
        pick = low + (self.draw(num) * (high - low)).long()
        return self.rows(pick.clamp_max((self.count - 1).clamp_min(0)))

    def closest(self, codebook: Float[Tensor, "codes dim"], distance: str) -> Float[Tensor, "codes dim"]:
        """For every code the real vector nearest to it; ties go to the first."""
        best = codebook.new_full((codebook.shape[0],), -torch.inf)
        vector = torch.zeros_like(codebook)
        for x, scores in self._scored(codebook, distance):
            score, row = scores.max(dim=0)
            vector = torch.where((score > best)[:, None], x[row], vector)
            best = torch.maximum(score, best)
        if not _synced():
            return vector
        winner = self._all_gather(best).argmax(dim=0)
        return self.total(torch.where((winner == dist.get_rank())[:, None], vector, 0.0))

    def draw_similar(self, codebook: Float[Tensor, "codes dim"], distance: str) -> Float[Tensor, "codes dim"]:
        """For every code one real vector, drawn from the softmax of the similarities over the joint batch.

        By inversion: one uniform number a code against the cumulated probabilities of the batch in its order.
        """
        peak = codebook.new_full((codebook.shape[0],), -torch.inf)
        for _, scores in self._scored(codebook, distance):
            peak = torch.maximum(peak, scores.amax(dim=0))
        if _synced():
            dist.all_reduce(peak, op=dist.ReduceOp.MAX)
        peak = torch.where(peak.isfinite(), peak, 0.0)
        own = torch.zeros_like(peak, dtype=torch.float64)
        for _, scores in self._scored(codebook, distance):
            own += (scores - peak).double().exp().sum(dim=0)
        before, total = torch.zeros_like(own), own
        if _synced():
            parts = self._all_gather(own)
            before, total = parts[: dist.get_rank()].sum(dim=0), parts.sum(dim=0)
        target = self.draw(codebook.shape[0]) * total
        passed = torch.zeros_like(own, dtype=torch.long)  # real vectors of this rank that lie before the target
        for _, scores in self._scored(codebook, distance):
            reached = before + (scores - peak).double().exp().cumsum(dim=0)
            passed += ((reached <= target) & scores.isfinite()).sum(dim=0)
            before = reached[-1]
        return self.rows(self.total(passed).clamp_max((self.count - 1).clamp_min(0)))

    def _scored(self, codebook: Tensor, distance: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of the vectors with their similarity to every code, −inf where a vector is masked."""
        rows = max(1, CHUNK_SCORES // codebook.shape[0])
        for start in range(0, self.x.shape[0], rows):
            x, weight = self.x[start : start + rows], self.weight[start : start + rows]
            yield x, similarity(x, codebook, distance).masked_fill(weight[:, None] == 0, -torch.inf)
