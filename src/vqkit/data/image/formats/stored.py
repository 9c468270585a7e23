"""An open image file → its pixels as they are stored, by the reader that knows its format best."""

import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from vqkit.data.image.formats.boxes import read_avif, read_jpeg2000
from vqkit.data.image.formats.colour import described_profile
from vqkit.data.image.formats.modes import decoded_by_pillow
from vqkit.data.image.formats.netpbm import is_netpbm, read_netpbm
from vqkit.data.image.formats.png import PNG_START, bare_png, read_png
from vqkit.data.image.formats.tiff import read_tiff
from vqkit.data.image.formats.tiff_tags import TIFF_STARTS
from vqkit.data.image.pixels import StoredImage
from vqkit.types import need

__all__ = ["RefusedError", "read_stored"]

# Pillow's other readers are left out: some run other programs (EPS), others are of no use here.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_HEAD_BYTES = 256
_ORIENTATION, _INTEROPERABILITY = 0x0112, 0xA005
_ADOBE_PRIMARIES = ((0.3127, 0.3290), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_ADOBE_GAMMA = 563 / 256
_BMP_V5_BYTES, _EMBEDDED = 124, b"DEBM"
_LARGEST_PROFILE = 1 << 26


class RefusedError(Exception):
    """The file is no image, or too large, or its header is damaged; the message is a predicate to the file's name."""


def read_stored(file: BinaryIO, max_megapixels: float) -> StoredImage:
    """The pixels of an image file.

    Args:
        file: open for reading, and seekable.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.

    Raises:
        RefusedError: see there.
        CannotConvertError: its samples have no known white.
        ImportError: Pillow is not installed.
        Exception: it is damaged or cut short.
    """
    need("PIL.Image", "image")
    check_size = partial(_check_size, max_megapixels)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head[:4] in TIFF_STARTS:
        return read_tiff(file, check_size)
    if is_netpbm(head):
        return read_netpbm(file, check_size)
    bare = bare_png(file) if head.startswith(PNG_START) else file
    image = _opened(bare, check_size)
    if image.format == "PNG":
        stored = read_png(file, image, lambda: _opened(bare, check_size))
    elif image.format == "JPEG2000":
        stored = read_jpeg2000(file, image, check_size)
    elif image.format == "AVIF":
        stored = read_avif(file, image)
    else:
        stored = decoded_by_pillow(image)
        if "icc_profile" in image.info:
            stored.profile = image.info["icc_profile"] or b""  # None where its parts do not fit together
        elif image.format == "BMP":
            stored.profile = _profile_of_bmp(file)
        elif image.format in ("JPEG", "MPO"):
            _say_adobe(image, stored)
    stored.orientation = _orientation(image)
    stored.notes += _further(image)
    return stored


def _check_size(max_megapixels: float, width: int, height: int) -> None:
    if not (min(width, height) > 0 and width * height <= max_megapixels * 1e6):
        raise RefusedError(
            f"has {width} × {height} pixels, allowed are at least 1 and at most {max_megapixels:g} megapixels"
        )


def _opened(file: BinaryIO, check_size: Callable[[int, int], None]) -> Any:
    """Open the file as a Pillow image whose header is checked and of which nothing is decoded.

    ``Image.open`` does the same, but for its own limit of pixels, which is for the whole process.
    """
    pillow: Any = need("PIL.Image", "image")
    pillow.init()
    file.seek(0)
    head = file.read(16)
    for kind in _FORMATS:
        create, accepts = pillow.OPEN.get(kind, (None, None))
        if create is None or not (accepts is None or accepts(head) is True):
            continue
        file.seek(0)
        try:
            image = create(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # it only began like one
            continue
        except Exception as error:  # a header that breaks Pillow's parser
            raise RefusedError(
                f"has a damaged header: {' '.join(str(error).split()) or type(error).__name__}"
            ) from None
        check_size(*image.size)
        return image
    raise RefusedError(f"is not an image that can be read, allowed are {', '.join(_FORMATS)}")


def _orientation(image: Any) -> int:
    """EXIF orientation, 1 to 8."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the orientation
        return 1


def _say_adobe(image: Any, stored: StoredImage) -> None:
    """Cameras may write Adobe RGB without a profile, and say so in EXIF alone (DCF 2.0)."""
    with suppress(Exception):  # a damaged EXIF block says nothing
        if stored.space == "RGB" and image.getexif().get_ifd(_INTEROPERABILITY).get(1) == "R03":
            stored.profile = described_profile(_ADOBE_PRIMARIES, _ADOBE_GAMMA, gray=False)
            stored.profile_name = "Adobe RGB"


def _profile_of_bmp(file: BinaryIO) -> bytes | None:
    """The profile that a BMP file with a header of version 5 may hold, which Pillow passes over."""
    file.seek(14)
    header = file.read(_BMP_V5_BYTES)
    if len(header) < _BMP_V5_BYTES or header[:4] != struct.pack("<I", _BMP_V5_BYTES) or header[56:60] != _EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", header, 112)
    file.seek(14 + start)
    return file.read(size) if size <= _LARGEST_PROFILE else b""


def _further(image: Any) -> list[str]:
    """A note of what follows the first frame or picture."""
    word = "pictures" if image.format == "MPO" else "frames"
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # damage behind the first frame
        return [f"the first of several {word}; the others are left out"]
    return [f"the first of {count} {word}; the others are left out"] if count > 1 else []
