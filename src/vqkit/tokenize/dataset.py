"""Token files as a data set for training: random access by index, decoded shard by shard."""

import bisect
import operator
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from vqkit.counts import check_numbers
from vqkit.data.token_files import TokenItem, read_manifest, read_shard
from vqkit.tokenize.manifest import verify_tokens
from vqkit.types import Int

__all__ = ["Pattern", "TokenBatch", "TokenDataset", "TokenItem", "collate_tokens"]


class Pattern(Protocol):
    """A layout of codes over the positions of a language model, such as `vqkit.models.generator`'s ``Flat`` and ``Delay``."""

    def arrange(self, codes: Int[Tensor, "batch frames num_codes"]) -> Int[Tensor, "batch positions num_codes"]:
        """Lay codes out; −1 where a position has none."""


class TokenBatch(NamedTuple):
    """Items of different lengths in one tensor.

    Attributes:
        codes: int64 (batch, longest, num_codes), −1 after the end of each item.
        lengths: (batch,) int64.
        keys: Names in the corpus.
    """

    codes: Int[Tensor, "batch longest num_codes"]
    lengths: Int[Tensor, " batch"]
    keys: list[str]


class TokenDataset(Dataset[TokenItem]):
    """A map-style data set of a folder that ``vqkit tokenize`` wrote, in either form; item i is the same on every machine.

    Some decoded shards are kept, so that access near to access (as `TokenLoader` shuffles) decodes each shard once.

    Args:
        folder: Folder of the token files.
        stages: Codes of the first so many stages only; all by default.
        crop_frames: A random stretch of so many frames of each item, drawn from seed, epoch and index; shorter items stay as they are.
            None takes whole items.
        pattern: Lays the codes of a sequence out for a language model.
        kind: Items of one kind of a folder that holds several (``"sound"``, ``"images"``, ``"video"``), whose codes make no batch
            together; all by default.
        seed: Seed of the crops.
        cached_shards: Decoded shards kept in memory, in each process that reads.
        verify: Check all files against their checksums first.

    Raises:
        FileNotFoundError: No finished run lies there.
        ValueError: The manifest or a file is damaged, or an argument is out of range.

    Example:
        >>> dataset = TokenDataset("tokens", crop_frames=256)  # doctest: +SKIP
        >>> dataset[0].codes.shape  # doctest: +SKIP
        torch.Size([256, 12])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        stages: int | None = None,
        crop_frames: int | None = None,
        pattern: Pattern | None = None,
        kind: str | None = None,
        seed: int = 0,
        cached_shards: int = 8,
        verify: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        check_numbers(stages=stages, crop_frames=crop_frames, cached_shards=cached_shards)
        for name, value in (("crop_frames", crop_frames), ("stages", stages), ("cached_shards", cached_shards)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if verify:
            verify_tokens(folder)
        self.stages, self.crop_frames, self.pattern, self.seed = stages, crop_frames, pattern, seed
        self._shards = self.manifest["shards"]
        self.shard_items = tuple(int(shard["items"]) for shard in self._shards)
        self._rows: list[list[int]] | None = None  # of the kind that is wanted, in each shard
        if kind is not None:
            self._choose(kind)
        self._ends = list(accumulate(self.shard_items))
        self._cached, self._most = OrderedDict[int, Any](), cached_shards
        self._widths = {kind: tuple(m["codes_per_stage"]) for kind, m in self.manifest["models"].items()}
        # in shared memory: loader processes see a new epoch even when they persist
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> TokenItem:
        """An item; negative numbers count from the end.

        Raises:
            IndexError: There are not so many.
            TypeError: The index is no integer, a slice for example.
        """
        if not hasattr(index, "__index__"):
            raise TypeError(f"an item's index must be an integer, got {index!r}: torch.utils.data.Subset takes a part")
        asked, index = index, operator.index(index)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"item {asked} of {len(self)}")
        shard = bisect.bisect_right(self._ends, index)
        row = index - (self._ends[shard] - self.shard_items[shard])
        if self._rows is not None:
            row = self._rows[shard][row]
        table = self._table(shard)
        codes = torch.from_numpy(table["codes"][row].astype(np.int64).reshape(table["shape"][row]))
        if self.stages is not None:
            widths = self._widths[table["kind"][row]]
            if self.stages > len(widths):
                raise ValueError(f"stages is {self.stages}, the codes have {len(widths)}")
            codes = codes[..., : sum(widths[: self.stages])]
        if self.crop_frames is not None and len(codes) > self.crop_frames:
            random = np.random.default_rng((self.seed, int(self._epoch), index))
            start = int(random.integers(len(codes) - self.crop_frames + 1))
            codes = codes[start : start + self.crop_frames]
        if self.pattern is not None:
            codes = self.pattern.arrange(codes.reshape(1, -1, codes.shape[-1]))[0]
        return TokenItem(codes, table["key"][row])

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops; the same number on every rank.

        Raises:
            ValueError: Below 0.
        """
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}, it must be at least 0")
        self._epoch.fill_(epoch)

    def _choose(self, kind: str) -> None:
        """Keep the items of a kind; one small column of every file says which they are."""
        known = sorted(self.manifest["models"])
        if kind not in known:
            raise ValueError(f"kind must be one of {', '.join(known)}, which {self.folder} holds, got {kind!r}")
        rows = []
        for entry in self._shards:
            kinds = read_shard(self.folder, entry, ("kind",))["kind"]
            rows.append([row for row, found in enumerate(kinds) if found == kind])
        kept = [shard for shard, own in enumerate(rows) if own]
        self._shards, self._rows = [self._shards[shard] for shard in kept], [rows[shard] for shard in kept]
        self.shard_items = tuple(len(own) for own in self._rows)
        # what a training asks for whose codes these are
        self.manifest = {**self.manifest, "models": {kind: self.manifest["models"][kind]}}

    def _table(self, shard: int) -> dict[str, Any]:
        """The columns of a shard, from memory if it was used lately."""
        if shard in self._cached:
            self._cached.move_to_end(shard)
            return dict(self._cached[shard])
        columns = read_shard(self.folder, self._shards[shard])
        self._cached[shard] = columns
        while len(self._cached) > self._most:
            self._cached.popitem(last=False)
        return columns


def collate_tokens(items: Sequence[TokenItem]) -> TokenBatch:
    """Pad sequences with −1 to the longest; images are taken row by row. The ``collate_fn`` of a data loader.

    Raises:
        ValueError: No items, or different numbers of codes.

    Example:
        >>> batch = collate_tokens([TokenItem(torch.ones(2, 3).long(), "a"), TokenItem(torch.ones(1, 3).long(), "b")])
        >>> batch.codes[:, 1].tolist(), batch.lengths.tolist()
        ([[1, 1, 1], [-1, -1, -1]], [2, 1])
    """
    codes = [item.codes.reshape(-1, item.codes.shape[-1]) for item in items]
    if len({code.shape[1] for code in codes}) != 1:
        raise ValueError(
            f"items of a batch must have equally many codes, got {sorted({c.shape[1] for c in codes})}: where a folder holds several "
            "kinds, take one of them, TokenDataset(…, kind='sound')"
        )
    longest = max(map(len, codes))
    padded = [functional.pad(code, (0, 0, 0, longest - len(code)), value=-1) for code in codes]
    return TokenBatch(torch.stack(padded), torch.tensor([len(code) for code in codes]), [item.key for item in items])
