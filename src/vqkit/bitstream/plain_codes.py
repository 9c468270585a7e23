"""Codes as plain bits: log2 of the alphabet each, without a model and without any package but numpy.

An alphabet that is no power of two wastes part of a bit a code. So codes are packed in groups, ``Σ c_i · K^(g−1−i)`` in as many bits as
the largest such number has; g is the shortest of the groups up to 62 bits that waste least. For 4375 codes: 5 in 61 bits, 12.2 each
instead of 13.

Conventions
    The codes of a stage follow each other column by column (all frames of its first code, then of its second). Bits are written from the
    highest down; a last group that is not full has the bits of a smaller group; zero bits fill the last byte of a stage.
"""

from collections.abc import Sequence

import numpy as np

from vqkit.bitstream.errors import BitstreamError

__all__ = ["PlainCodes"]

_MAX_GROUP_BITS = 62


class PlainCodes:
    """The coding ``"plain"``.

    Args:
        code_sizes: alphabet of each code of a frame.

    Example:
        >>> coder = PlainCodes([16, 3])
        >>> data = coder.encode(np.array([[1, 2], [15, 0]]), 0, 2)
        >>> data.hex()  # 1, 15, then 2·3 + 0 in four bits
        '1f60'
        >>> coder.decode(data, np.zeros((2, 0), np.int64), 2).tolist()
        [[1, 2], [15, 0]]
    """

    coding = "plain"
    tables_hash = ""

    def __init__(self, code_sizes: Sequence[int]) -> None:
        self.code_sizes = tuple(code_sizes)

    def to_bytes(self) -> bytes:
        """Return no bytes: plain codes have no tables."""
        return b""

    def first(self, num_codes: int) -> "PlainCodes":
        """The same for the first codes of a frame."""
        return PlainCodes(self.code_sizes[:num_codes])

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames; codes: (frames, at least ``stop``) int64."""
        columns = range(start, stop)
        bits = [_bits(*group) for column in columns for group in _groups(codes[:, column], self.code_sizes[column])]
        return np.packbits(np.concatenate([np.zeros(0, np.uint8), *bits])).tobytes()

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """The codes of `encode`, (frames, stop − start) int64.

        Args:
            data: what `encode` returned.
            known: the codes before, (frames, start).
            stop: the stage that `encode` stopped before.

        Raises:
            BitstreamError: the data have another length, or hold a number that `encode` does not write.
        """
        frames, start = known.shape
        sizes = self.code_sizes[start:stop]
        total = sum(_column_bits(frames, size) for size in sizes)
        if len(data) != -(-total // 8):
            raise BitstreamError(f"{len(data)} bytes are not {total} bits")
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        if bits[total:].any():
            raise BitstreamError("the bits that fill the last byte are not zero")
        codes = np.empty((frames, stop - start), np.int64)
        position = 0
        for column, size in enumerate(sizes):
            end = position + _column_bits(frames, size)
            codes[:, column] = _column(bits[position:end], frames, size)
            position = end
        return codes


def group_length(size: int) -> int:
    """Return the number of neighbouring codes that are packed into one number.

    Example:
        >>> [group_length(size) for size in (2, 3, 5, 1024, 4375)]
        [1, 29, 3, 1, 5]
    """
    if size & (size - 1) == 0:
        return 1
    best = length = 1
    while (bits := _group_bits(size, length + 1)) <= _MAX_GROUP_BITS:
        length += 1
        if bits * best < _group_bits(size, best) * length:
            best = length
    return best


def _group_bits(size: int, length: int) -> int:
    return (size**length - 1).bit_length()


def _column_bits(frames: int, size: int) -> int:
    length = group_length(size)
    return frames // length * _group_bits(size, length) + _group_bits(size, frames % length)


def _groups(column: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
    """The numbers to write and how many bits each has: the full groups, and the rest."""
    length = group_length(size)
    full = len(column) // length * length
    parts = ((column[:full].reshape(-1, length), length), (column[None, full:], len(column) - full))
    return [(_join(digits, size), _group_bits(size, count)) for digits, count in parts if count]


def _join(digits: np.ndarray, size: int) -> np.ndarray:
    value = np.zeros(len(digits), np.int64)
    for digit in digits.T:
        value = value * size + digit
    return value


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """The lowest ``width`` bits of each value, the highest of them first."""
    octets = values.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 8 - -(-width // 8) :]
    return np.unpackbits(octets, axis=1)[:, octets.shape[1] * 8 - width :].reshape(-1)


def _values(bits: np.ndarray, width: int) -> np.ndarray:
    count = len(bits) // width
    padded = np.zeros((count, 64), np.uint8)
    padded[:, 64 - width :] = bits.reshape(count, width)
    return np.packbits(padded, axis=1).view(">i8").reshape(-1).astype(np.int64)


def _column(bits: np.ndarray, frames: int, size: int) -> np.ndarray:
    length = group_length(size)
    column = np.zeros(frames, np.int64)
    if size == 1:
        return column
    full = frames // length
    split = full * _group_bits(size, length)
    parts = (
        (bits[:split], column[: full * length].reshape(full, length)),
        (bits[split:], column[None, full * length :]),
    )
    for part, digits in parts:
        count = digits.shape[1]
        if digits.size:
            _split(_values(part, _group_bits(size, count)), digits, size)
    return column


def _split(values: np.ndarray, digits: np.ndarray, size: int) -> None:
    """Write the digits of each value, the most significant first."""
    for place in reversed(range(digits.shape[1])):
        values, digits[:, place] = np.divmod(values, size)
    if values.any():
        raise BitstreamError(f"a group of codes is out of range for {size} codes")
