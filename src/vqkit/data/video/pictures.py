"""Pictures of a video at a constant rate.

Conventions
    Pictures are chosen by time: picture k is the one that is shown k / rate seconds after the first. They are turned as the file says, cut
    to a square in the middle, float32 in [0, 1], RGB.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from vqkit.data.video.container import frames_due, open_video, upright
from vqkit.types import Float

__all__ = ["pictures"]


def pictures(path: str | Path, size: int, rate: Fraction | int = 1) -> Iterator[Float[Tensor, "3 size size"]]:
    """Pictures of a video at a constant rate, one after the other: memory does not grow with its length.

    Args:
        path: a video file.
        size: height and width of a picture.
        rate: pictures a second.

    Yields:
        At least one picture.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or no frame of it can be decoded.
    """
    with open_video(path) as (container, stream):
        aspect, made = float(stream.sample_aspect_ratio or 1), 0
        for frame in frames_due(container, stream, float(rate)):
            yield _square(upright(frame, aspect), size)
            made += 1
        if not made:
            raise ValueError(f"no frame of {path} can be decoded")


def _square(image: Float[Tensor, "3 height width"], size: int) -> Float[Tensor, "3 size size"]:
    """The middle of an image."""
    side = min(image.shape[1:])
    top, left = ((length - side) // 2 for length in image.shape[1:])
    box = image[None, :, top : top + side, left : left + side]
    return functional.interpolate(box, (size, size), mode="bilinear", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )
