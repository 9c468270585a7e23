"""Streams of codes from ``.vqk`` files, as the ids that a generator learns.

file.vqk ─ codes (frames, num_codes) ─ packing ─ ids (frames, num_ids) ─ crops
pictures/file.vqk ─ codes of pictures ─ bridge ─ vectors ─ one for each frame ─┘
"""

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqkit.bitstream import EntropyModel, VqkHeader, VqkReader
from vqkit.data.folders import class_of, split_of, walk
from vqkit.data.unreadable import readable
from vqkit.models.generator.bridge import ConditionBridge, align
from vqkit.models.generator.packing import StagePacking
from vqkit.types import Float, Int

__all__ = [
    "TokenCrops",
    "TokenItem",
    "TokenStream",
    "WholeStreams",
    "list_tokens",
    "read_file",
    "read_streams",
    "with_splits",
]

TokenItem = dict[str, Tensor]
"""``codes`` (frames, num_ids) int64, −1 behind the end; ``class`` int64, −1 for none; ``condition`` (frames, dim), where there is one."""

_VQK = frozenset({".vqk"})


@dataclass(frozen=True)
class TokenFile:
    """A file of codes in a data set.

    Attributes:
        path: where it is.
        name: its path within the data set, with forward slashes.
        split: "train", "valid", "test", or "" where none is known.
    """

    path: Path
    name: str
    split: str


@dataclass(frozen=True)
class TokenStream:
    """The codes of a file.

    Attributes:
        name: name of the file within its data set.
        label: its class: ``label`` in the file's metadata, or the innermost folder that is no split; "" for none.
        ids: ``(frames, num_ids)`` int32.
        header: header of the file.
        condition: one vector a picture, or None.
        pictures_per_frame: pictures a second over frames a second; 0 without condition.
    """

    name: str
    label: str
    ids: Int[Tensor, "frames num_ids"]
    header: VqkHeader
    condition: Float[Tensor, "pictures condition_dim"] | None = None
    pictures_per_frame: float = 0.0


