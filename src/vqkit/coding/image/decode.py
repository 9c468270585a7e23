"""Decoding of one ``.vqk`` file to an image file.

chunks ─ codes (any, where they are lost) ─ tiles ─ pixels (gray, where codes were lost) ─ file
"""

from pathlib import Path
from typing import BinaryIO

from vqkit.coding.coded import CodedImage, Watch, unwatched
from vqkit.coding.temporary import written_as_file
from vqkit.data import MAX_MEGAPIXELS, write_image
from vqkit.models.image.compression import decode_image
from vqkit.models.image.tokenizer import ImageTokenizer

__all__ = ["decode_image_file"]


def decode_image_file(
    tokenizer: ImageTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    *,
    suffix: str = ".png",
    max_megapixels: float = MAX_MEGAPIXELS,
    watch: Watch = unwatched,
    overwrite: bool = True,
) -> CodedImage:
    """Decode a ``.vqk`` file of an image.

    What is damaged or cut off is gray, and named in the result's ``warnings``; the rest is not touched by it, but for what the
    networks carry over a cell's edge.

    Args:
        tokenizer: a tokenizer in evaluation mode, of the weights that the file names.
        source: path, or open file or pipe.
        target: path, whose suffix decides the format and which appears when it is complete; or open file or pipe.
        suffix: format for an open file or pipe.
        max_megapixels: refuse a file that promises a larger image, in 10^6 pixels.
        watch: called with 0 and the share that is done.
        overwrite: replace a target that exists.

    Returns:
        What was read.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights.
        FileExistsError: the target exists, and ``overwrite`` is False.
        ValueError: the target's format is unknown, or the image is too large.
    """
    decoded = decode_image(tokenizer, source, max_megapixels=max_megapixels, watch=lambda share: watch(0.0, share))
    with written_as_file(target, suffix) as path:
        write_image(path, decoded.image, overwrite=overwrite)
    height, width = decoded.image.shape[-2:]
    return CodedImage(
        height=height,
        width=width,
        bytes=decoded.bytes,
        stages=decoded.stages,
        variable_stages=decoded.variable_stages,
        warnings=decoded.warnings,
    )
