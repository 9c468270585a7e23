"""The prior of an image tokenizer: how likely its codes are, fitted to images, and what it saves on other images.

As of a codec (`vqkit.models.audio.prior`), but the context model also looks at the cell above.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.bitstream import ContextModel, EntropyModel, StaticTables, VqkWriter, fit_contexts, inspect
from vqkit.bitstream.entropy_model import usual_chunk
from vqkit.models.image.compression import image_header
from vqkit.models.image.tiles import encode_tiles
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.types import Float, Int

__all__ = ["ImageCodes", "ImageCodingCost", "fit_image_prior", "image_codes_of", "image_coding_cost"]


@dataclass(frozen=True)
class ImageCodes:
    """The codes of an image.

    Attributes:
        codes: codes of its cells, row by row.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    codes: Int[Tensor, "cells num_codes"]
    height: int
    width: int


@dataclass(frozen=True)
class ImageCodingCost:
    """What one coding costs on some images.

    Attributes:
        coding: ``"plain"``, ``"static"`` or ``"context"``.
        bits_per_code: bits per code, mean over all of them.
        codes_bpp: rate of the codes, in bits a pixel.
        files_bpp: rate of the whole files, one an image.
        tables_bytes: size of the prior, which belongs to the model.
    """

    coding: str
    bits_per_code: float
    codes_bpp: float
    files_bpp: float
    tables_bytes: int


def image_codes_of(
    tokenizer: ImageTokenizer, images: Iterable[Float[Tensor, "channels height width"]]
) -> list[ImageCodes]:
    """The codes of images of any sizes, one image at a time."""
    return [
        ImageCodes(torch.cat(list(encode_tiles(tokenizer, image))), image.shape[-2], image.shape[-1])
        for image in images
    ]


def fit_image_prior(
    tokenizer: ImageTokenizer, images: Sequence[ImageCodes], coding: str = "context", classes: int = 32
) -> StaticTables | ContextModel:
    """Fit a prior to a tokenizer's codes; assign it to `ImageTokenizer.prior` and save the tokenizer.

    Args:
        tokenizer: whose codes they are.
        images: images as `image_codes_of` gives them.
        coding: ``"static"`` for one table a code, ``"context"`` for the model of the codes before, to the left and above.
        classes: number of classes of each context, 1 … 64.

    Returns:
        The prior.

    Raises:
        ValueError: another coding, no images, or classes out of range.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import ConvBackbone
        >>> tokenizer = ImageTokenizer(ConvBackbone(dim=8, width=8), RVQ(8, 16, 2)).eval()
        >>> image = torch.linspace(0, 1, 96).expand(3, 96, 96)
        >>> tokenizer.prior = fit_image_prior(tokenizer, image_codes_of(tokenizer, [image]))
        >>> len(tokenizer.compress(image)) < len(tokenizer.compress(image, plain=True))
        True
    """
    sizes = tokenizer.quantizer.code_sizes
    codes = [image.codes for image in images]
    if not codes:
        raise ValueError("there are no images to fit a prior to")
    if coding == "static":
        return StaticTables.fit(sizes, codes)
    if coding != "context":
        raise ValueError(f"coding must be 'static' or 'context', got {coding!r}")
    headers = [image_header(tokenizer, image.height, image.width) for image in images]
    columns = [header.columns for header in headers]
    chunks = [usual_chunk(header, header.largest_chunk) for header in headers]
    return fit_contexts(sizes, codes, classes, chunks, columns=columns if all(columns) else None)


def image_coding_cost(
    tokenizer: ImageTokenizer, prior: EntropyModel | None, images: Sequence[ImageCodes]
) -> ImageCodingCost:
    """Write images as files, in memory, and measure them.

    Args:
        tokenizer: whose codes they are.
        prior: None for plain bits.
        images: images that the prior was not fitted to.

    Raises:
        ValueError: there are no images.
    """
    if not images:
        raise ValueError("there are no images to measure")
    coded = files = pixels = codes = 0
    for image in images:
        file = io.BytesIO()
        header = image_header(tokenizer, image.height, image.width)
        with VqkWriter(file, header, entropy_model=prior) as writer:
            writer.write(image.codes)
        found = inspect(io.BytesIO(file.getvalue()))
        coded, files = coded + sum(found["stage_bytes"]), files + found["file_bytes"]
        pixels, codes = pixels + image.height * image.width, codes + image.codes.numel()
    return ImageCodingCost(
        coding="plain" if prior is None else prior.coding,
        bits_per_code=coded * 8 / codes,
        codes_bpp=coded * 8 / pixels,
        files_bpp=files * 8 / pixels,
        tables_bytes=0 if prior is None else len(prior.to_bytes()),
    )
