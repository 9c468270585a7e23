"""JPEG 2000 and AVIF: what their boxes say, and Pillow leaves out: the depth of samples, and how the colours are meant.

References:
    ISO/IEC 15444-1 (JPEG 2000): annex A.5.1 (SIZ), annex I (boxes).
    ISO/IEC 14496-12 and 23008-12 (``meta``, ``colr``), AV1-ISOBMFF (``av1C``).
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.image.formats.colour import coded_profile
from vqkit.data.image.formats.modes import decoded_by_pillow
from vqkit.data.image.pixels import CannotConvertError, StoredImage

__all__ = ["read_avif", "read_jpeg2000"]

_SUPERBOXES = (b"jp2h", b"meta", b"iprp", b"ipco")
_LARGEST_BOX = 1 << 26
_CODESTREAM = b"\xff\x4f\xff\x51"
_SYCC = 18
_DEEP_AVIF = 0x40, 0x20  # bits of av1C: 10 bits, 12 bits


def read_jpeg2000(file: BinaryIO, image: Any, check_size: Callable[[int, int], None]) -> StoredImage:
    """The pixels of a JPEG 2000 file.

    Args:
        file: open for reading, and seekable.
        image: Pillow's image of it, of which nothing is decoded yet.
        check_size: called with width and height as the code stream has them, before it is decoded.

    Raises:
        CannotConvertError, Exception: as of `decoded_by_pillow`.
    """
    boxes = list(_boxes(file, (b"colr",)))
    colours = [data for name, data in boxes if name == b"colr"]
    enumerated = next((int.from_bytes(data[3:7], "big") for data in colours if data[:1] == b"\1"), 0)
    width, height, depths = _siz(file)
    check_size(width, height)
    if any(depth & 0x80 for depth in depths):
        raise CannotConvertError("it has signed samples, allowed are unsigned ones")
    bits = [(depth & 0x7F) + 1 for depth in depths]
    if max(bits) > (16 if len(bits) == 1 else 8):  # the brightest of deeper colours come out of Pillow as black
        raise CannotConvertError(f"its samples have {max(bits)} bits, allowed are 8, or 16 of gray alone")
    if enumerated == _SYCC and set(bits) != {8}:
        raise CannotConvertError(f"it is YCbCr of {bits[0]} bits, allowed are 8")
    stored = decoded_by_pillow(image)
    stored.profile = next((data[3:] for data in colours if data[:1] == b"\2"), None)
    # Pillow shifts samples to the left until they fill 8 or 16 bits, and full intensity falls short
    whites = [((1 << one) - 1) << ((16 if one > 8 else 8) - one) for one in bits]
    if len(set(whites)) == 1 and image.palette is None:
        stored.white = float(whites[0])
    elif len(whites) == stored.values[:1, :1].size + (stored.alpha is not None) and image.palette is None:
        samples = stored.values.astype(np.float32)
        stored.values = samples / np.array(whites[: samples[0, 0].size], np.float32)
        stored.alpha = None if stored.alpha is None else stored.alpha.astype(np.float32) / np.float32(whites[-1])
        stored.white = 1.0
    return stored


def read_avif(file: BinaryIO, image: Any) -> StoredImage:
    """The pixels of an AVIF file, with 8 bits a sample; errors as of `decoded_by_pillow`."""
    boxes = list(_boxes(file, (b"colr", b"av1C")))
    stored = decoded_by_pillow(image)
    deep = next((data[2] for name, data in boxes if name == b"av1C" and len(data) > 2), 0)
    if deep & _DEEP_AVIF[0]:
        stored.notes.append(f"{12 if deep & _DEEP_AVIF[1] else 10} bits a sample are read with 8")
    if image.info.get("icc_profile") is not None:
        stored.profile = image.info["icc_profile"]
        return stored
    for name, data in boxes:
        if name == b"colr" and data[:4] == b"nclx" and len(data) >= 8:
            primaries, transfer = struct.unpack(">HH", data[4:8])
            stored.profile, stored.profile_name, note = coded_profile(primaries, transfer, gray=stored.space == "gray")
            stored.notes += [note] if note else []
            break
    return stored


def _boxes(file: BinaryIO, wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of some boxes, in the order of the file; damage ends the search."""
    end = file.seek(0, 2)
    yield from _within(file, 0, end, wanted)


def _within(file: BinaryIO, at: int, end: int, wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(file.read(8), "big"), at + 16
        stop = end if size == 0 else at + size
        if stop <= start or stop > end:
            return
        if name in _SUPERBOXES:
            yield from _within(file, start + 4 * (name == b"meta"), stop, wanted)
        elif name in wanted and stop - start <= _LARGEST_BOX:
            file.seek(start)
            yield name, file.read(stop - start)
        at = stop


def _siz(file: BinaryIO) -> tuple[int, int, list[int]]:
    """Width, height, and depth of each component, of the code stream."""
    file.seek(0)
    at = 0
    if file.read(4) != _CODESTREAM:
        at = _codestream_at(file)
    file.seek(at + 4)
    head = file.read(38)
    if len(head) < 38:
        raise ValueError("the file ends within its header")
    _, _, right, bottom, left, top, _, _, _, _, count = struct.unpack(">HHIIIIIIIIH", head)
    parts = file.read(3 * count)
    if not count or len(parts) < 3 * count:
        raise ValueError("the file ends within its header")
    return right - left, bottom - top, list(parts[::3])


def _codestream_at(file: BinaryIO) -> int:
    end = file.seek(0, 2)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(file.read(8), "big"), at + 16
        if name == b"jp2c":
            return start
        if size < 8:
            break
        at += size
    raise ValueError("it has no code stream")
