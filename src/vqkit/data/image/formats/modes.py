"""Pillow's modes → stored pixels, for the formats whose modes say all that their headers do."""

from typing import Any

import numpy as np

from vqkit.data.image.pixels import CannotConvertError, StoredImage

__all__ = ["check_floats", "decoded_by_pillow"]


def decoded_by_pillow(image: Any) -> StoredImage:
    """The pixels of an image of Pillow's, decoded now.

    Raises:
        CannotConvertError: its samples have no known white.
        Exception: the file is damaged or cut short; decoders raise whatever the damage leads to.
    """
    image.load()
    if image.mode.startswith("I;16"):
        return StoredImage(np.asarray(image).astype(np.uint16), 65535.0)
    if image.mode == "F":
        values = np.asarray(image)
        check_floats(values)
        return StoredImage(values, 1.0)
    if image.mode == "I":
        raise CannotConvertError("it has integers of 32 bits, allowed are 8 and 16")
    if image.mode == "1":
        return StoredImage(np.asarray(image).astype(np.uint8) * np.uint8(255))
    if image.mode == "LA":
        values = np.asarray(image)
        return StoredImage(values[..., 0], alpha=values[..., 1])
    if image.has_transparency_data:
        values = np.asarray(image.convert("RGBA"))
        return StoredImage(values[..., :3], alpha=values[..., 3])
    return StoredImage(np.asarray(image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")))


def check_floats(values: np.ndarray) -> None:
    """Refuse floats outside [0, 1]: nobody knows where their white is.

    Raises:
        CannotConvertError: a value is outside, or no number.
    """
    if not (values.min() >= 0 and values.max() <= 1):
        raise CannotConvertError(f"its floats lie in {values.min():g} … {values.max():g}, allowed is 0 … 1")
