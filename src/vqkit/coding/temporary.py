"""Temporary files in place of pipes, for libraries that need a file."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["read_as_file", "written_as_file"]


@contextmanager
def read_as_file(source: str | Path | BinaryIO) -> Iterator[Path]:
    """Yield a path unchanged; for a stream the path of a temporary file with all its bytes, which errors do not name."""
    if isinstance(source, str | Path):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
        try:
            yield path
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "it")) from None


@contextmanager
def written_as_file(target: str | Path | BinaryIO, suffix: str) -> Iterator[Path]:
    """Yield a path unchanged; for a stream the path of a temporary file with this suffix, copied to the stream if nothing fails."""
    if isinstance(target, str | Path):
        yield Path(target)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"output{suffix}"
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, target)
        target.flush()
