"""Decoding of one ``.vqk`` file to a video file.

chunks ─ codes (any, where they are lost) ─ pixels (gray, where codes were lost) ─ file
"""

from pathlib import Path
from typing import BinaryIO

from vqkit.coding.coded import CodedVideo
from vqkit.coding.temporary import written_as_file
from vqkit.data.video import MAX_VIDEO_MEGAPIXELS
from vqkit.data.video.writer import video_bytes
from vqkit.files import write_whole
from vqkit.models.video.compression import decode_video
from vqkit.models.video.tokenizer import VideoTokenizer

__all__ = ["decode_video_file"]


def decode_video_file(
    tokenizer: VideoTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    *,
    suffix: str = ".mp4",
    max_megapixels: float = MAX_VIDEO_MEGAPIXELS,
    overwrite: bool = True,
) -> CodedVideo:
    """Decode a ``.vqk`` file of a video to H.264.

    What is damaged or cut off is gray, and named in the result's ``warnings``. H.264 has even sides: an odd one loses its last row or
    column, which a note says.

    Args:
        tokenizer: a tokenizer in evaluation mode, of the weights that the file names.
        source: path, or open file or pipe.
        target: path, which appears when it is complete; or open file or pipe.
        suffix: format for an open file or pipe.
        max_megapixels: refuse a file that promises more in all frames, in 10^6 pixels.
        overwrite: replace a target that exists.

    Returns:
        What was read.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights.
        FileExistsError: the target exists, and ``overwrite`` is False.
        ValueError: the video is too large, or smaller than two pixels each way.
    """
    decoded = decode_video(tokenizer, source, max_megapixels=max_megapixels)
    frames, height, width = decoded.video.shape[1:]
    with written_as_file(target, suffix) as path:
        write_whole(path, video_bytes(decoded.video, decoded.frame_rate), overwrite=overwrite)
    return CodedVideo(
        height=height,
        width=width,
        frames=frames,
        frame_rate=decoded.frame_rate,
        bytes=decoded.bytes,
        stages=decoded.stages,
        variable_stages=decoded.variable_stages,
        notes=("its last row or column left out: H.264 has even sides",) * bool(height % 2 or width % 2),
        warnings=decoded.warnings,
    )
