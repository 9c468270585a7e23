"""As many stages of a file as fit into so many bytes."""

from pathlib import Path
from typing import BinaryIO

from vqkit.bitstream.editing import thin
from vqkit.bitstream.inspection import inspect

__all__ = ["thin_to_fit"]


def thin_to_fit(
    file: BinaryIO, target: str | Path | BinaryIO, max_bytes: int, asked: str | None = None
) -> tuple[int, int]:
    """Write as many stages of a file as fit into so many bytes.

    Args:
        file: a whole ``.vqk`` file that can be seeked.
        target: path or stream.
        max_bytes: headers included.
        asked: what the message of an error calls the limit.

    Returns:
        The stages, and the bytes written.

    Raises:
        ValueError: not even one stage fits; the message names the size it needs.
    """
    file.seek(0)
    found = inspect(file)
    sizes: list[int] = found["thinned_bytes"][: max(1, found["stages"][1])]
    stages = sum(size <= max_bytes for size in sizes)
    if not stages:
        raise ValueError(
            f"{asked or f'max_bytes is {max_bytes}'}, and the smallest possible file, of one stage, has {sizes[0]} bytes"
        )
    file.seek(0)
    thin(file, target, stages)
    return stages, sizes[stages - 1]
