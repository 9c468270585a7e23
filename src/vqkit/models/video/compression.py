"""A video to the bytes of a ``.vqk`` file and back.

video ─ codes of cells: picture by picture, row by row ─ file ─ codes (any, where they are lost) ─ video (gray there)
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from torch import Tensor

from vqkit.bitstream import BitstreamError, VqkHeader, VqkWriter
from vqkit.counts import check_numbers
from vqkit.modality import VIDEO
from vqkit.models.input_checks import check_floating, transposed_video
from vqkit.models.lost import cover_lost
from vqkit.models.vqk_files import (
    CodedSignal,
    HasCodes,
    WrittenFile,
    header_of,
    open_reader,
    packed_codes,
    read_cells,
    unpacked_codes,
)
from vqkit.scale import check_image_scale
from vqkit.types import Float

__all__ = ["DecodedVideo", "coded", "compress", "decode_video", "decompress", "encode_video"]

_TICKS = 1000  # a frame: frame rates are kept to a thousandth
_MOST_MEGAPIXELS = 256.0  # of all frames


@dataclass(frozen=True)
class DecodedVideo:
    """Video decoded from a file, with the facts about the file.

    Attributes:
        video: the video in [0, 1], float32 on the CPU.
        frame_rate: frames a second.
        stages: number of stages in the file.
        bytes: size of the file.
        warnings: what is damaged or missing.
        variable_stages: whether cells may have fewer stages.
    """

    video: Float[Tensor, "channels frames height width"]
    frame_rate: float
    stages: int
    bytes: int
    warnings: tuple[str, ...]
    variable_stages: bool = False


class VideoModel(HasCodes, Protocol):
    """Interface of `VideoTokenizer` that this module relies on."""

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
    """Return the header of a file that holds a video of ``size`` (frames, height, width) coded by this tokenizer."""
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


def encode_video(
    tokenizer: VideoModel,
    target: str | Path | BinaryIO,
    video: Float[Tensor, "channels frames height width"],
    frame_rate: float,
    stages: int | None = None,
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    rate_weight: float | None = None,
) -> WrittenFile:
    """Write a video as a file; the codes are coded with the tokenizer's prior, if it has one.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        target: path or stream.
        video: a video in [0, 1].
        frame_rate: its frames a second, to a thousandth.
        stages: number of stages to keep; all by default.
        plain: plain bits although there is a prior.
        licence: licence of the content.
        metadata: free text by name.
        rate_weight: λ; every cell keeps only the stages that are worth their bits, see `VideoTokenizer.encode`.

    Returns:
        Its size and its stages.

    Raises:
        TypeError: the video is not floating.
        ValueError: the shape is wrong, NaN, Inf or a pixel far outside 0 … 1, or a frame rate outside 0.001 … 1000.
    """
    size = _size(tokenizer, video)
    if not 0.001 <= frame_rate <= 1000:
        raise ValueError(f"frame_rate must be 0.001 … 1000, got {frame_rate}")
    header = video_header(tokenizer, size, frame_rate, stages, variable_stages=rate_weight is not None)
    header = replace(header, licence=licence, metadata=metadata or {})
    codes = packed_codes(tokenizer.quantizer, tokenizer.encode(video[None], rate_weight=rate_weight))
    codes = codes[:, : header.num_codes].cpu()
    with VqkWriter(target, header, entropy_model=None if plain else tokenizer.prior) as writer:
        for picture in codes.split(math.prod(header.grid)):
            writer.write(picture)
        writer.close()
        return WrittenFile.by(writer)


def decode_video(
    tokenizer: VideoModel, source: str | Path | BinaryIO, *, max_megapixels: float = _MOST_MEGAPIXELS
) -> DecodedVideo:
    """Read the video of a file. What is damaged or cut off is gray, and named.

    Args:
        tokenizer: a tokenizer in evaluation mode, of the weights that the file names.
        source: path, or file or pipe.
        max_megapixels: refuse a file that promises more in all frames, in 10^6 pixels.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, written with other weights, or no video of this tokenizer.
        ValueError: the video is larger than allowed.
    """
    with open_reader(tokenizer, source) as reader:
        size, rate = _checked_size(tokenizer, reader.header, max_megapixels)
        grid = _blocks(tokenizer, size)
        cells = read_cells(reader, math.prod(grid), "video")
    codes = unpacked_codes(tokenizer.quantizer, cells.codes, tokenizer.grid(*size))
    made = tokenizer.decode(codes, size)[0].float().cpu()
    pixels = cells.lost.view(grid)
    for axis, step in enumerate(tokenizer.tubelet):
        pixels = pixels.repeat_interleave(step * tokenizer.quantizer.block, axis)
    video = cover_lost(made, pixels[: size[0], : size[1], : size[2]], VIDEO)
    return DecodedVideo(video, rate, cells.stages, cells.bytes, cells.warnings, cells.variable_stages)


def compress(
    tokenizer: VideoModel,
    video: Float[Tensor, "channels frames height width"],
    frame_rate: float | None = None,
    kbps: float | None = None,
    plain: bool = False,
    rate_weight: float | None = None,
) -> bytes:
    """See `VideoTokenizer.compress`."""
    rate, file = tokenizer.frame_rate if frame_rate is None else frame_rate, io.BytesIO()
    stages = None if kbps is None else stages_at(tokenizer, video.shape[-2:], rate, kbps)
    encode_video(tokenizer, file, video, rate, stages, plain=plain, rate_weight=rate_weight)
    return file.getvalue()


def stages_at(tokenizer: VideoModel, size: Sequence[int], frame_rate: float, kbps: float) -> int:
    """Stages that fit into a rate, of a video of (height, width): a faster one has more vectors a second than the model's own rate says.

    Raises:
        ValueError: not even one stage fits.
    """
    check_numbers(kbps=kbps, frame_rate=frame_rate)  # a product would hide them
    return tokenizer.stages_within(kbps * tokenizer.frame_rate / frame_rate, *size)


def decompress(tokenizer: VideoModel, data: bytes) -> tuple[Float[Tensor, "channels frames height width"], float]:
    """See `VideoTokenizer.decompress`."""
    decoded = decode_video(tokenizer, io.BytesIO(data))
    for warning in decoded.warnings:
        warnings.warn(warning, stacklevel=3)
    return decoded.video, decoded.frame_rate


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


def _checked_size(tokenizer: VideoModel, header: VqkHeader, most: float) -> tuple[tuple[int, int, int], float]:
    """(frames, height, width) and the frame rate, believed only where all that the header says fits together."""
    if header.modality is not VIDEO or len(header.image_size) != 2 or not header.length:
        raise BitstreamError(
            f"it holds no video: its image size is {header.image_size}, its rate {header.sample_rate} Hz, its length {header.length}"
        )
    frames = header.length // _TICKS
    size = (frames, header.image_size[0], header.image_size[1])
    if math.prod(size) > most * 1e6:
        raise ValueError(
            f"it has {size[0]} frames of {size[2]} × {size[1]} pixels, allowed are {most:g} megapixels in all"
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
