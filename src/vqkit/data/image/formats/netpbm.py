"""Netpbm: PBM, PGM and PPM, plain and raw, of any greatest value up to 65535; Pillow rounds what is deeper than 8 bits.

References:
    https://netpbm.sourceforge.net/doc/ppm.html and its kin.
"""

import re
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from vqkit.data.image.pixels import StoredImage

__all__ = ["is_netpbm", "read_netpbm"]

_HEAD = re.compile(rb"P([1-6])(?:\s|#[^\n\r]*[\n\r])")
_NUMBER = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d{1,9})")
_COMMENT = re.compile(rb"#[^\n\r]*")


def is_netpbm(head: bytes) -> bool:
    """Return whether a file begins like one of Netpbm, its width included.

    Example:
        >>> is_netpbm(b"P5 640 480 255 "), is_netpbm(b"P1 is the name of a road")
        (True, False)
    """
    start = _HEAD.match(head)
    return start is not None and _NUMBER.match(head, start.end() - 1) is not None


def read_netpbm(file: BinaryIO, check_size: Callable[[int, int], None]) -> StoredImage:
    """The first image of a file of Netpbm.

    Args:
        file: open for reading, and seekable.
        check_size: called with width and height before anything is decoded.

    Raises:
        ValueError: it is damaged or cut short.
    """
    file.seek(0)
    data = file.read()
    start = _HEAD.match(data)
    kind, at = (int(start[1]), start.end() - 1) if start else (0, 0)
    numbers = []
    for _ in range(2 if kind in (1, 4) else 3):
        found = _NUMBER.match(data, at)
        if found is None:
            raise ValueError("the file ends or goes astray within its header")
        numbers.append(int(found[1]))
        at = found.end()
    width, height, most = (*numbers, 1)[:3]
    check_size(width, height)
    if not 1 <= most <= 65535:
        raise ValueError(f"its greatest value is {most}, allowed are 1 to 65535")
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = height * width * (3 if kind in (3, 6) else 1)
    notes = []
    if kind <= 3:
        values = _plain(data[at:], count, bits=kind == 1)
    else:
        row = -(-width // 8) if kind == 4 else 0
        dtype = np.dtype(np.uint8 if most < 256 else ">u2")
        size = height * row if kind == 4 else count * dtype.itemsize
        values = np.frombuffer(data, np.uint8, offset=at + 1)[:size]  # one blank follows the header
        if len(values) < size:
            raise ValueError("the file ends within its pixels")
        if kind == 4:
            values = np.unpackbits(values.reshape(height, row), axis=1)[:, :width]
        else:
            values = values.view(dtype).astype(dtype.newbyteorder("="))
        if is_netpbm(data[at + 1 + size :][:256]):
            notes.append("the first of several images; the others are left out")
    if values.max() > most:
        raise ValueError(f"it has a value of {values.max()}, and its greatest is {most}")
    if kind in (1, 4):  # of ink
        values = 1 - values
    return StoredImage(values.reshape(shape), float(most), notes=notes)


def _plain(text: bytes, count: int, bits: bool) -> np.ndarray:
    text = _COMMENT.sub(b" ", text)
    words = list(b"".join(text.split())[:count].decode("latin-1")) if bits else text.split(None, count)[:count]
    if len(words) < count:
        raise ValueError("the file ends within its pixels")
    values = np.array(words).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("it has a value that is no number of 16 bits")
    return values.astype(np.uint16)
