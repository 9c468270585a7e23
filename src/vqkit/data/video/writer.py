"""Frames to an H.264 file, by FFmpeg (PyAV)."""

from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.files import NewFile
from vqkit.types import Float, Int, need

__all__ = ["video_bytes", "write_frames"]


def write_frames(
    path: str | Path, frames: Iterable[Int[np.ndarray, "height width 3"]], rate: float, *, crf: int = 15
) -> None:
    """Write frames as an mp4 file.

    Args:
        path: file to write; it stands there when it is complete.
        frames: uint8 RGB, of one size, both sides even.
        rate: frames a second, to a thousandth.
        crf: quality of H.264, from 0 (best) to 51.

    Raises:
        ValueError: no frame, or an odd side.
    """
    with NewFile(path) as new:
        _encode(str(new.temporary), frames, rate, crf)


def video_bytes(
    video: Float[Tensor, "channels frames height width"], rate: float, *, least_side: int = 0, crf: int = 15
) -> bytes:
    """A video as the bytes of an mp4 file.

    Args:
        video: video in [0, 1], gray or RGB. An odd side loses its last row or column.
        rate: frames a second, to a thousandth.
        least_side: enlarge pixels by a whole factor, until the larger side has so many.
        crf: quality of H.264, from 0 (best) to 51.

    Raises:
        ValueError: no frame, or less than two pixels each way.

    Example:
        >>> video_bytes(torch.rand(3, 4, 16, 16), 8.0)[4:8]
        b'ftyp'
    """
    times = max(1, -(-least_side // max(video.shape[-2:])))
    pixels = (video.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1, -1).movedim(0, -1)
    pixels = pixels.repeat_interleave(times, 1).repeat_interleave(times, 2)
    height, width = (side // 2 * 2 for side in pixels.shape[1:3])
    target = BytesIO()
    _encode(target, iter(pixels[:, :height, :width].contiguous().numpy()), rate, crf)
    return target.getvalue()


def _encode(target: Any, frames: Iterable[np.ndarray], rate: float, crf: int) -> None:
    av = need("av", "audio")
    stream: Any = None
    with closing(av.open(target, "w", format="mp4")) as file:
        for frame in frames:
            if stream is None:
                height, width = frame.shape[:2]
                if height % 2 or width % 2 or not height or not width:
                    raise ValueError(f"frames must have even sides, got {width} × {height} pixels")
                options = {"crf": str(crf), "threads": "1", "bf": "0"}
                stream = file.add_stream("libx264", rate=Fraction(round(rate * 1000), 1000), options=options)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is None:
            raise ValueError("there are no frames to write")
        file.mux(stream.encode(None))
