"""Data sets kept as folders: the files, and what their folders' names say."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


def walk(folder: Path, suffixes: frozenset[str]) -> Iterator[str]:
    """Names of the files under a folder with one of these lower-case suffixes; hidden files and folders are passed over."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in suffixes:
                yield (Path(parent) / file).relative_to(folder).as_posix()


def split_of(name: str) -> str:
    """The split that the innermost folder of a known name stands for, or ""."""
    parts = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    return next((SPLITS[part] for part in reversed(parts) if part in SPLITS), "")


def class_of(name: str) -> str:
    """The innermost folder that is no split, or ""."""
    parts = PurePosixPath(name).parts[:-1]
    return next((part for part in reversed(parts) if part.lower() not in SPLITS), "")
