"""Image tensor → file."""

import io
from pathlib import Path

import torch
from torch import Tensor

from vqkit.files import NewFile
from vqkit.types import Float, need

__all__ = ["WRITTEN_IMAGE_SUFFIXES", "write_image"]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WRITTEN_IMAGE_SUFFIXES = tuple(_FORMATS)


def write_image(
    path: str | Path, image: Float[Tensor, "channels height width"], quality: int = 90, *, overwrite: bool = True
) -> None:
    """Write an image with 8 bits a channel; the suffix decides the format.

    The file appears whole or not at all. Values are clipped to [0, 1] and rounded; PNG loses nothing beyond that.

    Args:
        path: ends in .png (lossless), .jpg, .jpeg or .webp (lossy); an existing file is replaced, unless ``overwrite`` is False.
        image: ``(channels, height, width)`` with 1 (gray) or 3 (RGB) channels, any float dtype, finite.
        quality: quality of JPEG and WebP, 1 to 100; JPEG stores colour at half the resolution.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: the file exists, and ``overwrite`` is False.
        FileNotFoundError: the folder does not exist.
        ValueError: the suffix, the shape, the values or the quality cannot be written.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile
        >>> from vqkit.data import read_image, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/x.png", torch.tensor([[[0.0, 0.2, 7.0]]]))
        ...     read_image(f"{folder}/x.png", channels=1)
        tensor([[[0.0000, 0.2000, 1.0000]]])
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot write {path}: the suffix is {path.suffix!r}, allowed are {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}, allowed are 1 to 100")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"cannot write {path}: the image has shape {tuple(image.shape)}, expected (1 or 3, height, width)"
        )
    if not image.is_floating_point():
        raise ValueError(f"cannot write {path}: the image is {image.dtype}, expected floating point in [0, 1]")
    if not torch.isfinite(image).all():
        raise ValueError(f"cannot write {path}: the image holds NaN or infinite values")
    pillow = need("PIL.Image", "image")
    levels = image.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round().to(torch.uint8)
    pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
    encoded = (
        io.BytesIO()
    )  # into a file Pillow writes by itself, and does not notice when only a part fits onto the disk
    try:
        pillow.fromarray(pixels.contiguous().numpy()).save(encoded, kind, quality=quality)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot write {path}: {error}") from None
    with NewFile(path, overwrite=overwrite) as new:
        new.file.write(encoded.getbuffer())
