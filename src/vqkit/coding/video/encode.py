"""Encoding of one video file to a ``.vqk`` file.

file ─ frames, upright ─ the tokenizer's channels ─ codes ─ chunks ─ file
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vqkit.bitstream import thin_to_fit
from vqkit.coding.coded import CodedVideo
from vqkit.coding.rate import Rate, spooled
from vqkit.coding.temporary import read_as_file
from vqkit.data.video import MAX_VIDEO_MEGAPIXELS, read_video
from vqkit.models.image.compression import with_channels
from vqkit.models.video.compression import encode_video, stages_at
from vqkit.models.video.tokenizer import VideoTokenizer

__all__ = ["encode_video_file"]


def encode_video_file(
    tokenizer: VideoTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    max_megapixels: float = MAX_VIDEO_MEGAPIXELS,
) -> CodedVideo:
    """Encode the pictures of a video file in one go: all frames are in memory.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        source: path of what `vqkit.data.video.read_video` reads, or open file or pipe with such.
        target: path, which appears when it is complete, or open file or pipe.
        rate: stages to keep.
        plain: plain bits although the tokenizer has a prior.
        licence: licence of the content, for the header.
        metadata: free text by name, for the header.
        max_megapixels: refuse a video of more pixels in all frames, in 10^6.

    Returns:
        What was written. Its notes say what of the file was left out: sound, colour, further pictures.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: the source is no video, it is too large, or the rate is too low.
    """
    with read_as_file(source) as path:
        read = read_video(path, max_megapixels=max_megapixels)
    video, notes = read.frames, read.notes
    frames, height, width = video.shape[1:]
    if tokenizer.channels != len(video):
        notes += ("colour left out: the tokenizer is gray",)
        video = with_channels(video.flatten(1, 2), tokenizer.channels).unflatten(1, (frames, height))
    stages = rate.check_stages(tokenizer.quantizer.num_stages, "tokenizer")
    if rate.kbps is not None:
        stages = stages_at(tokenizer, (height, width), read.rate, rate.kbps)
    with spooled(target, rate.max_bytes is not None) as file:
        made = encode_video(
            tokenizer,
            file,
            video,
            read.rate,
            stages,
            plain=plain,
            licence=licence,
            metadata=metadata,
            rate_weight=rate.rate_weight,
        )
        if rate.max_bytes is not None and not isinstance(file, str | Path):
            stages, size = thin_to_fit(file, target, max_bytes=rate.max_bytes)
            made = replace(made, stages=stages, bytes=size)
    return CodedVideo(height=height, width=width, frames=frames, frame_rate=read.rate, notes=notes, **vars(made))
