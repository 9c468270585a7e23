"""Image file → tensor: formats, bit depths, orientation and damaged files are dealt with here, once.

The header is checked before any pixel is decoded, so a small file that promises a huge image costs nothing.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vqkit.data.image_pixels import check_channels, pixels_to_tensor
from vqkit.types import Float, need

__all__ = ["IMAGE_SUFFIXES", "decode_image", "read_image"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"}
)
# Pillow's other readers are left out: some run other programs (EPS), others are of no use here.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ORIENTATION_TAG = 0x0112


def read_image(
    path: str | Path, channels: int | None = 3, max_megapixels: float = 64.0
) -> Float[Tensor, "channels height width"]:
    """Read an image file, upright as its EXIF orientation says.

    What is transparent shows white; of an animation the first frame is read. Gray images of 16 bits keep their precision; colour images
    of 16 bits are read with 8, as Pillow does. CMYK is converted without a colour profile.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, PGM, AVIF or JPEG 2000.
        channels: 1 gives gray (BT.601 luma), 3 gives RGB; None gives what the file has.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.

    Returns:
        float32 in [0, 1], ``(channels, height, width)``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged, cut short, no image, too large, or an argument is out of range.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile, torch
        >>> from vqkit.data import read_image, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/white.png", torch.ones(1, 2, 5))
        ...     read_image(f"{folder}/white.png").shape
        torch.Size([3, 2, 5])
    """
    _check(channels, max_megapixels)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such image file: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is a folder, not an image file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    return _decoded(path, str(path), channels, max_megapixels)


def decode_image(
    data: bytes, name: str = "data", channels: int | None = 3, max_megapixels: float = 64.0
) -> Float[Tensor, "channels height width"]:
    """Read an image file that is in memory, as `read_image` does.

    Args:
        data: the bytes of the file.
        name: of the image, for messages.
        channels: as in `read_image`.
        max_megapixels: as in `read_image`.

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
    return _decoded(BytesIO(data), name, channels, max_megapixels)


def _check(channels: int | None, max_megapixels: float) -> None:
    if channels is not None:
        check_channels(channels)
    if not max_megapixels > 0:
        raise ValueError(f"max_megapixels is {max_megapixels}, it must be more than 0")


def _decoded(file: Path | BytesIO, name: str, channels: int | None, max_megapixels: float) -> Tensor:
    pillow = need("PIL.Image", "image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's opinion of odd files: they are read, or refused below
        with _open(pillow, file, name, max_megapixels) as image:
            try:
                image.load()
            except MemoryError:
                raise
            except Exception as error:  # decoders raise whatever the damage leads to
                raise ValueError(f"{name} is damaged or cut short: {_line(error)}") from None
            try:
                values, white = _values(image)
            except MemoryError:
                raise
            except Exception as error:
                raise ValueError(f"{name} cannot be read as gray or RGB: {_line(error)}") from None
            return pixels_to_tensor(_upright(values, _orientation(image)), white, channels)


def _open(pillow: Any, file: Path | BytesIO, name: str, max_megapixels: float) -> Any:
    """The file as a Pillow image whose header is checked and of which nothing is decoded."""
    pillow.init()
    try:
        image = pillow.open(file, formats=[kind for kind in _FORMATS if kind in pillow.OPEN])
    except pillow.UnidentifiedImageError:
        raise ValueError(f"{name} is not an image that can be read, allowed are {', '.join(_FORMATS)}") from None
    except pillow.DecompressionBombError as error:
        raise ValueError(f"{name} is too large, allowed are {max_megapixels:g} megapixels: {_line(error)}") from None
    except Exception as error:  # a header that breaks Pillow's parser
        raise ValueError(f"{name} has a damaged header: {_line(error)}") from None
    width, height = image.size
    if not 0 < width * height <= max_megapixels * 1e6:
        image.close()
        raise ValueError(
            f"{name} has {width} × {height} pixels, allowed are at least 1 and at most {max_megapixels:g} megapixels"
        )
    return image


def _values(image: Any) -> tuple[np.ndarray, float]:
    """Pixel values of a decoded image and the value that is white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):  # I: PGM of 16 bits
        values = np.asarray(image)
        if (clear := image.info.get("transparency")) is not None:
            values = np.stack([values, np.where(values == clear, 0, 65535)], axis=-1)
        return values, 65535.0
    if image.mode == "I":
        raise ValueError("it has integers of 32 bits, allowed are 8 and 16")
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"its floats lie in {values.min():g} … {values.max():g}, allowed is 0 … 1")
        return values, 1.0
    if image.has_transparency_data:
        return np.asarray(image if image.mode == "LA" else image.convert("RGBA")), 255.0
    return np.asarray(image.convert("L") if image.mode in ("1", "L") else image.convert("RGB")), 255.0


def _orientation(image: Any) -> int:
    """EXIF orientation, 1 to 8; asked after decoding, because Pillow turns TIFF files itself and then drops the tag."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block says nothing about the orientation
        return 1


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
