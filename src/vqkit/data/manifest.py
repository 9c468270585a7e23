"""The table that describes a data set: ``manifest.csv`` with a path, relative to its folder, and a split for every file.

Columns
    ``path`` and ``split`` are required. ``group``, ``duration`` (seconds) and ``sample_rate`` (Hz) are understood; all others
    (label, speaker, language, text, licence …) are kept as text.
"""

import csv
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from vqkit.modality import MODALITIES

_MEDIA = frozenset(suffix for modality in MODALITIES for suffix in modality.suffixes)
_REQUIRED = ("path", "split")
_SHOWN = 3  # offenders named in an error


def read_manifest(
    path: Path, suffixes: frozenset[str], wanted: Callable[[Path], bool | None] | None = None
) -> list[dict[str, str]]:
    """Read and check the rows of a manifest whose path ends in one of ``suffixes``; rows of other media are left out.

    Args:
        path: the csv file, UTF-8.
        suffixes: lower-case suffixes with their dot, such as ``{".wav", ".flac"}``.
        wanted: whether a file whose suffix is of no medium belongs to these, by its content.

    Returns:
        One dictionary a row, column → text, in the order of the file.

    Raises:
        FileNotFoundError: there is no such manifest, or files that it lists are missing.
        ValueError: a column is missing, a row is malformed, or a path is listed twice or leaves the folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such manifest: {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            missing = [column for column in _REQUIRED if column not in columns]
            if missing:
                raise ValueError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"{path} line {reader.line_num}: expected {len(columns)} fields as in the header")
                suffix = PurePosixPath(row["path"]).suffix.lower()
                told = wanted is not None and suffix not in _MEDIA and not _leaves(row["path"])
                if suffix in suffixes or (told and wanted and wanted(path.parent / row["path"])):
                    rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a csv file in UTF-8: {error}") from None
    names = [row["path"] for row in rows]
    normal = [PurePosixPath(name).as_posix() for name in names]
    _refuse(path, "paths that are absolute or leave the folder", [name for name in names if _leaves(name)])
    _refuse(path, "paths listed twice", [name for name, times in Counter(normal).items() if times > 1])
    absent = [name for name in names if not (path.parent / name).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{path} lists {_count(absent)} that {'do' if len(absent) > 1 else 'does'} not exist: {_few(absent)}"
        )
    return rows


def number(row: dict[str, str], column: str, manifest: Path) -> float:
    """A numeric field of a row, 0 where the column is absent or blank.

    Raises:
        ValueError: the field is not a finite number of at least 0.
    """
    text = row.get(column, "").strip()
    try:
        value = float(text or 0)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{manifest}: {column} of {row['path']} is {text!r}, expected a number of at least 0")
    return value


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name)
    return parts.is_absolute() or ".." in parts.parts or "\\" in name or Path(name).is_absolute()


def _refuse(manifest: Path, what: str, names: list[str]) -> None:
    if names:
        raise ValueError(f"{manifest} has {len(names)} {what}: {_few(names)}")


def _count(names: list[str]) -> str:
    return f"{len(names)} file{'s' if len(names) > 1 else ''}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
