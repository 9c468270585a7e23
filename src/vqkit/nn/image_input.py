"""Input of trunks trained on photographs: RGB of a sufficient size, also from gray and small images."""

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.types import Float

__all__ = ["as_rgb", "enlarged", "normalised"]


def as_rgb(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Check a batch of images and repeat gray as RGB.

    Args:
        images: images in [0, 1], of 1 (gray) or 3 (RGB) channels.

    Returns:
        The image with 3 channels.

    Raises:
        TypeError: the images are not a tensor of a float dtype.
        ValueError: the shape is another one.

    Example:
        >>> as_rgb(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 3, 28, 28])
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a tensor of a float dtype in [0, 1], got {kind}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"images must be (batch, 1 or 3, height, width), none empty, got {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1)


def enlarged(
    images: Float[Tensor, "batch channels height width"], min_size: int
) -> Float[Tensor, "batch channels taller wider"]:
    """Upsample bilinearly to a shorter side of ``min_size``, where it is less; the aspect stays.

    Args:
        images: images of any size.
        min_size: least height and width, in pixels.

    Returns:
        The images themselves where they are large enough.

    Example:
        >>> enlarged(torch.zeros(1, 3, 28, 56), 64).shape
        torch.Size([1, 3, 64, 128])
    """
    shorter = min(images.shape[-2:])
    if shorter >= min_size:
        return images
    size = [round(side * min_size / shorter) for side in images.shape[-2:]]
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


def normalised(
    images: Float[Tensor, "batch 3 height width"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "batch 3 height width"]:
    """(images − mean) / std, channel by channel.

    Args:
        images: RGB in [0, 1].
        mean: mean of each channel.
        std: standard deviation of each channel.

    Returns:
        In the images' dtype.
    """
    return (images - torch.tensor(mean).to(images).view(3, 1, 1)) / torch.tensor(std).to(images).view(3, 1, 1)
