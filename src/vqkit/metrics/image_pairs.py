"""Validation of a batch of images: once, at the door, and cut into parts that fit in memory.

Conventions:
    The same as in :mod:`vqkit.metrics.image_reconstruction`. Everything is checked before anything is measured.

Metrics:
    None: every metric that takes images begins here.
"""

from collections.abc import Iterator

from torch import Tensor

from vqkit.types import Float

__all__ = ["pairs_of_images", "parts_of_images"]

_PART_VALUES = 2**20
_TOLERANCE = 1e-3  # of a reference in half precision


def parts_of_images(
    name: str, label: str, images: Float[Tensor, "batch channels height width"], min_size: int = 1
) -> tuple[Float[Tensor, "part channels height width"], ...]:
    """Check a batch of images, clamp it to [0, 1] and cut it into parts of about a million values.

    Args:
        name: the metric's, for messages.
        label: ``"estimate"`` or ``"reference"``; a decoder may overshoot, an original may not.
        images: gray or RGB.
        min_size: least height and width, in pixels.

    Returns:
        The images in [0, 1], without gradient.

    Raises:
        TypeError: the images are not a tensor of a float dtype.
        ValueError: they are not ``(batch, 1 or 3, height, width)``, too small, not finite, or a reference is not in [0, 1].

    Example:
        >>> import torch
        >>> [part.max().item() for part in parts_of_images("psnr", "estimate", torch.full((8, 3, 256, 256), 1.25))]
        [1.0, 1.0]
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name}: {label} must be a tensor of a float dtype, got {kind}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{name}: images must be (batch, 1 or 3, height, width), none empty, got {tuple(images.shape)}"
        )
    if min(images.shape[2:]) < min_size:
        raise ValueError(
            f"{name}: images must be at least {min_size} pixels high and wide, got {images.shape[2]} × {images.shape[3]}"
        )
    images = images.detach()
    finite = images.isfinite().flatten(1).all(1)
    if not finite.all():
        broken = int((~finite).int().argmax())
        raise ValueError(f"{name}: {label} of image {broken} has NaN or infinite pixels, all must be finite")
    least, most = images.amin().item(), images.amax().item()
    if label == "reference" and (least < -_TOLERANCE or most > 1 + _TOLERANCE):
        raise ValueError(f"{name}: reference must be in [0, 1], got values from {least:.4g} to {most:.4g}")
    return images.clamp(0, 1).split(max(1, _PART_VALUES // images[0].numel()))


def pairs_of_images(
    name: str,
    estimate: Float[Tensor, "batch channels height width"],
    reference: Float[Tensor, "batch channels height width"],
    min_size: int = 1,
) -> Iterator[tuple[Float[Tensor, "part channels height width"], Float[Tensor, "part channels height width"]]]:
    """Check two batches of images and cut both into the same parts.

    Args:
        name: the metric's, for messages.
        estimate: reconstructed images.
        reference: original images.
        min_size: least height and width, in pixels.

    Returns:
        Pairs (estimate, reference) in [0, 1], without gradient; the check is done before the first.

    Raises:
        TypeError: an argument is not a tensor of a float dtype.
        ValueError: shapes differ, or as of :func:`parts_of_images`.

    Example:
        >>> import torch
        >>> image = torch.zeros(8, 3, 256, 256)
        >>> [len(one) for one, other in pairs_of_images("psnr", image, image)]
        [5, 3]
    """
    estimates = parts_of_images(name, "estimate", estimate, min_size)
    references = parts_of_images(name, "reference", reference, min_size)
    if estimate.shape != reference.shape:
        raise ValueError(
            f"{name}: estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    return zip(estimates, references, strict=True)
