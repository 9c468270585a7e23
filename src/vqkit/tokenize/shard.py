"""Token files: the codes of one unit as Parquet, as a webdataset tar, or both. The same items give the same bytes.

Conventions
    Codes are flattened in their order, the codes of a frame side by side; ``shape`` says
    (frames, num_codes), (rows, columns, num_codes) or (times, rows, columns, num_codes).
    They are int16 where every code fits, else uint16 or int32.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqkit.files import NewFile
from vqkit.tokenize.item import Encoded
from vqkit.types import need

__all__ = ["FORMATS", "PARQUET", "TAR", "code_dtype", "write_shard"]

PARQUET, TAR = "parquet", "webdataset"
FORMATS = (PARQUET, TAR)
_SUFFIXES = {PARQUET: ".parquet", TAR: ".tar"}
_ROWS = 64  # of a row group: what a reader has to decode for one item

Row = tuple[str, Encoded]
"""An item's key and its codes."""


def code_dtype(largest_code: int) -> np.dtype:
    """The least integers that hold codes up to one.

    Example:
        >>> [code_dtype(n).name for n in (1023, 2**15 - 1, 2**16 - 1, 2**20)]
        ['int16', 'int16', 'uint16', 'int32']

    Raises:
        ValueError: No 32-bit integer does.
    """
    for dtype in (np.int16, np.uint16, np.int32):
        if largest_code <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise ValueError(f"codes up to {largest_code} do not fit into 32 bits: use a smaller alphabet, or .vqk files")


def write_shard(
    folder: Path, name: str, rows: Sequence[Row], formats: Sequence[str], dtype: np.dtype, about: dict[str, Any]
) -> list[Path]:
    """Write the items of a unit.

    Args:
        folder: Folder of all token files.
        name: Name of this one, without suffix.
        rows: Items that have codes.
        formats: Formats to write, of `FORMATS`.
        dtype: Dtype of the codes.
        about: Kept in each Parquet file: models and settings.

    Returns:
        The files, each of which appeared when it was complete.
    """
    makers = {PARQUET: _parquet, TAR: _tar}
    paths = []
    for kind in formats:
        paths.append(folder / f"{name}{_SUFFIXES[kind]}")
        with NewFile(paths[-1], make_folders=True) as new:
            makers[kind](new, rows, dtype, about)
    return paths


def _parquet(new: NewFile, rows: Sequence[Row], dtype: np.dtype, about: dict[str, Any]) -> None:
    arrow, parquet = need("pyarrow", "image"), need("pyarrow.parquet", "image")
    codes = arrow.list_(arrow.from_numpy_dtype(dtype))
    with_files = any(encoded.vqk for _, encoded in rows)
    fields = [
        ("key", arrow.string()),
        ("kind", arrow.string()),
        ("codes", codes),
        ("shape", arrow.list_(arrow.int32())),
        ("seconds", arrow.float64()),
        ("size", arrow.list_(arrow.int32())),
        ("notes", arrow.list_(arrow.string())),
        *([("vqk", arrow.binary())] if with_files else []),
    ]
    schema = arrow.schema(fields, metadata={"vqkit": json.dumps(about, sort_keys=True)})
    columns = {
        "key": [key.encode("utf-8", "backslashreplace").decode() for key, _ in rows],
        "kind": [encoded.kind for _, encoded in rows],
        "codes": [encoded.codes.reshape(-1).astype(dtype) for _, encoded in rows],
        "shape": [list(encoded.codes.shape) for _, encoded in rows],
        "seconds": [encoded.seconds for _, encoded in rows],
        "size": [list(encoded.size) for _, encoded in rows],
        "notes": [list(encoded.notes) for _, encoded in rows],
        "vqk": [encoded.vqk for _, encoded in rows],
    }
    arrays = [arrow.array(columns[name], kind) for name, kind in fields]
    with parquet.ParquetWriter(new.file, schema, compression="zstd") as writer:
        writer.write_table(arrow.table(arrays, schema=schema), row_group_size=_ROWS)


def _tar(new: NewFile, rows: Sequence[Row], dtype: np.dtype, about: dict[str, Any]) -> None:
    """Members ``000012.npy`` (codes in their shape) and ``000012.json``, and ``000012.vqk`` where files are kept."""
    with tarfile.open(fileobj=new.file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, (key, encoded) in enumerate(rows):
            codes = io.BytesIO()
            np.save(codes, encoded.codes.astype(dtype))
            what = {"key": key, "kind": encoded.kind, "seconds": encoded.seconds, "size": list(encoded.size)}
            _add(tar, f"{number:06d}.npy", codes.getvalue())
            _add(tar, f"{number:06d}.json", json.dumps({**what, "notes": list(encoded.notes)}).encode())
            if encoded.vqk:
                _add(tar, f"{number:06d}.vqk", encoded.vqk)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # without time, user and rights of their own: the same bytes every time
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
