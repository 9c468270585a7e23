"""An image as the best file that keeps to a size."""

import io
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from vqkit.bitstream import size_limit, thin_to_fit
from vqkit.models.image.compression import ImageModel, encode_image
from vqkit.types import Float

__all__ = ["compress", "encode_to_fit", "finest_file"]


def encode_to_fit(
    tokenizer: ImageModel,
    target: str | Path | BinaryIO,
    image: Float[Tensor, "channels height width"],
    *,
    max_bytes: int | None = None,
    bpp: float | None = None,
    **options: Any,
) -> tuple[int, int]:
    """Write an image as the best file that keeps to a size.

    Where the quantizer has `rate_weights`, the finest step whose file keeps to it is found by bisection: files become smaller with every
    coarser step. Otherwise, or where the coarsest is too large, as many stages are kept as fit.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        target: path or stream.
        image: an image in [0, 1].
        max_bytes: largest size of the file, headers included.
        bpp: largest size in bits a pixel; either this or ``max_bytes``.
        options: further arguments of `encode_image`; with ``rate_weight`` only stages are left out.

    Returns:
        The stages, and the bytes written; errors as in `encode_image` and `vqkit.bitstream.thin_to_fit`.
    """
    limit, _ = size_limit(image.shape[-2:], max_bytes, bpp)
    _, best = finest_file(tokenizer, image, limit, **options)
    return thin_to_fit(best, target, max_bytes=max_bytes, bpp=bpp)


def finest_file(
    tokenizer: ImageModel, image: Float[Tensor, "channels height width"], limit: float, **options: Any
) -> tuple[float | None, io.BytesIO]:
    """The λ of the finest step whose file keeps to a limit in bytes, or of the coarsest, and the file with all its stages.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        image: an image in [0, 1].
        limit: largest size of the file.
        options: further arguments of `encode_image`; a ``rate_weight`` stays as it is.
    """
    given = options.pop("rate_weight", None)
    weights = (
        (given,) if given is not None or not tokenizer.quantizer.rate_weights else tokenizer.quantizer.rate_weights
    )
    first, last, best, weight = 0, len(weights), io.BytesIO(), weights[-1]
    while first < last:  # everything from ``last`` on fits
        tried, file = min((first + last) // 2, len(weights) - 1), io.BytesIO()
        fits = encode_image(tokenizer, file, image, rate_weight=weights[tried], **options).bytes <= limit
        first, last = (first, tried) if fits else (tried + 1, last)
        if fits or tried == len(weights) - 1:
            best, weight = file, weights[tried]
    return weight, best


def compress(
    tokenizer: ImageModel,
    image: Float[Tensor, "channels height width"],
    bpp: float | None = None,
    plain: bool = False,
    rate_weight: float | None = None,
) -> bytes:
    """See `ImageTokenizer.compress`."""
    file = io.BytesIO()
    if bpp is None:
        encode_image(tokenizer, file, image, plain=plain, rate_weight=rate_weight)
    else:
        encode_to_fit(tokenizer, file, image, bpp=bpp, plain=plain, rate_weight=rate_weight)
    return file.getvalue()
