"""A video to the bytes of a ``.vqk`` file and back.

video ─ codes of cells: picture by picture, row by row ─ file ─ codes (any, where they are lost) ─ video (gray there)
"""

import io
import math
import warnings
from typing import Protocol

import torch
from torch import Tensor

from vqkit.bitstream import BitstreamError, VqkHeader, VqkReader, VqkWriter
from vqkit.modality import VIDEO
from vqkit.models.input_checks import check_floating, check_image_scale, transposed_video
from vqkit.models.lost import cover_lost
from vqkit.models.vqk_files import CodedSignal, HasCodes, header_of, open_reader, packed_codes, unpacked_codes
from vqkit.types import Float, Int

__all__ = ["coded", "compress", "decompress"]

_TICKS = 1000  # a frame: frame rates are kept to a thousandth
_MOST_MEGAPIXELS = 256.0  # of all frames


class VideoModel(HasCodes, Protocol):
    """What this module needs of `VideoTokenizer`."""

    channels: int
    frame_rate: float
    tubelet: tuple[int, int, int]

    def grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]: ...
    def encode(self, video: Tensor, kbps: float | None = None, *, rate_weight: float | None = None) -> Tensor: ...
    def decode(self, codes: Tensor, size: tuple[int, int, int] | None = None) -> Tensor: ...
    def stages_within(self, rate: float, *size: int) -> int: ...


def video_header(
    tokenizer: VideoModel,
    size: tuple[int, int, int],
    frame_rate: float,
    stages: int | None = None,
    *,
    variable_stages: bool = False,
) -> VqkHeader:
    """What a file says about a video of (frames, height, width) and the tokenizer that wrote it."""
    frames, height, width = size
    return header_of(
        tokenizer,
        stages,
        variable_stages=variable_stages,
        sample_rate=round(frame_rate * _TICKS),
        hop_samples=tokenizer.tubelet[0] * tokenizer.quantizer.block * _TICKS,
        length=frames * _TICKS,
        grid=_blocks(tokenizer, size)[1:],
        image_size=(height, width),
    )


