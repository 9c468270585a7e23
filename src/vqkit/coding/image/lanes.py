"""Coding of several images of one size at once, each in a lane of one batch.

The networks always see ``lanes`` images, of which those that are missing are black: so the codes of an image in some lane depend neither on
the images beside it nor on how many there are. With other numbers of lanes, or in another lane, latents differ within float rounding. An
image that takes more than one tile goes by itself, and so does each whose step has to be found by the size of its file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vqkit.bitstream import thin_to_fit
from vqkit.coding.coded import CodedImage
from vqkit.coding.image.encode import PreparedImage, encode_image_file, prepared_image
from vqkit.coding.rate import Rate, spooled
from vqkit.data import MAX_MEGAPIXELS
from vqkit.models.image.compression import open_image_writer
from vqkit.models.image.tiles import TILE_PIXELS
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.input_checks import home
from vqkit.scale import check_image_scale

__all__ = ["encode_images"]

_Source = str | Path | BinaryIO


@dataclass(frozen=True)
class _Waiting:
    """Image that waits for others of its size."""

    index: int
    target: _Source
    image: PreparedImage


def encode_images(
    tokenizer: ImageTokenizer,
    sources: Sequence[_Source],
    targets: Sequence[_Source],
    lanes: int,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    at: Callable[[int], None] = lambda index: None,
    **header: Any,
) -> list[CodedImage | Exception]:
    """Encode several image files at once, as `vqkit.coding.image.encode.encode_image_file` encodes one.

    The codes are those of `encode_image_file`, but where two codes lie equally near within float rounding; the same sources give the same
    codes every time. At most ``lanes`` images of each size wait, and at most as many pixels as ``lanes`` tiles.

    Args:
        tokenizer: Tokenizer in evaluation mode.
        sources: What `vqkit.data.read_image` reads.
        targets: A path or stream for each.
        lanes: Images that go through the networks together.
        rate: Stages to keep.
        max_megapixels: Refuse an image whose header says more, in 10^6 pixels.
        at: Called with the number of the source that is read next, and with −1 before the networks compute.
        header: ``plain``, ``licence`` and ``metadata`` of the files.

    Returns:
        What was written, or for an image that cannot be encoded the exception that says why, in the order of the sources.

    Raises:
        ValueError: ``lanes`` is below 1.
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    chosen = bool(tokenizer.quantizer.rate_weights) and (rate.max_bytes is not None or rate.bpp is not None)
    results: list[CodedImage | Exception] = [ValueError("it was not encoded")] * len(sources)
    waiting: dict[tuple[int, int], list[_Waiting]] = {}
    pixels = 0

    def flush(size: tuple[int, int]) -> int:
        group = waiting.pop(size)
        at(-1)
        for index, result in _encode_group(tokenizer, group, size, lanes, rate, header):
            results[index] = result
        return len(group) * size[0] * size[1]

    for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
        at(index)
        try:
            image = prepared_image(tokenizer, source, max_megapixels)
            check_image_scale("image", image.image)
        except Exception as error:
            results[index] = error
            continue
        size = image.image.shape[-2], image.image.shape[-1]
        if max(size) > TILE_PIXELS or chosen:
            try:
                options = {"max_megapixels": max_megapixels, **header}
                results[index] = encode_image_file(tokenizer, source, target, rate, **options)
            except Exception as error:
                results[index] = error
            continue
        waiting.setdefault(size, []).append(_Waiting(index, target, image))
        pixels += size[0] * size[1]
        if len(waiting[size]) == lanes:
            pixels -= flush(size)
        while pixels > lanes * TILE_PIXELS**2:
            pixels -= flush(max(waiting, key=lambda key: len(waiting[key]) * key[0] * key[1]))
    for size in list(waiting):
        flush(size)
    return results


@torch.no_grad()
def _encode_group(
    tokenizer: ImageTokenizer,
    group: list[_Waiting],
    size: tuple[int, int],
    lanes: int,
    rate: Rate,
    header: dict[str, Any],
) -> Iterator[tuple[int, CodedImage | Exception]]:
    images = torch.zeros(lanes, tokenizer.channels, *size, dtype=torch.float32)
    for lane, one in enumerate(group):
        images[lane] = one.image.image
    codes = tokenizer.quantizer.encode(tokenizer.analyze(images.to(home(tokenizer.backbone)))).cpu()
    for lane, one in enumerate(group):
        try:
            yield one.index, _write(tokenizer, one, codes[lane].flatten(end_dim=-2), rate, header)
        except Exception as error:
            yield one.index, error


def _write(tokenizer: ImageTokenizer, one: _Waiting, codes: Tensor, rate: Rate, header: dict[str, Any]) -> CodedImage:
    height, width = one.image.image.shape[-2:]
    stages = rate.check_stages(tokenizer.quantizer.num_stages, "tokenizer")
    limited = rate.max_bytes is not None or rate.bpp is not None
    with ExitStack() as stack:
        file = stack.enter_context(spooled(one.target, limited))
        with open_image_writer(tokenizer, file, height, width, stages, **header) as writer:
            writer.write(codes[:, : writer.header.num_codes])
            writer.close()
            size = writer.bytes_written
        if limited and not isinstance(file, str | Path):
            stages, size = thin_to_fit(file, one.target, max_bytes=rate.max_bytes, bpp=rate.bpp)
    return CodedImage(height=height, width=width, bytes=size, stages=stages, notes=one.image.notes)
