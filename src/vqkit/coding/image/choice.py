"""The choice between the image tokenizers that ship: the usual one, and the one for text, lines and diagrams.

Images of few colours are encoded with both, and the one with less error in no more bytes is taken. A file names its model, so that decoding
does not need to know.
"""

import io
from functools import cache

import torch
from torch import Tensor

from vqkit.bitstream import inspect, size_limit
from vqkit.coding.image.encode import PreparedImage
from vqkit.coding.rate import Rate
from vqkit.models.image.compression import encode_image
from vqkit.models.image.tiles import TILE_PIXELS
from vqkit.models.image.to_size import finest_file
from vqkit.models.image.tokenizer import DRAWN, ImageTokenizer
from vqkit.types import Float

__all__ = ["MOST_COLOURS", "better_tokenizer", "has_few_colours"]

MOST_COLOURS = 4096
"""Most colours of an image that may have been drawn. Photographs have more, unless they are tiny."""


def better_tokenizer(usual: ImageTokenizer, image: PreparedImage, rate: Rate, *, plain: bool = False) -> ImageTokenizer:
    """The usual tokenizer, or the one for drawn images where its file has less error, or as little in fewer bytes, and keeps to the limit.

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
    drawn, pixels = _drawn(), image.image
    file, other = io.BytesIO(), io.BytesIO()
    if rate.max_bytes is None and rate.bpp is None:
        size, most = (
            encode_image(one, there, pixels, plain=plain).bytes for one, there in ((drawn, other), (usual, file))
        )
        if size > most:
            return usual
        return drawn if (_error(drawn, pixels), size) < (_error(usual, pixels), most) else usual
    limit, _ = size_limit(pixels.shape[-2:], rate.max_bytes, rate.bpp)
    encode_image(drawn, other, pixels, plain=plain)
    weight, file = finest_file(usual, pixels, limit, plain=plain)
    kept = [_stages_within(one, limit) for one in (other, file)]
    if not all(stages for stages, _ in kept):  # the one that fits, or that needs the least, which the error names
        return drawn if (-kept[0][0], kept[0][1]) < (-kept[1][0], kept[1][1]) else usual
    (stages, size), (usual_stages, most) = kept
    own, usual_own = _error(drawn, pixels, None, stages), _error(usual, pixels, weight, usual_stages)
    return drawn if (own, size) < (usual_own, most) else usual


def has_few_colours(image: Float[Tensor, "channels height width"]) -> bool:
    """Whether an image in [0, 1] has at most `MOST_COLOURS` colours of eight bits a channel."""
    levels = (image * 255).round().long().clamp(0, 255)
    numbers = torch.zeros_like(levels[0])
    for channel in levels:
        numbers = numbers * 256 + channel
    # a few rows tell most photographs
    return all(len(part.unique()) <= MOST_COLOURS for part in (numbers[:: max(1, len(numbers) // 64)], numbers))


def _stages_within(file: io.BytesIO, limit: int) -> tuple[int, int]:
    """Stages of a file that fit into a limit, and its size with these, or with one if there are none."""
    file.seek(0)
    sizes: list[int] = inspect(file)["thinned_bytes"]
    stages = sum(size <= limit for size in sizes)
    return stages, sizes[max(stages, 1) - 1]


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
