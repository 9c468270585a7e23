"""Folders that ``vqkit tokenize`` wrote, as they are read: the manifest, and the items of a shard in either form.

TOKENS/manifest.json ─ shards/00000000.parquet, or .tar ─ key, kind, codes and shape of each item
"""

import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqkit.types import need

__all__ = ["TokenFiles", "TokenItem", "is_token_folder", "read_manifest", "read_shard"]

# as `vqkit.tokenize`, a room above this one, writes them
_MANIFEST, _SHARDS, _PLAN = "manifest.json", "shards", Path(".vqkit", "plan.jsonl")
_HEAD = b'"format": "vqkit tokens'  # how a manifest begins, behind its bracket


class TokenItem(NamedTuple):
    """Item of a token data set; a named tuple, which data loaders can move between devices.

    Attributes:
        codes: int64, (frames, num_codes), (rows, columns, num_codes) of an image, or what a pattern makes of them.
        key: Name of the item in the corpus.
    """

    codes: Tensor
    key: str


class TokenFiles:
    """All items of a finished run, whole and in the order of the corpus; Parquet where there is any, else tars.

    `vqkit.tokenize.TokenDataset` has crops, patterns and a choice of kinds beside.

    Args:
        folder: Folder that ``vqkit tokenize`` wrote.

    Raises:
        FileNotFoundError: No finished run lies there.
        ValueError: The manifest is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self._places = [
            (shard, row) for shard, entry in enumerate(self.manifest["shards"]) for row in range(entry["items"])
        ]
        self._open: tuple[int, dict[str, list[Any]]] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> TokenItem:
        shard, row = self._places[index]
        if self._open is None or self._open[0] != shard:
            self._open = shard, read_shard(self.folder, self.manifest["shards"][shard])
        columns = self._open[1]
        codes = columns["codes"][row].astype(np.int64).reshape(columns["shape"][row])
        return TokenItem(torch.from_numpy(codes), columns["key"][row])


def is_token_folder(folder: str | Path) -> bool:
    """Whether ``vqkit tokenize`` is at work in a folder, or was.

    Example:
        >>> is_token_folder("no such folder")
        False
    """
    if (Path(folder) / _PLAN).is_file():
        return True
    try:
        with (Path(folder) / _MANIFEST).open("rb") as file:
            return _HEAD in file.read(64)
    except OSError:
        return False


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder of token files.

    Raises:
        FileNotFoundError: There is none: no such folder, or a run that is not finished.
        ValueError: It is damaged.
    """
    path = Path(folder) / _MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {_MANIFEST}: it is no finished run of vqkit tokenize")
    try:
        content = json.loads(path.read_bytes())
        wrong = content["format"] != "vqkit tokens 1"
        names = [entry["name"] for shard in content["shards"] for entry in shard["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if wrong or any(Path(name).name != name for name in names):
        raise ValueError(f"{path} is of another format, or names files outside of the folder")
    return dict(content)


def read_shard(
    folder: Path, shard: dict[str, Any], wanted: tuple[str, ...] = ("key", "kind", "codes", "shape")
) -> dict[str, list[Any]]:
    """The items of a shard, column by column; codes are flat arrays.

    Args:
        folder: Folder of the token files.
        shard: Its entry in the manifest.
        wanted: Columns to read.

    Raises:
        ValueError: The file cannot be read.
    """
    names = [str(entry["name"]) for entry in shard["files"]]
    path = folder / _SHARDS / next((name for name in names if name.endswith(".parquet")), names[0])
    try:
        columns = _parquet(path, wanted) if path.suffix == ".parquet" else _tar(path, wanted)
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if any(len(column) != shard["items"] for column in columns.values()):
        raise ValueError(f"{path} does not hold the {shard['items']} items that the manifest says")
    return columns


def _parquet(path: Path, wanted: tuple[str, ...]) -> dict[str, list[Any]]:
    table = need("pyarrow.parquet", "image").read_table(path, columns=list(wanted))
    columns = {name: table[name].to_pylist() for name in wanted if name != "codes"}
    if "codes" in wanted:
        lists = table["codes"].combine_chunks()
        ends, flat = lists.offsets.to_numpy(), lists.values.to_numpy()  # no copy: a view of each item is cut from it
        columns["codes"] = [flat[first:last] for first, last in pairwise(ends)]
    return columns


def _tar(path: Path, wanted: tuple[str, ...]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "kind", "codes", "shape")}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            file = tar.extractfile(member)
            suffix = Path(member.name).suffix
            if file is None or suffix not in (".npy", ".json"):
                continue
            data = file.read()
            if suffix == ".npy":
                codes = np.load(io.BytesIO(data), allow_pickle=False)
                columns["codes"].append(codes.reshape(-1))
                columns["shape"].append(list(codes.shape))
            else:
                about = json.loads(data)
                columns["key"].append(about["key"])
                columns["kind"].append(about["kind"])
    return {name: columns[name] for name in wanted}
