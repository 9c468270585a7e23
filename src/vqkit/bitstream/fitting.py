"""Thinning of a file to as many stages as fit into a size limit."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vqkit.bitstream.editing import thin
from vqkit.bitstream.inspection import inspect
from vqkit.counts import check_numbers

__all__ = ["size_limit", "thin_to_fit"]


def thin_to_fit(
    file: BinaryIO, target: str | Path | BinaryIO, *, max_bytes: int | None = None, bpp: float | None = None
) -> tuple[int, int]:
    """Write as many stages of a file as fit into a number of bytes, or into a number of bits per pixel of its image.

    Args:
        file: a whole ``.vqk`` file that can be seeked.
        target: path or stream.
        max_bytes: largest size of the target, headers included.
        bpp: largest size of the target in bits a pixel, headers included; either this or ``max_bytes``.

    Returns:
        The stages, and the bytes written.

    Raises:
        ValueError: not even one stage fits (the message names the size it needs), bpp is not above 0, or the file holds no image for it.
    """
    file.seek(0)
    found = inspect(file)
    limit, asked = size_limit(() if found["sample_rate"] else found["image_size"], max_bytes, bpp)
    sizes: list[int] = found["thinned_bytes"][: max(1, found["stages"][1])]
    stages = sum(size <= limit for size in sizes)
    if not stages:
        raise ValueError(f"{asked}, and the smallest possible file, of one stage, has {sizes[0]} bytes")
    file.seek(0)
    thin(file, target, stages)
    return stages, sizes[stages - 1]


def size_limit(size: Sequence[int], max_bytes: int | None, bpp: float | None) -> tuple[int, str]:
    """The largest size in bytes, and in words.

    Args:
        size: sides of the image in pixels; empty for what is none.
        max_bytes: largest size of the file, headers included.
        bpp: largest size in bits a pixel; either this or ``max_bytes``.

    Raises:
        ValueError: both or neither are given, or bpp is not above 0 or for no image, or one is True or False.
    """
    check_numbers(max_bytes=max_bytes, bpp=bpp)
    if max_bytes is not None and bpp is None:
        return max_bytes, f"max_bytes is {max_bytes}"
    if bpp is None or max_bytes is not None:
        raise ValueError(f"one of max_bytes and bpp must be given, got {max_bytes} and {bpp}")
    if not bpp > 0 or not size:
        raise ValueError(
            f"bpp is {bpp}, it must be more than 0" if size else "bpp is for images, and this file holds none"
        )
    limit = int(min(bpp * math.prod(size) / 8, sys.maxsize))
    return limit, f"bpp={bpp:g} allows {limit} bytes for {'×'.join(map(str, reversed(size)))} pixels"
