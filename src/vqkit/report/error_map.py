"""Error maps of reconstructions: the absolute error of every pixel, drawn with one gain everywhere.

Conventions
    Values are shares of full scale: 1 is the distance from black to white. Of the colour channels of a pixel the largest error counts, so
    that no error hides behind two small ones. The gain is a constant: error maps can be compared between systems, images and reports.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from vqkit.types import Float, Int

__all__ = ["GAIN", "absolute_error", "error_map_png", "read_picture"]

GAIN = 4
_GRAY, _COLOUR = ("1", "L"), ("P", "RGB")


def read_picture(path: Path | str) -> Int[np.ndarray, "height width channels"]:
    """Return an image file as values 0 to 255, in int16 so that differences do not wrap, with one channel or three.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image that Pillow can read, or it has transparency or more than 8 bits a channel.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist, though results.json names it")
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not readable as an image: {error}") from None
    if image.mode not in (*_GRAY, *_COLOUR) or "transparency" in image.info:
        raise ValueError(
            f"{path} has the pixel format {image.mode}, must be gray or RGB of 8 bits a channel without transparency"
        )
    pixels = np.asarray(image.convert("L" if image.mode in _GRAY else "RGB"), dtype=np.int16)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def absolute_error(
    original: Int[np.ndarray, "height width channels"], reconstruction: Int[np.ndarray, "height width others"]
) -> Float[np.ndarray, "height width"]:
    """Return the largest absolute error over the channels of each pixel, as a share of full scale.

    Args:
        original: values 0 to 255; a gray image stands for three equal channels where the other has three.
        reconstruction: values 0 to 255 of the same height and width.

    Returns:
        Errors in [0, 1].

    Example:
        >>> black = np.zeros((1, 2, 1), int)
        >>> absolute_error(black, np.array([[[0, 51, 0], [0, 0, 255]]])).tolist()
        [[0.2, 1.0]]
    """
    return np.abs(original - reconstruction).max(axis=2) / 255


def error_map_png(error: Float[np.ndarray, "height width"]) -> bytes:
    r"""Draw errors from black over copper to light; what is ``1 / GAIN`` or more is lightest.

    Args:
        error: shares of full scale.

    Returns:
        A PNG file of the size of the image, with a palette that grows lighter evenly and keeps one hue.

    Example:
        >>> error_map_png(np.array([[0.0, 0.25, 0.9]]))[:4]
        b'\x89PNG'
    """
    image = Image.fromarray(np.minimum(np.round(error * GAIN * 255), 255).astype(np.uint8))
    image.putpalette(colormaps["copper"](np.arange(256), bytes=True)[:, :3].tobytes())
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
