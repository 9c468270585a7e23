"""Image file → tensor: formats, bit depths, colours, orientation and damaged files are dealt with here, once.

The header is checked before any pixel is decoded, so a small file that promises a huge image costs nothing.

    file ─ header ─ pixels as stored ─ sRGB ─ alpha on white ─ upright ─ tensor
                    (`StoredImage`)
"""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor

from vqkit.data.image.formats.colour import in_srgb
from vqkit.data.image.formats.stored import RefusedError, read_stored
from vqkit.data.image.pixels import CannotConvertError, check_channels, pixels_to_tensor
from vqkit.types import Float

__all__ = ["MAX_MEGAPIXELS", "ReadImage", "check_megapixels", "decode_image", "read_image", "read_image_with_notes"]

MAX_MEGAPIXELS = 64.0  # by default


@dataclass(frozen=True)
class ReadImage:
    """An image, and what its file holds besides.

    Attributes:
        image: float32 in [0, 1], ``(channels, height, width)``.
        notes: notes on what was converted or left out, such as alpha, further pages, or a colour profile; a clause each.
    """

    image: Float[Tensor, "channels height width"]
    notes: tuple[str, ...]


def read_image(
    path: str | Path, channels: int | None = 3, max_megapixels: float = MAX_MEGAPIXELS
) -> Float[Tensor, "channels height width"]:
    """Read an image file, upright as its EXIF orientation says, in the colours that it means.

    What is transparent shows white; of an animation the first frame is read, of a document the first page. An embedded colour profile,
    or primaries and a gamma that the header states, are converted to sRGB; one that is damaged is passed over. Samples of 16 bits keep
    their precision, but for AVIF and where a profile is applied to colours; CMYK without a profile is converted by formula.
    `read_image_with_notes` says which of these was so.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, Netpbm (PBM, PGM, PPM, PFM), AVIF or JPEG 2000; the content decides, not the suffix.
        channels: 1 gives gray (BT.601 luma), 3 gives RGB; None gives what the file has.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.

    Returns:
        float32 in [0, 1], ``(channels, height, width)``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged, cut short, no image, too large, its samples have no known white, or an argument is out
            of range.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile, torch
        >>> from vqkit.data import read_image, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/white.png", torch.ones(1, 2, 5))
        ...     read_image(f"{folder}/white.png").shape
        torch.Size([3, 2, 5])
    """
    return read_image_with_notes(path, channels, max_megapixels).image


def read_image_with_notes(
    path: str | Path, channels: int | None = 3, max_megapixels: float = MAX_MEGAPIXELS
) -> ReadImage:
    r"""Read an image file as `read_image` does, and say what was converted or left out.

    Args:
        path: path of the image file, as in `read_image`.
        channels: channels of the result, as in `read_image`.
        max_megapixels: largest image in 10^6 pixels, as in `read_image`.

    Raises:
        FileNotFoundError, ValueError, ImportError: as in `read_image`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(f"{folder}/two.pgm").write_bytes(2 * b"P5 2 1 255 \0\0")
        ...     read_image_with_notes(f"{folder}/two.pgm").notes
        ('the first of several images; the others are left out',)
    """
    _check(channels, max_megapixels)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such image file: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is a folder, not an image file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    with path.open("rb") as file:
        return _read(file, str(path), channels, max_megapixels)


def decode_image(
    data: bytes, name: str = "data", channels: int | None = 3, max_megapixels: float = MAX_MEGAPIXELS
) -> Float[Tensor, "channels height width"]:
    """Read an image file that is in memory, as `read_image` does.

    Args:
        data: the bytes of the file.
        name: name of the image, for messages.
        channels: channels of the result, as in `read_image`.
        max_megapixels: largest image in 10^6 pixels, as in `read_image`.

    Returns:
        float32 in [0, 1], ``(channels, height, width)``.

    Raises:
        ValueError, ImportError: as in `read_image`.

    Example:
        >>> decode_image(b"P5 2 1 255 " + bytes([0, 255]), channels=1)
        tensor([[[0., 1.]]])
    """
    _check(channels, max_megapixels)
    if not data:
        raise ValueError(f"{name} is empty (0 bytes)")
    return _read(BytesIO(data), name, channels, max_megapixels).image


def _check(channels: int | None, max_megapixels: float) -> None:
    if channels is not None:
        check_channels(channels)
    check_megapixels(max_megapixels)


def check_megapixels(max_megapixels: float) -> None:
    """Refuse a limit that no image keeps to."""
    if not max_megapixels > 0:
        raise ValueError(f"max_megapixels is {max_megapixels:g}, it must be more than 0")


def _read(file: BinaryIO, name: str, channels: int | None, max_megapixels: float) -> ReadImage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's opinion of odd files: they are read, or refused below
        try:
            stored = in_srgb(read_stored(file, max_megapixels))
        except (MemoryError, ImportError):
            raise
        except RefusedError as error:
            raise ValueError(f"{name} {error}") from None
        except CannotConvertError as error:
            raise ValueError(f"{name} cannot be read as gray or RGB: {error}") from None
        except Exception as error:  # decoders raise whatever the damage leads to
            raise ValueError(f"{name} is damaged or cut short: {_line(error)}") from None
    values, notes = stored.values, list(stored.notes)
    if stored.alpha is not None:
        if stored.alpha.min() < stored.white:
            notes.append("what is transparent shows white")
        colours = values[..., None] if values.ndim == 2 else values
        values = np.concatenate([colours, stored.alpha[..., None]], axis=2)
    image = pixels_to_tensor(_upright(values, stored.orientation), stored.white, channels)
    return ReadImage(image, tuple(notes))


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rows and columns as EXIF 2.3 table 6 defines them: where the stored first row and first column belong."""
    if orientation in (5, 6, 7, 8):  # the first row is a side
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):  # right
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):  # bottom
        values = values[::-1]
    return values


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
