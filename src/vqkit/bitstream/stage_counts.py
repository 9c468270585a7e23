"""Coding of each frame's number of stages as bytes, for files in which every frame keeps as many stages as are worth their bits.

In a file with the coding ``"plain"`` counts are plain bits. With the others they go through a range coder whose probabilities follow from
the counts before them in the chunk: a frame tends to keep about as many stages as the frame before it, and no table has to be stored.

Conventions
    The weight of count n in a frame, with h(n) the frames of the chunk so far that have count n, t(m, n) how often n came right behind m
    in it, and m the count of the frame before::

        w(n) = 1 + h(n) + 6·t(m, n) + k(|n − m|),    k = 8, 6, 4, 2 and then 0

    In the first frame of a chunk w(n) = 1. `vqkit.bitstream.code_models.exact_weights` makes whole probabilities of these counts.

References:
    Cleary & Witten, "Data compression using adaptive coding and partial string matching" (1984): counts of contexts as they come.
"""

from typing import Any

import numpy as np

from vqkit.bitstream.code_models import exact_weights
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.bitstream.range_coder import finish, start_decoder
from vqkit.types import need

__all__ = ["decode_counts", "encode_counts"]

_KERNEL = (8, 6, 4, 2)  # for a count that differs by 0, 1, 2, 3 from that of the frame before
_FOLLOWED = 6  # for each time that a count came behind the one before: of 1 to 8, best on sound and on photographs


class _Adaptive:
    """Adaptive weights of the next count."""

    def __init__(self, stages: int) -> None:
        self._seen = np.ones(stages, np.int64)
        self._behind: dict[int, np.ndarray] = {}  # for each count what followed it; few of 1024 ever occur
        self._near = np.zeros(2 * stages + 1, np.int64)  # the kernel around its middle
        for distance, weight in enumerate(_KERNEL[: stages + 1]):
            self._near[[stages - distance, stages + distance]] = weight
        self._stages, self._last = stages, -1

    def weights(self) -> np.ndarray:
        """Weights in whole numbers of sum 2^24 − stages."""
        if self._last < 0:
            return exact_weights(self._seen)
        near = self._near[self._stages - self._last : 2 * self._stages - self._last]
        followed = self._behind.get(self._last)
        counts = self._seen + near if followed is None else self._seen + near + followed
        return exact_weights(counts)

    def add(self, count: int) -> None:
        """Update the statistics with the count that came."""
        self._seen[count] += 1
        if self._last >= 0:
            behind = self._behind.setdefault(self._last, np.zeros(self._stages, np.int64))
            behind[count] += _FOLLOWED
        self._last = count


def encode_counts(counts: np.ndarray, stages: int, coding: str) -> bytes:
    """Bytes of the counts of a chunk's frames.

    Args:
        counts: ``(frames,)`` int64, each from 1 to ``stages``.
        stages: most stages that a frame can have.
        coding: coding of the file.

    Example:
        >>> counts = np.array([3, 3, 3, 2, 3, 3, 4, 4])
        >>> len(encode_counts(counts, 8, "plain")), len(encode_counts(np.repeat(counts, 50), 8, "static"))
        (3, 31)
    """
    if stages == 1:
        return b""
    if coding == "plain":
        return PlainCodes((stages,)).encode(counts[:, None] - 1, 0, 1)
    stream, model = need("constriction", "audio").stream, _Adaptive(stages)
    encoder = stream.queue.RangeEncoder()
    for count in (counts - 1).tolist():
        _encode(encoder, stream, count, model.weights())
        model.add(count)
    return finish(encoder)


def decode_counts(data: bytes, frames: int, stages: int, coding: str) -> np.ndarray:
    """The counts of `encode_counts`, ``(frames,)`` int64.

    Raises:
        BitstreamError: `encode_counts` does not write such data.
    """
    if stages == 1:
        if data:
            raise BitstreamError(f"{len(data)} bytes say how many stages frames have, and there is one")
        return np.ones(frames, np.int64)
    if coding == "plain":
        return PlainCodes((stages,)).decode(data, np.zeros((frames, 0), np.int64), 1)[:, 0] + 1
    stream, model = need("constriction", "audio").stream, _Adaptive(stages)
    decoder, encoder = start_decoder(data), stream.queue.RangeEncoder()
    counts = np.empty(frames, np.int64)
    try:
        for frame in range(frames):
            weights = model.weights()
            count = int(decoder.decode(stream.model.Categorical(weights, lazy=True)))
            _encode(encoder, stream, count, weights)
            model.add(count)
            counts[frame] = count + 1
    except (ValueError, AssertionError):  # constriction's word for data that no encoder writes
        raise BitstreamError(f"{len(data)} bytes do not hold the numbers of stages of {frames} frames") from None
    if finish(encoder) != data:
        raise BitstreamError(f"{len(data)} bytes do not hold the numbers of stages of {frames} frames")
    return counts


def _encode(encoder: Any, stream: Any, count: int, weights: np.ndarray) -> None:
    encoder.encode(count, stream.model.Categorical(weights, lazy=True))
