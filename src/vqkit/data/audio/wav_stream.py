"""Writing of a WAV file into a pipe: its header comes first, so it is written without seeking back."""

import struct
from typing import BinaryIO

from torch import Tensor

from vqkit.data.audio.writer import checked_samples, to_integers
from vqkit.types import Float

__all__ = ["WavStream"]

_UNKNOWN = (1 << 32) - 1  # what other programs write, too, where the length is open
_HEADER_BYTES = 44


class WavStream:
    """16-bit samples, as they come.

    Args:
        target: open binary file or pipe; every block is flushed, and it stays open.
        sample_rate: sample rate in Hz.
        channels: channels of the blocks.
        num_samples: number of samples in each channel, if known; otherwise the header leaves the length open.

    Example:
        >>> import io, torch
        >>> file = io.BytesIO()
        >>> stream = WavStream(file, 16000, channels=1, num_samples=3)
        >>> stream.write(torch.tensor([[0.0, 0.5, -1.0]]))
        >>> file.getvalue()[:4], file.getvalue()[44:].hex()
        (b'RIFF', '000000400080')
    """

    def __init__(self, target: BinaryIO, sample_rate: int, channels: int, num_samples: int | None = None) -> None:
        self._target = target
        size = _UNKNOWN if num_samples is None else min(num_samples * channels * 2, _UNKNOWN)
        rates = (1, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16)
        whole = min(size + _HEADER_BYTES - 8, _UNKNOWN)
        header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", whole, b"WAVE", b"fmt ", 16, *rates, b"data", size)
        self._put(header)

    def write(self, samples: Float[Tensor, "channels samples"]) -> None:
        """Write the next samples, rounded and clipped as in a file.

        Raises:
            ValueError: the shape or the values cannot be written.
        """
        self._put(to_integers(checked_samples(samples, "the stream"), 16).astype("<i2").tobytes())

    def _put(self, data: bytes) -> None:
        self._target.write(data)
        self._target.flush()