def list_tokens(source: str | Path, split: str | None = None) -> list[TokenFile]:
    """List the ``.vqk`` files of a folder, sorted by name.

    A part of the path named train, valid, validation or test gives the split. Where no file has one, every tenth by the hash of its name
    is of split "valid" and the others of "train", and a warning says so.

    Args:
        source: the folder.
        split: keep this split only.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no such files in it, or none of the split.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    names = sorted(walk(folder, _VQK))
    if not names:
        raise ValueError(
            f"{folder} holds no .vqk files, which `vqkit encode` makes, and is no folder that `vqkit tokenize` wrote"
        )
    splits = dict(zip(names, with_splits(names, split, str(folder)), strict=True))
    kept = [TokenFile(folder / name, name, splits[name]) for name in names if split in (None, splits[name])]
    if not kept:
        there = ", ".join(repr(word) for word in sorted(set(splits.values())))
        raise ValueError(f"{folder} has no files of split {split!r}; there is {there}")
    return kept


def with_splits(names: Sequence[str], split: str | None, called: str) -> list[str]:
    """The split of each name, by its folders; where none names one and one is asked for, by the hash of the name."""
    found = [split_of(name) for name in names]
    if not any(found) and split is not None:
        warnings.warn(
            f"no folder in {called} names a split: by the hash of its name every tenth item is valid", stacklevel=3
        )
        found = ["train" if zlib.crc32(name.encode()) % 10 else "valid" for name in names]
    return found


def read_file(
    file: TokenFile,
    *,
    packed: bool,
    prior: EntropyModel | None = None,
    conditions: Path | None = None,
    bridge: ConditionBridge | None = None,
) -> list[TokenStream]:
    """Read the codes of a file, and the pictures that belong to it. Of many still pictures each is a stream of its own.

    Args:
        file: file of codes.
        packed: one id a stage; else one a code.
        prior: entropy model that the file was written with, unless it is plain.
        conditions: folder with a file of pictures' codes under the same name.
        bridge: makes vectors of those.

    Raises:
        ValueError: a file is damaged or empty, or does not fit its bridge.
    """
    codes, header = _read(file.path, prior)
    packing = (
        StagePacking.from_sizes(header.code_sizes, header.codes_per_stage)
        if packed
        else StagePacking.of_codes(header.code_sizes)
    )
    label = header.metadata.get("label", class_of(file.name))
    ids = packing.pack(codes).to(torch.int32)
    cells = max(1, prod(header.grid))
    if header.grid and not header.frame_rate and len(ids) > cells:
        return _pictures(file, ids, header, cells)
    if conditions is None or bridge is None:
        return [TokenStream(file.name, label, ids, header)]
    seen, about = _read(conditions / file.name, None)
    cells = max(1, prod(about.grid))
    if not about.frame_rate or not header.frame_rate or len(seen) % cells:
        raise ValueError(
            f"{conditions / file.name} and {file.path} must both have a rate, and the first whole pictures"
        )
    vectors = bridge(seen.view(-1, cells, seen.shape[1]))
    return [TokenStream(file.name, label, ids, header, vectors, about.frame_rate / cells / header.frame_rate)]


def _pictures(file: TokenFile, ids: Tensor, header: VqkHeader, cells: int) -> list[TokenStream]:
    """The pictures of a file that `vqkit.models.generator.picture_tokens.write_pictures` wrote."""
    count, rest = divmod(len(ids), cells)
    labels = header.metadata.get("labels", "").split("\n") if "labels" in header.metadata else [""] * count
    if rest or len(labels) != count:
        raise ValueError(f"{file.path} has {len(ids)} cells and {len(labels)} labels of pictures of {cells} cells")
    parts = ids.view(count, cells, -1)
    return [TokenStream(f"{file.name}/{i}", labels[i], parts[i], header) for i in range(count)]


def _read(path: Path, prior: EntropyModel | None) -> tuple[Tensor, VqkHeader]:
    with VqkReader(path, entropy_model=prior) as reader:
        codes = reader.read()
        if reader.damage or not len(codes):
            raise ValueError(f"{path}: {reader.damage[0] if reader.damage else 'no codes in it'}")
        return codes, reader.header


def read_streams(
    files: Sequence[TokenFile],
    packed: bool,
    prior: EntropyModel | None,
    conditions: Path | None,
    bridge: ConditionBridge | None,
) -> list[TokenStream]:
    """Read all files; one that cannot be read is left out and named in a warning. All must be codes of one model.

    Raises:
        ValueError: none can be read, or they were written by different models.
    """
    found = [
        stream
        for _, streams in readable(
            files,
            lambda file: file.path,
            lambda file: read_file(file, packed=packed, prior=prior, conditions=conditions, bridge=bridge),
        )
        for stream in streams
    ]
    kinds = {(stream.header.code_sizes, stream.header.model_hash) for stream in found}
    if len(kinds) > 1:
        names = sorted({f"{stream.header.model} {stream.header.model_hash[:12]}" for stream in found})
        raise ValueError(
            f"the files are codes of different models, a generator learns those of one: {', '.join(names)}"
        )
    return found


def cut(stream: TokenStream, first: int, frames: int, classes: Sequence[str]) -> TokenItem:
    """Frames of a stream; behind its end codes are −1.

    Raises:
        ValueError: its class is not among those of the generator.
    """
    codes = torch.full((frames, stream.ids.shape[1]), -1)
    part = stream.ids[first : first + frames]
    codes[: len(part)] = part
    if classes and stream.label not in classes:
        raise ValueError(f"{stream.name} has class {stream.label!r}, the generator has {', '.join(classes)}")
    item = {"codes": codes}
    if classes:
        item["class"] = torch.tensor(classes.index(stream.label))
    if stream.condition is not None:
        item["condition"] = align(stream.condition, frames, stream.pictures_per_frame, first)
    return item


class TokenCrops(Dataset[TokenItem]):
    """Random crops of streams, epoch after epoch; item n depends on the streams, the seed and n only.

    An epoch has each stream as often as it holds crops, so that long ones are not neglected.

    Args:
        streams: where crops are from.
        frames: number of frames of a crop; shorter streams are padded.
        length: items in all.
        classes: number of classes of the generator.
        seed: seed of order and places.
    """

    def __init__(
        self, streams: Sequence[TokenStream], frames: int, length: int, classes: Sequence[str], seed: int
    ) -> None:
        self.streams, self.frames, self.length = streams, frames, length
        self.classes, self.seed = tuple(classes), seed
        self._shares = [i for i, stream in enumerate(streams) for _ in range(-(-len(stream.ids) // frames))]
        self._epoch = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> TokenItem:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        epoch, place = divmod(index, len(self._shares))
        if epoch != self._epoch:
            order = np.random.default_rng(np.random.SeedSequence((self.seed, epoch))).permutation(len(self._shares))
            self._order, self._epoch = order.tolist(), epoch
        stream = self.streams[self._shares[self._order[place]]]
        spare = max(0, len(stream.ids) - self.frames)
        own = np.random.default_rng(np.random.SeedSequence((self.seed, index), spawn_key=(1,)))
        return cut(stream, int(own.integers(spare + 1)), self.frames, self.classes)


class WholeStreams(Dataset[TokenItem]):
    """Streams cut into consecutive windows, so many of them; behind the last one come items without a code, which count nothing.

    Args:
        streams: where windows are from.
        frames: number of frames of a window.
        most: windows to keep, evenly spread.
        classes: number of classes of the generator.
        own: numbers of the windows that this process has, where there are several.
    """

    def __init__(
        self, streams: Sequence[TokenStream], frames: int, most: int, classes: Sequence[str], rank: int, world_size: int
    ) -> None:
        places = [(stream, first) for stream in streams for first in range(0, len(stream.ids), frames)]
        kept = min(most, len(places))
        self.places = [places[i * len(places) // kept] for i in range(kept)]
        self.frames, self.classes, self.rank, self.world_size = frames, tuple(classes), rank, world_size

    def __len__(self) -> int:
        return -(-len(self.places) // self.world_size)

    def __getitem__(self, index: int) -> TokenItem:
        place = index * self.world_size + self.rank
        stream, first = self.places[place % len(self.places)]
        item = cut(stream, first, self.frames, self.classes)
        if place >= len(self.places):
            item["codes"] = torch.full_like(item["codes"], -1)
        return item
