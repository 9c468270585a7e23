"""The training batch of all ranks, joined: sums, draws and rows as one process on the concatenated batch would see them.

Whether ranks exchange anything is decided here, when a batch arrives: a quantizer built before the process group starts syncs all the
same. Random numbers are drawn on rank 0 and broadcast, so every rank holds the same codebook after each step. What nobody asks for is
not exchanged: the ranks' numbers of vectors are gathered when a count or a row of the joint batch is first needed.
"""

from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor

from vqkit.quantize.search import CHUNK_SCORES, similarity
from vqkit.ranks import from_first_rank, gather_ranks, max_over_ranks, num_ranks, own_rank, sum_over_ranks
from vqkit.types import Bool, Float, Int

__all__ = ["JointBatch", "packed_clusters", "split_count", "unpacked_clusters"]

_CHUNK_ROWS = 1 << 20  # vectors summed at once in float32, which counts one by one only to 2²⁴
# a count crosses the ranks as two float32, multiples of this and the rest: exact to 2³⁶ on 4096 ranks
_COUNT_UNIT = 1 << 12


class JointBatch:
    """Vectors of this rank, seen as a part of the batch of all ranks.

    Args:
        x: float32 vectors of this rank.
        real: True where a vector counts; None when all do.
        alone: leave the other ranks out: these vectors are the whole batch, and nothing is exchanged.
    """

    def __init__(
        self, x: Float[Tensor, "vectors dim"], real: Bool[Tensor, " vectors"] | None = None, *, alone: bool = False
    ) -> None:
        self.x = x
        self.all_real = real is None
        self.real = x.new_ones(x.shape[0], dtype=torch.bool) if real is None else real
        self.alone = alone or num_ranks() == 1
        self.codes: Tensor | None = None  # of the vectors, once they are assigned
        self._per_rank: Tensor | None = None

    @classmethod
    def joined(cls, batches: list[Self], items: int) -> Self:
        """One batch of several that hold vectors of the same batch items: item by item, so that ranks join as one process would.

        Args:
            batches: the batches of the stages that share a codebook.
            items: how many batch items each of them covers.
        """
        rows = [len(batch.x) // max(items, 1) for batch in batches]

        def by_item(parts: list[Tensor]) -> Tensor:
            cut = [part.reshape(items, row, *part.shape[1:]) for part, row in zip(parts, rows, strict=True)]
            return torch.cat(cut, dim=1).flatten(0, 1)

        whole = cls(
            by_item([batch.x for batch in batches]),
            by_item([batch.real for batch in batches]),
            alone=batches[0].alone,
        )
        codes = [batch.codes for batch in batches if batch.codes is not None]
        whole.codes = by_item(codes) if len(codes) == len(batches) else None
        return whole

    @property
    def _counts(self) -> Int[Tensor, " ranks"]:
        """How many real vectors each rank holds."""
        if self._per_rank is None:
            own = self.real.sum()
            self._per_rank = own[None] if self.alone else gather_ranks(own)
        return self._per_rank

    @property
    def count(self) -> Int[Tensor, ""]:
        """How many real vectors all ranks hold."""
        return self._counts.sum()

    @property
    def _start(self) -> Int[Tensor, ""]:
        """How many real vectors the ranks before this one hold."""
        return self._counts[: 0 if self.alone else own_rank()].sum()

    def total(self, value: Tensor) -> Tensor:
        """Sum of a tensor over ranks."""
        return value if self.alone else sum_over_ranks(value)

    def draw(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), the same on every rank."""
        numbers = torch.rand(shape, dtype=torch.float32, device=self.x.device)
        return numbers if self.alone else from_first_rank(numbers)

    def cluster(
        self, codes: Int[Tensor, " vectors"], num_codes: int
    ) -> tuple[Int[Tensor, " codes"], Float[Tensor, "codes dim"]]:
        """Number and sum of the vectors assigned to each code."""
        own = self.own_clusters(codes, num_codes)
        return own if self.alone else unpacked_clusters(sum_over_ranks(packed_clusters(*own)))

    def own_clusters(
        self, codes: Int[Tensor, " vectors"], num_codes: int
    ) -> tuple[Int[Tensor, " codes"], Float[Tensor, "codes dim"]]:
        """`cluster` of this rank's vectors alone."""
        counts = torch.zeros(num_codes, dtype=torch.long, device=self.x.device)
        counts = counts.index_add(0, codes, self.real.long())
        chunks = zip(self.x.split(_CHUNK_ROWS), codes.split(_CHUNK_ROWS), self.real.split(_CHUNK_ROWS), strict=True)
        parts = []
        for x, code, real in chunks:
            vectors = x if self.all_real else torch.where(real[:, None], x, 0.0)
            parts.append(x.new_zeros(num_codes, x.shape[1]).index_add_(0, code, vectors))
        sums = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
        return counts, sums

    def own_count(self) -> Float[Tensor, "ranks 2"]:
        """This rank's number of real vectors in its row, in two parts: the sum over ranks is what `set_counts` takes."""
        count = self.real.sum()
        parts = split_count(count)[None].to(self.x.dtype)
        if self.alone:
            return parts
        mine = torch.arange(num_ranks(), device=count.device) == own_rank()
        return mine[:, None] * parts

    def set_counts(self, parts: Float[Tensor, "ranks 2"]) -> None:
        """Take the numbers of vectors of all ranks, instead of gathering them."""
        self._per_rank = _joined_count(parts)

    def own_numbers(self, numbers: Tensor) -> Tensor:
        """Rank 0's random numbers, and zeros of others: the sum over ranks is the same on all."""
        return numbers if self.alone or own_rank() == 0 else torch.zeros_like(numbers)

    def rows(self, index: Int[Tensor, " picks"]) -> Float[Tensor, "picks dim"]:
        """The real vectors at these places of the joint batch."""
        return self.total(self.own_rows(index))

    def own_rows(self, index: Int[Tensor, " picks"]) -> Float[Tensor, "picks dim"]:
        """`rows` that this rank holds; zeros for the others."""
        return self._own(index, lambda row: self.x[row])

    def own_between(
        self, index: Int[Tensor, " picks"], codebook: Float[Tensor, "codes dim"], share: float
    ) -> Float[Tensor, "picks dim"]:
        """Points on the way from the codes of the vectors at these places to the vectors, as far as this rank holds them; zeros otherwise.

        Args:
            index: places in the joint batch.
            codebook: the codes that ``codes`` are numbers of.
            share: of the way; 1 gives `own_rows`.
        """
        codes = self.codes
        assert codes is not None
        return self._own(index, lambda row: codebook[codes[row]].lerp(self.x[row], share))

    def _own(self, index: Tensor, picked: Callable[[Tensor], Tensor]) -> Tensor:
        """What is picked of the rows that hold the real vectors at these places of the joint batch; zeros for those of other ranks."""
        if not self.x.shape[0]:
            return self.x.new_zeros(index.shape[0], self.x.shape[1])
        order = self.real.long().cumsum(0)
        local = index - self._start
        here = (local >= 0) & (local < self.real.sum())
        row = torch.searchsorted(order, local + 1).clamp(0, self.x.shape[0] - 1)
        return torch.where(here[:, None], picked(row), 0.0)

    def sample(self, num: int) -> Float[Tensor, "num dim"]:
        """Draw ``num`` real vectors, one from each of ``num`` equal strata: all different while there are enough."""
        return self.rows(self.strata(self.draw(num)))

    def strata(self, numbers: Float[Tensor, " num"]) -> Int[Tensor, " num"]:
        """Places in the joint batch, one in each of as many equal strata as there are numbers in [0, 1)."""
        num = len(numbers)
        strata = torch.arange(num + 1, device=self.x.device) * self.count // num
        low, high = strata[:-1], strata[1:]
        return (low + (numbers * (high - low)).long()).clamp_max((self.count - 1).clamp_min(0))

    def uniform(self, place: Int[Tensor, " num"]) -> Int[Tensor, " num"]:
        """Places in the joint batch, of whole numbers far beyond its size: a float32 in [0, 1) reaches only 2^24 places."""
        return place % self.count.clamp_min(1)

    def closest(self, codebook: Float[Tensor, "codes dim"], distance: str) -> Float[Tensor, "codes dim"]:
        """For every code the real vector nearest to it; ties go to the first."""
        best = codebook.new_full((codebook.shape[0],), -torch.inf)
        vector = torch.zeros_like(codebook)
        for x, scores in self._scored(codebook, distance):
            score, row = scores.max(dim=0)
            vector = torch.where((score > best)[:, None], x[row], vector)
            best = torch.maximum(score, best)
        if self.alone:
            return vector
        winner = gather_ranks(best).argmax(dim=0)
        return self.total(torch.where((winner == own_rank())[:, None], vector, 0.0))

    def draw_similar(self, codebook: Float[Tensor, "codes dim"], distance: str) -> Float[Tensor, "codes dim"]:
        """For every code one real vector, drawn from the softmax of the similarities over the joint batch.

        By inversion: one uniform number a code against the cumulated probabilities of the batch in its order.
        """
        peak = codebook.new_full((codebook.shape[0],), -torch.inf)
        for _, scores in self._scored(codebook, distance):
            peak = torch.maximum(peak, scores.amax(dim=0))
        if not self.alone:
            peak = max_over_ranks(peak)
        peak = torch.where(peak.isfinite(), peak, 0.0)
        own = torch.zeros_like(peak, dtype=torch.float64)
        for _, scores in self._scored(codebook, distance):
            own += (scores - peak).double().exp().sum(dim=0)
        before, total = torch.zeros_like(own), own
        if not self.alone:
            parts = gather_ranks(own)
            before, total = parts[: own_rank()].sum(dim=0), parts.sum(dim=0)
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
            x, real = self.x[start : start + rows], self.real[start : start + rows]
            yield x, similarity(x, codebook, distance).masked_fill(~real[:, None], -torch.inf)


def packed_clusters(counts: Int[Tensor, " codes"], sums: Float[Tensor, "codes dim"]) -> Float[Tensor, "codes packed"]:
    """Counts and sums as one tensor that can be summed over ranks; `unpacked_clusters` is the inverse."""
    return torch.cat([split_count(counts).to(sums.dtype), sums], dim=1)


def unpacked_clusters(
    packed: Float[Tensor, "codes packed"],
) -> tuple[Int[Tensor, " codes"], Float[Tensor, "codes dim"]]:
    """Counts and sums."""
    return _joined_count(packed[:, :2]), packed[:, 2:]


def split_count(count: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape 2"]:
    """A count in the two parts that float32 holds exactly."""
    return torch.stack([count // _COUNT_UNIT, count % _COUNT_UNIT], dim=-1)


def _joined_count(parts: Float[Tensor, "*shape 2"]) -> Int[Tensor, "*shape"]:
    high, low = parts.long().unbind(dim=-1)
    return high * _COUNT_UNIT + low
