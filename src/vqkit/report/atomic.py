"""A file is either the old one or the complete new one: written beside its place, then moved over it."""

import os
import tempfile
from pathlib import Path

__all__ = ["write_bytes"]


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file so that a reader never sees half of it.

    Args:
        path: where to write; missing folders are made.
        content: the whole file.

    Returns:
        The path.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_bytes(folder / "plots" / "a.txt", b"done").read_bytes()
        b'done'
        >>> [file.name for file in (folder / "plots").iterdir()]
        ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
