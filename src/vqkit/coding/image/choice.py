"""The choice between the image tokenizers that ship: the usual one, and the one for text, lines and diagrams.

Images of few colours are encoded with both, and the one with less error in no more bytes is taken. A file names its model, so that decoding
does not need to know.
"""

import io
import math
from functools import cache

import torch
from torch import Tensor

from vqkit.bitstream import size_limit, thin_to_fit
from vqkit.coding.image.encode import PreparedImage
from vqkit.coding.rate import Rate
from vqkit.models.image.compression import encode_image
from vqkit.models.image.tiles import TILE_PIXELS
from vqkit.models.image.to_size import encode_to_fit, finest_file
from vqkit.models.image.tokenizer import DRAWN, ImageTokenizer
from vqkit.types import Float

__all__ = ["MOST_COLOURS", "better_tokenizer", "has_few_colours"]

MOST_COLOURS = 4096
"""Of an image that may have been drawn. Photographs have more, unless they are tiny."""


def better_tokenizer(usual: ImageTokenizer, image: PreparedImage, rate: Rate, *, plain: bool = False) -> ImageTokenizer:
    """The usual tokenizer, or the one for drawn images where its file has less error and keeps to the limit.

    Without a limit the file of all stages must not be larger than the usual one's. A number of stages or λ means something else to each
    tokenizer, and so the usual one has it.

    Args:
        usual: the tokenizer that ships for all images.
        image: what will be encoded.
        rate: what the file has to keep to.
        plain: whether the file is written in plain bits.
    """
    if (
        rate.stages is not None
        or rate.rate_weight is not None
        or not DRAWN.is_dir()
        or not has_few_colours(image.image)
    ):
        return usual
    drawn, limited, made = _drawn(), rate.max_bytes is not None or rate.bpp is not None, io.BytesIO()
    limit = size_limit(image.image.shape[-2:], rate.max_bytes, rate.bpp)[0] if limited else math.inf
    weight, file = finest_file(usual, image.image, limit, plain=plain)
    if not limited:
        if encode_image(drawn, made, image.image, plain=plain) > len(file.getvalue()):
            return usual
        return drawn if _error(drawn, image.image) < _error(usual, image.image, weight) else usual
    try:
        stages, _ = encode_to_fit(drawn, made, image.image, max_bytes=int(limit), plain=plain)
    except ValueError:  # not even one stage fits
        return usual
    try:
        usual_stages, _ = thin_to_fit(file, io.BytesIO(), max_bytes=int(limit))
    except ValueError:
        return drawn
    drawn_error = _error(drawn, image.image, stages=stages)
    return drawn if drawn_error < _error(usual, image.image, weight, usual_stages) else usual


def has_few_colours(image: Float[Tensor, "channels height width"]) -> bool:
    """Whether an image in [0, 1] has at most `MOST_COLOURS` colours of eight bits a channel."""
    levels = (image * 255).round().long().clamp(0, 255)
    numbers = torch.zeros_like(levels[0])
    for channel in levels:
        numbers = numbers * 256 + channel
    # a few rows tell most photographs
    return all(len(part.unique()) <= MOST_COLOURS for part in (numbers[:: max(1, len(numbers) // 64)], numbers))


@cache
def _drawn() -> ImageTokenizer:
    return ImageTokenizer.from_pretrained(DRAWN)


@torch.no_grad()
def _error(
    tokenizer: ImageTokenizer,
    image: Float[Tensor, "channels height width"],
    weight: float | None = None,
    stages: int | None = None,
) -> float:
    """Squared error of what a file decodes to, without writing and reading it, in tiles that do not see each other."""
    quantizer, error = tokenizer.quantizer, 0.0
    for rows in image.split(TILE_PIXELS, dim=1):
        for tile in rows.split(TILE_PIXELS, dim=2):
            codes = quantizer.encode(tokenizer.analyze(tile[None]), rate_weight=weight, stages=stages)
            made = tokenizer.synthesize(quantizer.decode(codes), (tile.shape[1], tile.shape[2]))[0]
            error += float((made.cpu() - tile.cpu()).square().sum())
    return error
