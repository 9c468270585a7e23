"""PNG: what its chunks say and Pillow leaves out: all 16 bits of colours, transparent values, and how the colours are meant.

References:
    PNG specification, third edition, W3C 2025: sections 11.2 (IHDR), 11.3.1 (tRNS), 11.3.2 (colour).
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.image.formats.colour import SRGB_CURVE, SRGB_PRIMARIES, coded_profile, described_profile
from vqkit.data.image.formats.modes import decoded_by_pillow
from vqkit.data.image.pixels import CannotConvertError, StoredImage

__all__ = ["PNG_START", "bare_png", "read_png"]

PNG_START = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_LARGEST_PROFILE = 1 << 26  # decompressed bytes
_GAMMA_OF_SRGB, _NEAR = 0.45455, 0.005  # what is so near to 1 / 2.2 says sRGB
_COLOURS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP")
_TEXTS = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
_LARGEST_CHUNK = 1 << 26


def bare_png(file: BinaryIO) -> BinaryIO:
    """The same file without text and profile, which Pillow would decompress, and refuse the image where they are large or damaged."""
    file.seek(len(PNG_START))
    kept = [PNG_START]
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            kept += [head, file.read()]
            break
        data = file.read(size + 4)
        if name not in _TEXTS:
            kept += [head, data]
    return io.BytesIO(b"".join(kept))


def read_png(file: BinaryIO, image: Any, again: Callable[[], Any]) -> StoredImage:
    """Read the pixels of a PNG file with their colour space.

    Args:
        file: file that is open for reading, and seekable.
        image: Pillow's image of it, of which nothing is decoded yet.
        again: opens another image of the file.

    Raises:
        CannotConvertError, Exception: as of `decoded_by_pillow`.
    """
    chunks = _chunks(file)
    bits, colour = chunks[b"IHDR"][8:10]
    clear = chunks.get(b"tRNS", b"")
    if bits == 16 and colour != _GRAY:
        stored = _deep(image, again, colour)
    else:
        if colour != _PALETTE:  # Pillow compares values before and after scaling
            image.info.pop("transparency", None)
        stored = decoded_by_pillow(image)
    if colour == _GRAY and len(clear) >= 2:
        key = int.from_bytes(clear[:2], "big") * stored.white / ((1 << bits) - 1)
        stored.alpha = _opaque(stored.values != key, stored)
    elif colour == _RGB and len(clear) >= 6:
        stored.alpha = _opaque((stored.values != np.array(struct.unpack(">3H", clear[:6]))).any(-1), stored)
    _say_colours(stored, chunks, gray=colour in (_GRAY, _GRAY_ALPHA))
    return stored


def _opaque(where: np.ndarray, image: StoredImage) -> np.ndarray:
    return where.astype(image.values.dtype) * image.values.dtype.type(image.white)


def _chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks before the pixels that are of interest."""
    found: dict[bytes, bytes] = {}
    file.seek(len(PNG_START))
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            break
        if name in (b"IHDR", b"tRNS", *_COLOURS) and size <= _LARGEST_CHUNK:
            found[name] = file.read(size)
            file.seek(4, 1)
        else:
            file.seek(size + 4, 1)
    return found


def _deep(image: Any, again: Callable[[], Any], colour: int) -> StoredImage:
    """Colours, or gray and alpha, of 16 bits: Pillow keeps one byte of each sample, so it decodes twice."""

    def decoded(one: Any, raw: str) -> np.ndarray:
        one.tile = [tile._replace(args=raw) for tile in one.tile]
        one.load()
        return np.asarray(one)

    if colour == _GRAY_ALPHA:  # four bytes a pixel, like RGBA
        pairs = np.ascontiguousarray(decoded(image, "RGBA")).view(">u2").astype(np.uint16)
        return StoredImage(pairs[..., 0], 65535.0, pairs[..., 1])
    mode = "RGB" if colour == _RGB else "RGBA"
    # read as little-endian, the high byte is the one that is low in the file
    values = decoded(image, f"{mode};16B").astype(np.uint16) << 8 | decoded(again(), f"{mode};16L")
    return StoredImage(values[..., :3], 65535.0, values[..., 3] if colour == _RGBA else None)


def _say_colours(image: StoredImage, chunks: dict[bytes, bytes], gray: bool) -> None:
    """Give an image the profile that its chunks contain or describe; one that says more goes before one that says less."""
    if len(points := chunks.get(b"cICP", b"")) == 4:
        image.profile, image.profile_name, note = coded_profile(points[0], points[1], gray=gray)
        image.notes += [note] if note else []
    elif b"iCCP" in chunks:
        image.profile = _unpacked(chunks[b"iCCP"])
    elif b"sRGB" not in chunks and (b"gAMA" in chunks or b"cHRM" in chunks):
        numbers = [value / 100000 for value in struct.unpack(">8I", chunks.get(b"cHRM", b"").ljust(32, b"\0")[:32])]
        primaries = [numbers[at : at + 2] for at in range(0, 8, 2)] if any(numbers) else SRGB_PRIMARIES
        gamma = int.from_bytes(chunks.get(b"gAMA", b"")[:4], "big") / 100000
        curve = SRGB_CURVE if not gamma or abs(gamma - _GAMMA_OF_SRGB) < _NEAR else 1 / gamma
        if curve is SRGB_CURVE and (gray or primaries is SRGB_PRIMARIES):
            return
        try:
            image.profile = described_profile(primaries, curve, gray=gray)
            image.profile_name = "the gamma and primaries of its header"
        except CannotConvertError as error:
            image.notes.append(f"the colours that its header describes are taken for sRGB: {error}")


def _unpacked(chunk: bytes) -> bytes:
    """The profile of an ``iCCP`` chunk; nothing where it is damaged."""
    _, separator, packed = chunk.partition(b"\0")
    if not separator or packed[:1] != b"\0":
        return b""
    reader = zlib.decompressobj()
    try:
        profile = reader.decompress(packed[1:], _LARGEST_PROFILE)
    except zlib.error:
        return b""
    return profile if reader.eof else b""
