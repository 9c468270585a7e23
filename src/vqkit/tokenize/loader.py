"""Shuffled batches of token files: split over ranks, and resumable between any two batches of an epoch.

The order of an epoch is a function of seed and epoch. Shards come in random order, and items are shuffled within a window of some shards,
so that each shard is decoded once and memory does not grow with the corpus.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from vqkit.counts import check_numbers
from vqkit.ranks import num_ranks, own_rank
from vqkit.tokenize.dataset import TokenDataset, TokenItem, collate_tokens

__all__ = ["TokenLoader", "epoch_order"]


def epoch_order(shard_items: Sequence[int], seed: int, epoch: int, window_shards: int) -> Iterator[int]:
    """Indices of all items, each once, in the order of an epoch.

    Args:
        shard_items: Items of each shard.
        seed: Seed, at least 0.
        epoch: Epoch, at least 0.
        window_shards: Shards among which items are shuffled.

    Example:
        >>> sorted(epoch_order([2, 3], seed=0, epoch=0, window_shards=1))
        [0, 1, 2, 3, 4]
    """
    random = np.random.default_rng((seed, epoch))
    ends = list(accumulate(shard_items))
    order = random.permutation(len(shard_items))
    for first in range(0, len(order), window_shards):
        window = order[first : first + window_shards]
        items = np.concatenate([np.arange(ends[s] - shard_items[s], ends[s]) for s in window])
        yield from random.permutation(items).tolist()


class _Batches(Sampler[list[int]]):
    """Batches of indices of one rank's share of an epoch, from some batch on."""

    def __init__(self, loader: "TokenLoader") -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        return self._loader._indices()


class TokenLoader:
    """Batches for training; iterate once an epoch.

    Item i of an epoch's order goes to rank i modulo ranks; each rank gets equally many, and what does not fill a batch on every rank is
    left out of that epoch. `state_dict` counts the batches that were handed out, whatever workers have fetched ahead: a run that is
    continued from it, on as many ranks, sees what an uninterrupted one sees, bit for bit.

    Args:
        dataset: Data set to read.
        batch_size: Number of items of a batch, on each rank.
        seed: Seed of the order, the same on every rank.
        shuffle: Whether items are shuffled; otherwise they come in their order.
        window_shards: Shards among which items are shuffled; the data set's cache should hold as many.
        rank: Rank of this process; that of the process group by default.
        ranks: Number of ranks; that of the process group by default.
        workers: Number of processes that read.
        collate: Makes a batch of items.

    Raises:
        ValueError: An argument out of range, or too few items for a batch on every rank.

    Example:
        >>> loader = TokenLoader(TokenDataset("tokens", crop_frames=256), batch_size=16)  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     learn(batch.codes)
        ...     save(loader.state_dict())
    """

    def __init__(
        self,
        dataset: TokenDataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        window_shards: int = 8,
        rank: int | None = None,
        ranks: int | None = None,
        workers: int = 0,
        collate: Callable[[Sequence[TokenItem]], Any] = collate_tokens,
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.shuffle = dataset, batch_size, seed, shuffle
        self.window_shards = window_shards
        self.ranks = num_ranks() if ranks is None else ranks
        self.rank = own_rank() if rank is None else rank
        check_numbers(
            batch_size=batch_size, window_shards=window_shards, seed=seed, rank=rank, ranks=ranks, workers=workers
        )
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("window_shards", window_shards, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank must be in 0 … {self.ranks - 1}, got {self.rank}")
        if not len(self):
            raise ValueError(
                f"{len(dataset)} items do not fill a batch of {batch_size} on each of {self.ranks} ranks: use a smaller batch_size"
            )
        self.epoch, self._done = 0, 0
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_sampler=_Batches(self), num_workers=workers, collate_fn=collate
        )

    def __len__(self) -> int:
        """Batches of a whole epoch, on each rank."""
        return len(self.dataset) // self.ranks // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch; afterwards the next one begins."""
        self.dataset.set_epoch(self.epoch)
        for batch in self._loader:
            self._done += 1
            last = self._done == len(self)
            if last:  # before it is handed out: a state saved after it begins the next epoch
                self.epoch, self._done = self.epoch + 1, 0
            yield batch
            if last:
                return

    def state_dict(self) -> dict[str, int]:
        """Return the position in the epoch, for a checkpoint."""
        return {"epoch": self.epoch, "batches": self._done, **self._fixed()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there.

        Raises:
            ValueError: Of another order: seed, ranks, batch size, window or data set differ. Or of no place in an epoch.
        """
        for name, value in self._fixed().items():
            if state.get(name) != value:
                raise ValueError(f"the state was saved with {name}={state.get(name)}, this loader has {value}")
        epoch, done = state.get("epoch"), state.get("batches")
        check_numbers(epoch=epoch, batches=done)
        # at the end of an epoch a state has the next one and no batches
        if epoch is None or epoch < 0 or done is None or not 0 <= done < len(self):
            raise ValueError(
                f"a state has an epoch of at least 0 and 0 to {len(self) - 1} batches of it, got epoch={epoch} and batches={done}"
            )
        self.epoch, self._done = int(epoch), int(done)

    def _fixed(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "ranks": self.ranks,
            "batch_size": self.batch_size,
            "window_shards": self.window_shards,
            "shuffle": int(self.shuffle),
            "items": len(self.dataset),
        }

    def _indices(self) -> Iterator[list[int]]:
        """Batches of this rank, from the first that was not handed out."""
        items = self.dataset.shard_items
        order = (
            epoch_order(items, self.seed, self.epoch, self.window_shards) if self.shuffle else iter(range(sum(items)))
        )
        done, most = self._done, len(self)
        batch: list[int] = []
        number = 0
        for place, index in enumerate(order):
            if place % self.ranks != self.rank:
                continue
            batch.append(index)
            if len(batch) == self.batch_size:
                if number >= done:
                    yield batch
                batch, number = [], number + 1
                if number == most:
                    return