def _blocks(tokenizer: VideoModel, size: tuple[int, int, int]) -> tuple[int, ...]:
    """Blocks of cells of a video along each axis; cells, where the quantizer has codes of one scale."""
    return tuple(-(-side // tokenizer.quantizer.block) for side in tokenizer.grid(*size))


def coded(tokenizer: VideoModel, video: Float[Tensor, "channels frames height width"]) -> CodedSignal:
    """See `VideoTokenizer.coded`."""
    size = _size(tokenizer, video)
    codes = packed_codes(tokenizer.quantizer, tokenizer.encode(video[None]))
    return CodedSignal(
        codes, video_header(tokenizer, size, tokenizer.frame_rate), 1000 * size[0] / tokenizer.frame_rate
    )


def compress(
    tokenizer: VideoModel,
    video: Float[Tensor, "channels frames height width"],
    frame_rate: float | None = None,
    kbps: float | None = None,
    plain: bool = False,
    rate_weight: float | None = None,
) -> bytes:
    """See `VideoTokenizer.compress`."""
    size = _size(tokenizer, video)
    rate = tokenizer.frame_rate if frame_rate is None else frame_rate
    if not 0.001 <= rate <= 1000:
        raise ValueError(f"frame_rate must be 0.001 … 1000, got {rate}")
    # a faster video has more vectors a second than the model's own rate says
    stages = None if kbps is None else tokenizer.stages_within(kbps * tokenizer.frame_rate / rate, *size[1:])
    header = video_header(tokenizer, size, rate, stages, variable_stages=rate_weight is not None)
    file = io.BytesIO()
    codes = packed_codes(tokenizer.quantizer, tokenizer.encode(video[None], rate_weight=rate_weight))
    codes = codes[:, : header.num_codes].cpu()
    with VqkWriter(file, header, entropy_model=None if plain else tokenizer.prior) as writer:
        for picture in codes.split(math.prod(header.grid)):
            writer.write(picture)
        writer.close()
    return file.getvalue()


def decompress(tokenizer: VideoModel, data: bytes) -> tuple[Float[Tensor, "channels frames height width"], float]:
    """See `VideoTokenizer.decompress`."""
    with open_reader(tokenizer, io.BytesIO(data)) as reader:
        size, rate = _checked_size(tokenizer, reader.header)
        grid = _blocks(tokenizer, size)
        codes, lost = _read(reader, math.prod(grid))
        found = [f"{damage}; these cells are gray" if damage.frames else str(damage) for damage in reader.damage]
        if reader.frames < len(lost):
            found.append(f"the file ends after {reader.frames} of {len(lost)} cells; the others are gray")
        elif not reader.complete:
            found.append("the file is cut off behind its last cell")
    for warning in found:
        warnings.warn(warning, stacklevel=3)
    made = tokenizer.decode(unpacked_codes(tokenizer.quantizer, codes, tokenizer.grid(*size)), size)[0].float().cpu()
    pixels = lost.view(grid)
    for axis, step in enumerate(tokenizer.tubelet):
        pixels = pixels.repeat_interleave(step * tokenizer.quantizer.block, axis)
    return cover_lost(made, pixels[: size[0], : size[1], : size[2]], VIDEO), rate


def _size(tokenizer: VideoModel, video: Tensor) -> tuple[int, int, int]:
    """Frames, height and width of one video."""
    check_floating("video", video)
    if video.ndim != 4 or video.shape[0] != tokenizer.channels or 0 in video.shape:
        raise ValueError(
            f"video must be ({tokenizer.channels} channels, frames, height, width), got shape {tuple(video.shape)}"
            f"{transposed_video(video.shape)}"
        )
    check_image_scale("video", video)
    frames, height, width = video.shape[1:]
    return frames, height, width


def _checked_size(tokenizer: VideoModel, header: VqkHeader) -> tuple[tuple[int, int, int], float]:
    """(frames, height, width) and the frame rate, believed only where all that the header says fits together."""
    if header.modality is not VIDEO or len(header.image_size) != 2 or not header.length:
        raise BitstreamError(
            f"it holds no video: its image size is {header.image_size}, its rate {header.sample_rate} Hz, its length {header.length}"
        )
    frames = header.length // _TICKS
    size = (frames, header.image_size[0], header.image_size[1])
    if math.prod(size) > _MOST_MEGAPIXELS * 1e6:
        raise ValueError(
            f"it has {size[0]} frames of {size[2]} × {size[1]} pixels, allowed are {_MOST_MEGAPIXELS:g} megapixels in all"
        )
    quantizer = tokenizer.quantizer
    fits = (
        frames >= 1
        and header.hop_samples == tokenizer.tubelet[0] * quantizer.block * _TICKS
        and header.grid == _blocks(tokenizer, size)[1:]
        and header.code_sizes == tuple(quantizer.packed_sizes)[: header.num_codes]
        and header.codes_per_stage == tuple(quantizer.packed_per_stage)[: header.num_stages]
    )
    if not fits:
        raise BitstreamError(
            f"its grid {header.grid}, its hop {header.hop_samples} or its code sizes {header.code_sizes[:8]} are not this tokenizer's"
        )
    return size, header.sample_rate / _TICKS


def _read(reader: VqkReader, cells: int) -> tuple[Int[Tensor, "cells num_codes"], Tensor]:
    """Codes (any, where they are lost), and the cells that are lost."""
    codes = torch.zeros(cells, reader.header.num_codes, dtype=torch.int64)
    lost = torch.ones(cells, dtype=torch.bool)
    for block in reader:
        stop = block.start_frame + len(block.codes)
        if stop > cells:
            raise BitstreamError(f"it holds more than the {cells} cells of its video")
        if not block.lost and len(block.codes):
            codes[block.start_frame : stop] = block.codes
            lost[block.start_frame : stop] = False
    return codes, lost
