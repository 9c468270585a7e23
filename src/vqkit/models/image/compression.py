"""An image to the bytes of a ``.vqk`` file and back, with any image tokenizer.

image ─ tiles ─ codes of cells, row by row ─ chunks of whole rows ─ file ─ codes (any, where they are lost) ─ tiles ─ image (gray there)
"""

import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from vqkit.bitstream import BitstreamError, VqkHeader, VqkWriter
from vqkit.data.image.file import MAX_MEGAPIXELS
from vqkit.data.image.pixels import pixels_to_tensor
from vqkit.modality import IMAGE
from vqkit.models.image.tiles import Tiled, Watch, block_grid, check_size, decode_tiles, encode_tiles
from vqkit.models.input_checks import channels_last, check_floating
from vqkit.models.lost import cover_lost
from vqkit.models.vqk_files import CodedSignal, HasCodes, WrittenFile, header_of, open_reader, read_cells
from vqkit.scale import check_image_scale
from vqkit.types import Float

__all__ = [
    "DecodedImage",
    "ImageModel",
    "coded",
    "decode_image",
    "decompress",
    "encode_image",
    "image_header",
    "open_image_writer",
    "with_channels",
]


class ImageModel(Tiled, HasCodes, Protocol):
    """Interface of `ImageTokenizer` that this module relies on."""


@dataclass(frozen=True)
class DecodedImage:
    """Image decoded from a file, with the facts about the file.

    Attributes:
        image: ``(channels, height, width)`` in [0, 1]; gray in cells that are lost.
        stages: number of stages that the file holds.
        bytes: size of the file.
        warnings: what is damaged or missing.
        variable_stages: whether cells may have fewer stages.
    """

    image: Float[Tensor, "channels height width"]
    stages: int
    bytes: int
    warnings: tuple[str, ...]
    variable_stages: bool = False


def image_header(
    tokenizer: ImageModel, height: int, width: int, stages: int | None = None, *, variable_stages: bool = False
) -> VqkHeader:
    """Return the header of a file that holds an image coded by this tokenizer.

    Args:
        tokenizer: image tokenizer; see `ImageTokenizer`.
        height: height of the image in pixels.
        width: width of the image in pixels.
        stages: number of stages that the file keeps; all by default.
        variable_stages: whether every cell has its own number of stages.
    """
    return header_of(
        tokenizer,
        stages,
        variable_stages=variable_stages,
        grid=block_grid(tokenizer, height, width),
        image_size=(height, width),
    )


def with_channels(image: Float[Tensor, "_ height width"], channels: int) -> Float[Tensor, "channels height width"]:
    """Gray from RGB (BT.601 luma) or RGB from gray; an image that has these channels is returned itself."""
    if len(image) == channels:
        return image
    return pixels_to_tensor(image.permute(1, 2, 0).float().cpu().numpy(), 1.0, channels)


def encode_image(
    tokenizer: ImageModel,
    target: str | Path | BinaryIO,
    image: Float[Tensor, "channels height width"],
    stages: int | None = None,
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    rate_weight: float | None = None,
    watch: Watch = lambda share: None,
) -> WrittenFile:
    """Write an image as a file; the codes are coded with the tokenizer's prior, if it has one.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        target: path or stream.
        image: an image in [0, 1], gray or RGB; it gets the tokenizer's channels.
        stages: number of stages to keep; all by default.
        plain: plain bits although there is a prior.
        licence: licence of the content.
        metadata: free text by name.
        rate_weight: λ; every cell keeps only the stages that are worth their bits, or has the step of this λ, see `ImageTokenizer.encode`.
        watch: called with the share that is done.

    Returns:
        Its size and its stages.

    Raises:
        TypeError: the image is not floating.
        ValueError: the image has another shape, or one that the tokenizer does not take, NaN, Inf, or a pixel far outside 0 … 1.
    """
    check_floating("image", image)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        shape = tuple(image.shape)
        raise ValueError(f"image must be (1 or 3 channels, height, width), got shape {shape}{channels_last(shape)}")
    check_image_scale("image", image)
    height, width = image.shape[-2:]
    check_size(tokenizer, height, width)
    fitting = with_channels(image, tokenizer.channels)
    by_need = rate_weight is not None and not tokenizer.quantizer.rate_weights
    with open_image_writer(
        tokenizer,
        target,
        height,
        width,
        stages,
        plain=plain,
        licence=licence,
        metadata=metadata,
        variable_stages=by_need,
    ) as writer:
        for codes in encode_tiles(tokenizer, fitting, rate_weight=rate_weight, watch=watch):
            writer.write(codes[:, : writer.header.num_codes])
        writer.close()
        return WrittenFile.by(writer)


