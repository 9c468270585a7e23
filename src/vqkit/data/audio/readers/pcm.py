"""Read uncompressed samples as they lie in a file or come through a pipe."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from vqkit.data.audio.containers import Link, PcmFormat
from vqkit.data.audio.readers.pieces import Piece, as_float, channel_names

__all__ = ["PcmReader"]

_BLOCK_BYTES = 1 << 18


class PcmReader:
    """Reader of the samples of a link of known PCM layout; for pipes, and where the header leaves the length open.

    Args:
        file: file at the first byte of the link.
        link: link whose ``pcm`` is set.
        pcm: PCM description of the link.
    """

    def __init__(self, file: BinaryIO, link: Link, pcm: PcmFormat) -> None:
        self._file, self._link, self._pcm = file, link, pcm
        self.sample_rate = link.sample_rate
        self.layout = channel_names(link.channels)
        self.num_samples = link.samples
        self.seconds = None if link.samples is None else link.samples / link.sample_rate
        self.reached = 0

    def pieces(self, start: int) -> Iterator[Piece]:
        """The samples from this one on, fewer than the header says where the file ends before."""
        frame = self._pcm.frame_bytes
        there = self._link.there
        self.reached = start if there is None else min(start, there)
        self._leave_out(self._pcm.start + start * frame)
        left = None if self._link.samples is None else max(0, self._link.samples - start) * frame
        rest = b""
        while left is None or left > 0:
            data = self._file.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
            if not data:
                break
            left = None if left is None else left - len(data)
            data = rest + data
            whole = len(data) // frame * frame
            rest = data[whole:]
            if whole:
                samples = as_float(unpacked(data[:whole], self._pcm.dtype)).reshape(-1, len(self.layout))
                self.reached += len(samples)
                yield Piece(samples, self.sample_rate, self.layout)

    def close(self) -> None:
        """Do nothing: a file that was given open stays open."""

    def _leave_out(self, count: int) -> None:
        if self._file.seekable():
            self._file.seek(count)
            return
        while count > 0 and (data := self._file.read(min(count, _BLOCK_BYTES))):
            count -= len(data)


def unpacked(data: bytes, dtype: str) -> np.ndarray:
    """Numbers of bytes; those of three bytes become the upper ones of four.

    Example:
        >>> unpacked(bytes.fromhex("000080ffff7f"), "<i3").tolist()
        [-2147483648, 2147483392]
    """
    if dtype[-1] != "3":
        return np.frombuffer(data, dtype)
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, slice(1, 4) if dtype[0] == "<" else slice(0, 3)] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return padded.view(f"{dtype[0]}i4")[:, 0]
