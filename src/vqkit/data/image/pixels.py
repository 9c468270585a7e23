"""Pixel values as they are stored → image tensor: the one place where alpha, gray and scale are dealt with.

Conventions
    An image is float32 in [0, 1], ``(channels, height, width)``, with 1 (gray) or 3 (RGB) channels, in sRGB.
    Gray is the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B. What is transparent shows white.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["CannotConvertError", "PixelArray", "StoredImage", "pixels_to_tensor"]

_LUMA = (0.299, 0.587, 0.114)


class CannotConvertError(ValueError):
    """An image file is sound, but what it holds has no known place in [0, 1] gray or RGB."""


@dataclass
class StoredImage:
    """Pixels of an image as stored in its file, without conversion, with the header's facts about them.

    Attributes:
        values: ``(height, width)`` gray, ``(height, width, 3)`` RGB, or ``(height, width, 4)`` CMYK, where 0 is no ink.
        white: the value of full intensity, or of full ink.
        alpha: ``(height, width)``, opacity on the same scale; the colours are not multiplied by it.
        profile: bytes of an ICC profile that the values are to be understood by; ``b""`` where there is one that is damaged; None for sRGB.
        profile_name: name for the profile where it does not name itself.
        orientation: 1 to 8, as in EXIF: where the first row and column belong.
        notes: notes on what the file holds and the tensor does not.
    """

    values: np.ndarray
    white: float = 255.0
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    profile_name: str = ""
    orientation: int = 1
    notes: list[str] = field(default_factory=list)

    @property
    def space(self) -> Literal["gray", "RGB", "CMYK"]:
        """Colour space of the values."""
        if self.values.ndim == 2:
            return "gray"
        return "CMYK" if self.values.shape[2] == 4 else "RGB"


def pixels_to_tensor(values: np.ndarray, white: float, channels: int | None) -> Float[Tensor, "channels height width"]:
    """Convert the pixels of one image to a tensor.

    Args:
        values: ``(height, width)`` gray, or ``(height, width, channels)`` with 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        white: the value that becomes 1.
        channels: channels of the result, 1 gray or 3 RGB; None for those of the values.

    Returns:
        The image, with memory of its own.

    Raises:
        ValueError: channels is neither 1 nor 3.

    Example:
        >>> pixels_to_tensor(np.array([[[255, 0]], [[51, 255]]], np.uint8), 255, channels=1).flatten().tolist()
        [1.0, 0.20000000298023224]
    """
    if channels is not None:
        check_channels(channels)
    planes = values[..., None] if values.ndim == 2 else values
    image = torch.from_numpy(np.array(planes.transpose(2, 0, 1), np.float32, order="C")).div_(white)
    if len(image) in (2, 4):
        image, alpha = image[:-1], image[-1:]
        image = image * alpha + (1 - alpha)
    if len(image) == 3 and channels == 1:
        return torch.einsum("c,chw->hw", torch.tensor(_LUMA), image)[None].clamp_(0, 1)
    if len(image) == 1 and channels == 3:
        return image.repeat(3, 1, 1)
    return image


def check_channels(channels: int) -> None:
    """Refuse what is neither gray nor RGB."""
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}, allowed are 1 (gray) and 3 (RGB)")


@dataclass(frozen=True)
class PixelArray:
    """Images of one size, held in memory as they are stored.

    Attributes:
        values: ``(count, height, width)``, or ``(count, height, width, channels)`` with 1 to 4 channels as in `pixels_to_tensor`.
        white: the value that becomes 1.
    """

    values: np.ndarray
    white: float = 255.0

    def image(self, index: int, channels: int) -> Float[Tensor, "channels height width"]:
        """Image ``index``, in [0, 1], gray or RGB."""
        return pixels_to_tensor(self.values[index], self.white, channels)