def open_image_writer(
    tokenizer: ImageModel,
    target: str | Path | BinaryIO,
    height: int,
    width: int,
    stages: int | None = None,
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    variable_stages: bool = False,
) -> VqkWriter:
    """Begin a file of an image's codes; they are coded with the tokenizer's prior, if it has one.

    Args:
        tokenizer: Tokenizer whose codes they are.
        target: Path or stream.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        stages: Number of stages to keep; all by default.
        plain: Plain bits although there is a prior.
        licence: Licence of the content.
        metadata: Free text by name.
        variable_stages: Whether every cell has its own number of stages.

    Returns:
        The writer; it takes codes as (cells, num_codes), row by row.
    """
    header = image_header(tokenizer, height, width, stages, variable_stages=variable_stages)
    header = replace(header, licence=licence, metadata=metadata or {})
    return VqkWriter(target, header, entropy_model=None if plain else tokenizer.prior)


def decode_image(
    tokenizer: ImageModel,
    source: str | Path | BinaryIO,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    watch: Watch = lambda share: None,
) -> DecodedImage:
    """Read the image of a file. What is damaged or cut off is gray, and named.

    Args:
        tokenizer: a tokenizer in evaluation mode, of the weights that the file names.
        source: path, or file or pipe.
        max_megapixels: refuse a file that promises more, in 10^6 pixels.
        watch: called with the share that is done.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, written with other weights, or no image of this tokenizer.
        ValueError: the image is larger than allowed.
    """
    with open_reader(tokenizer, source) as reader:
        size = _checked_size(tokenizer, reader.header, max_megapixels)
        grid = block_grid(tokenizer, *size)
        cells = read_cells(reader, math.prod(grid), "image")
    lost = cells.lost
    if bool(lost.all()) or (len(grid) == 1 and bool(lost.any())):  # tokens of the whole image
        image = torch.full((tokenizer.channels, *size), IMAGE.lost_value, dtype=torch.float32)
    else:
        image = decode_tiles(tokenizer, cells.codes, size, watch=watch)
        if len(grid) > 1:  # tokens of a whole image are all there, or it is all gray
            cell = tokenizer.backbone.cell * tokenizer.quantizer.block
            pixels = lost.view(grid).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
            image = cover_lost(image, pixels[: size[0], : size[1]], IMAGE)
    return DecodedImage(image, cells.stages, cells.bytes, cells.warnings, cells.variable_stages)


def coded(
    tokenizer: ImageModel, image: Float[Tensor, "channels height width"], rate_weight: float | None = None
) -> CodedSignal:
    """See `ImageTokenizer.coded`."""
    height, width = image.shape[-2:]
    codes = torch.cat(list(encode_tiles(tokenizer, image, rate_weight=rate_weight)))
    return CodedSignal(codes, image_header(tokenizer, height, width), height * width)


def decompress(tokenizer: ImageModel, data: bytes) -> Float[Tensor, "channels height width"]:
    """See `ImageTokenizer.decompress`."""
    decoded = decode_image(tokenizer, io.BytesIO(data))
    for warning in decoded.warnings:
        warnings.warn(warning, stacklevel=3)
    return decoded.image


def _checked_size(tokenizer: ImageModel, header: VqkHeader, max_megapixels: float) -> tuple[int, int]:
    """(height, width), believed only where all that the header says fits together."""
    if len(header.image_size) != 2 or header.sample_rate:
        raise BitstreamError(
            f"it holds no image: its image size is {header.image_size}, its rate {header.sample_rate} Hz"
        )
    height, width = header.image_size
    if height * width > max_megapixels * 1e6:
        raise ValueError(f"it has {width} × {height} pixels, allowed are at most {max_megapixels:g} megapixels")
    check_size(tokenizer, height, width)
    quantizer = tokenizer.quantizer
    sizes = tuple(quantizer.packed_sizes)[: header.num_codes]
    if (
        header.grid != block_grid(tokenizer, height, width)
        or header.code_sizes != sizes
        or header.codes_per_stage != tuple(quantizer.packed_per_stage)[: header.num_stages]
    ):
        raise BitstreamError(
            f"its grid {header.grid} or its code sizes {header.code_sizes[:8]} are not this tokenizer's"
        )
    return height, width
