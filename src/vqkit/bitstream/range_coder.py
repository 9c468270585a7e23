"""Codes ↔ bytes at the cost of their entropy, by range coding (Martin 1979; constriction, Bamler 2022).

Conventions
    Codes are ``(frames, num_codes)`` integers; code i is in 0 … ``code_sizes[i]`` − 1, without masked positions.
    The bytes hold no header: number of frames, code sizes and frequencies are known to the reader, and so is the number of bytes.
    The order is stage-major: all frames of code 0, then all frames of code 1, and so on. The first bytes therefore hold the first
    codes, as the first stages of a residual quantizer do: a stream cut after ``prefix_bytes(...)[k − 1]`` bytes still gives the first
    k codes of every frame.
    The size is the information of the codes under the model, Σ −log2 p, plus at most two bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vqkit.bitstream.code_models import CodePart, check_code_sizes, check_frequencies, code_parts
from vqkit.bitstream.tensors import array_of_codes, tensor_of_codes
from vqkit.types import Int, need

if TYPE_CHECKING:
    from torch import Tensor

_STATE_WORDS = 2  # constriction's coder state: an interval of 64 bits, in words of 32

Frequencies: TypeAlias = "Sequence[Tensor | np.ndarray | None] | None"


def encode_codes(
    codes: Int[Tensor, "frames num_codes"], code_sizes: Sequence[int], frequencies: Frequencies = None
) -> bytes:
    """Write codes as bytes.

    Args:
        codes: ``(frames, num_codes)``, any integer dtype and device.
        code_sizes: alphabet of each code, up to 2^62.
        frequencies: for each code how often its values occur, ``(code_sizes[i],)`` integers, or None for all alike; the reader needs the
            same. A value that never occurred counts as one, and so stays possible. None: all codes cost log2 of their alphabet.

    Returns:
        The bytes; none for no codes.

    Raises:
        ValueError: shape, dtype, a code, an alphabet or a histogram is wrong.

    Example:
        >>> codes = torch.tensor([[3, 900], [1, 20], [0, 511]])
        >>> data = encode_codes(codes, code_sizes=[4, 1024])
        >>> len(data)  # 3 × 12 bits are 4.5 bytes
        5
        >>> torch.equal(decode_codes(data, num_frames=3, code_sizes=[4, 1024]), codes)
        True
    """
    return encode_columns(*_checked(codes, code_sizes, frequencies))


def encode_columns(columns: Sequence[np.ndarray], models: Sequence[list[CodePart]]) -> bytes:
    """Encode columns that are known to be valid, one int64 array a code position, each with its model; see `encode_codes`."""
    encoder = need("constriction", "audio").stream.queue.RangeEncoder()
    for column, parts in zip(columns, models, strict=True):
        encode_column(encoder, column, parts)
    return finish(encoder)


def decode_codes(
    data: bytes,
    num_frames: int,
    code_sizes: Sequence[int],
    frequencies: Frequencies = None,
    num_codes: int | None = None,
) -> Int[Tensor, "frames num_codes"]:
    """Read what `encode_codes` wrote.

    The codes are encoded again and compared with the data. With a uniform model this finds every truncation; damage that turns the
    data into those of other codes cannot be seen here: a file keeps a checksum.

    Args:
        data: the bytes; with ``num_codes``, the beginning suffices, see `prefix_bytes`.
        num_frames: number of frames written.
        code_sizes: the alphabets that were written.
        frequencies: the tables that were written with.
        num_codes: read only the first so many codes of every frame; None reads all.

    Returns:
        ``(num_frames, num_codes)`` int64.

    Raises:
        ValueError: the data are truncated or damaged, or an argument is wrong.

    Example:
        >>> data = encode_codes(torch.tensor([[3, 900], [1, 20]]), [4, 1024])
        >>> decode_codes(data, 2, [4, 1024], num_codes=1).tolist()
        [[3], [1]]
    """
    check_code_sizes(code_sizes)
    histograms = check_frequencies(frequencies, code_sizes)
    wanted = len(code_sizes) if num_codes is None else num_codes
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}, it must be at least 0")
    if not 0 <= wanted <= len(code_sizes):
        raise ValueError(f"num_codes is {num_codes}, allowed are 0 to {len(code_sizes)}")
    models = [code_parts(size, histogram) for size, histogram in zip(code_sizes[:wanted], histograms, strict=False)]
    columns = decode_columns(data, num_frames, code_sizes[:wanted], models, complete=wanted == len(code_sizes))
    codes = np.stack(columns, axis=1) if columns else np.zeros((num_frames, 0), np.int64)
    return tensor_of_codes(codes)


def decode_columns(
    data: bytes, num_frames: int, code_sizes: Sequence[int], models: Sequence[list[CodePart]], complete: bool = True
) -> list[np.ndarray]:
    """Decode the columns that `encode_columns` encoded; ``complete`` says that no other codes follow in the data.

    Raises:
        ValueError: the data are truncated or damaged.
    """
    decoder = start_decoder(data)
    encoder = need("constriction", "audio").stream.queue.RangeEncoder()
    columns = []
    for size, parts in zip(code_sizes, models, strict=True):
        column = decode_column(decoder, num_frames, parts)
        if column.max(initial=0) >= size:
            raise ValueError(
                f"{len(data)} bytes do not hold {num_frames} frames of these codes: damaged or another model"
            )
        encode_column(encoder, column, parts)
        columns.append(column)
    expected = finish(encoder)
    if len(data) < len(expected):
        raise ValueError(f"{len(data)} bytes are too few for {num_frames} frames of {len(models)} codes: truncated")
    if complete and data != expected:
        raise ValueError(
            f"{len(data)} bytes do not hold {num_frames} frames of these codes: truncated, damaged or another model"
        )
    return columns


def start_decoder(data: bytes) -> Any:
    """Return a decoder of data that end where `finish` ended them: zeros are understood to follow."""
    padded = data + bytes(-len(data) % 4 + 4 * _STATE_WORDS)
    return need("constriction", "audio").stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))


def prefix_bytes(
    codes: Int[Tensor, "frames num_codes"], code_sizes: Sequence[int], frequencies: Frequencies = None
) -> list[int]:
    """Return the lengths in bytes to which the stream of `encode_codes` may be cut.

    Args:
        codes: the codes, see `encode_codes`.
        code_sizes: their alphabets.
        frequencies: a table for each of them, see `encode_codes`.

    Returns:
        For each k = 1 … num_codes the number of leading bytes from which `decode_codes` reads the first k codes of every frame; at most
        eight more than these codes cost.

    Raises:
        ValueError: as `encode_codes`.

    Example:
        >>> codes = torch.zeros(1000, 3, dtype=torch.int64)  # 1000 codes of 16 values fill 500 bytes
        >>> prefix_bytes(codes, [16, 16, 16])
        [508, 1008, 1501]
    """
    columns, models = _checked(codes, code_sizes, frequencies)
    encoder = need("constriction", "audio").stream.queue.RangeEncoder()
    ends = []
    for column, parts in zip(columns, models, strict=True):
        encode_column(encoder, column, parts)
        ends.append(4 * (encoder.pos()[0] + _STATE_WORDS))
    whole = len(finish(encoder))
    return [min(end, whole) for end in ends]


def encode_column(encoder: Any, column: np.ndarray, parts: list[CodePart]) -> None:
    """Encode one code of all frames, part by part: one call encodes an array."""
    digits = []
    for part in reversed(parts[1:]):
        column, digit = np.divmod(column, part.size)
        digits.append(digit)
    for part, digit in zip(parts, [column, *reversed(digits)], strict=False):
        encoder.encode(digit.astype(np.int32), part.model)


def decode_column(decoder: Any, num_frames: int, parts: list[CodePart]) -> np.ndarray:
    """Decode what `encode_column` encoded; a number outside the alphabet is possible in damaged data."""
    column = np.zeros(num_frames, np.int64)
    for part in parts:
        try:
            column = column * part.size + decoder.decode(part.model, num_frames)
        except AssertionError:  # constriction's word for data that no encoder writes
            raise ValueError(
                f"the data do not hold {num_frames} frames of these codes: damaged or another model"
            ) from None
    return column


def finish(encoder: Any) -> bytes:
    """The shortest end, in whole bytes, that any stream with this coder state can have.

    constriction ends on a word of 32 bits, up to 8 bytes after the last needed bit. All numbers in [low, low + range) decode alike, where
    low has ``position + 2`` words: one of them ends in as many zero bytes as fit into range, and these need not be written.
    Taking this many always, even where the interval happens to hold a rounder number, makes the length a function of range, so that
    a missing byte is noticed.
    """
    if encoder.is_empty():
        return b""
    position, (low_words, width) = encoder.pos()
    words = encoder.get_compressed()
    # get_compressed gives some number in the interval, and pos the last two words of low: they differ by less than the width.
    some = np.zeros(position + _STATE_WORDS, ">u4")
    some[: len(words)] = words
    point = int.from_bytes(some.tobytes(), "big")
    offset = (point - low_words) % (1 << 64)
    assert offset < width, "constriction's coder state is not what it was"
    zero_bits = (width.bit_length() - 1) // 8 * 8
    shortened = -(-(point - offset) >> zero_bits)
    return shortened.to_bytes(some.nbytes - zero_bits // 8, "big")


def _checked(
    codes: Tensor, code_sizes: Sequence[int], frequencies: Frequencies
) -> tuple[list[np.ndarray], list[list[CodePart]]]:
    """The columns of valid codes, and the models of each."""
    if codes.ndim != 2 or codes.shape[1] != len(code_sizes):
        raise ValueError(
            f"codes have shape {tuple(codes.shape)}, expected (frames, {len(code_sizes)}) for {len(code_sizes)} code_sizes"
        )
    table = array_of_codes(codes)
    check_code_sizes(code_sizes)
    histograms = check_frequencies(frequencies, code_sizes)
    for position, size in enumerate(code_sizes):
        wrong = np.flatnonzero((table[:, position] < 0) | (table[:, position] >= size))
        if len(wrong):
            value, frame = table[wrong[0], position], wrong[0]
            raise ValueError(f"code {position} of frame {frame} is {value}, allowed are 0 to {size - 1}")
    columns = [np.ascontiguousarray(table[:, position]) for position in range(len(code_sizes))]
    return columns, [code_parts(size, histogram) for size, histogram in zip(code_sizes, histograms, strict=True)]
