"""Encoding of one image file to a ``.vqk`` file.

file ─ pixels, upright ─ the tokenizer's channels ─ tiles ─ codes ─ chunks ─ file
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from vqkit.coding.coded import CodedImage, Watch, unwatched
from vqkit.coding.rate import Rate
from vqkit.coding.temporary import read_as_file
from vqkit.data import MAX_MEGAPIXELS, read_image_with_notes
from vqkit.models.image.compression import encode_image, with_channels
from vqkit.models.image.tiles import check_size
from vqkit.models.image.to_size import encode_to_fit
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.vqk_files import WrittenFile
from vqkit.types import Float

__all__ = ["PreparedImage", "encode_image_file", "encode_prepared", "prepared_image"]


def encode_image_file(
    tokenizer: ImageTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    watch: Watch = unwatched,
) -> CodedImage:
    """Encode an image file; the networks see a tile at a time, where the tokenizer's backbone allows it.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        source: path of what `vqkit.data.read_image` reads, or open file or pipe with such.
        target: path, which appears when it is complete, or open file or pipe.
        rate: stages to keep.
        plain: plain bits although the tokenizer has a prior.
        licence: licence of the content, for the header.
        metadata: free text by name, for the header.
        max_megapixels: refuse an image whose header says more, before it is decoded, in 10^6 pixels.
        watch: called with 0 and the share that is done.

    Returns:
        What was written. Its notes say what of the file was converted or left out: a colour profile, alpha, further pages or frames, …

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: the source is no image or damaged, the tokenizer does not take its size, or the rate is too low.
    """
    prepared = prepared_image(tokenizer, source, max_megapixels)
    options = {"plain": plain, "licence": licence, "metadata": metadata}
    return encode_prepared(tokenizer, prepared, target, rate, watch=watch, **options)


def encode_prepared(
    tokenizer: ImageTokenizer,
    prepared: "PreparedImage",
    target: str | Path | BinaryIO,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    *,
    watch: Watch = unwatched,
    **options: Any,
) -> CodedImage:
    """Encode an image that was read before.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        prepared: the image, with the tokenizer's channels.
        target: path, which appears when it is complete, or open file or pipe.
        rate: stages to keep.
        watch: called with 0 and the share that is done.
        options: ``plain``, ``licence`` and ``metadata``, as in `encode_image_file`.

    Returns:
        What was written; errors as in `encode_image_file`.
    """
    image, height, width = prepared.image, *prepared.image.shape[-2:]
    stages = rate.check_stages(tokenizer.quantizer.num_stages, "tokenizer")
    options |= {"rate_weight": rate.rate_weight, "watch": lambda share: watch(0.0, share)}
    if rate.max_bytes is None and rate.bpp is None:
        made = encode_image(tokenizer, target, image, stages, **options)
    else:
        kept, size = encode_to_fit(tokenizer, target, image, max_bytes=rate.max_bytes, bpp=rate.bpp, **options)
        by_need = rate.rate_weight is not None and not tokenizer.quantizer.rate_weights
        made = WrittenFile(size, kept, by_need)
    return CodedImage(height=height, width=width, notes=prepared.notes, **vars(made))


@dataclass(frozen=True)
class PreparedImage:
    """Image read and prepared for a tokenizer.

    Attributes:
        image: Pixels in [0, 1], upright, with the tokenizer's channels.
        notes: Notes on what of the file was converted or left out.
    """

    image: Float[Tensor, "channels height width"]
    notes: tuple[str, ...]


def prepared_image(
    tokenizer: ImageTokenizer, source: str | Path | BinaryIO, max_megapixels: float = MAX_MEGAPIXELS
) -> PreparedImage:
    """Read an image for a tokenizer.

    Args:
        tokenizer: Says the channels and which sizes it takes.
        source: Path of what `vqkit.data.read_image` reads, or open file or pipe with such.
        max_megapixels: Refuse an image whose header says more, before it is decoded, in 10^6 pixels.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: The source is no image or damaged, or the tokenizer does not take its size.
    """
    with read_as_file(source) as path:
        read = read_image_with_notes(path, channels=None, max_megapixels=max_megapixels)
    image, notes = read.image, read.notes
    check_size(tokenizer, image.shape[-2], image.shape[-1])
    if len(image) != tokenizer.channels:
        notes += ("colour left out: the tokenizer is gray" if len(image) == 3 else "gray in each of 3 channels",)
        image = with_channels(image, tokenizer.channels)
    return PreparedImage(image, notes)
