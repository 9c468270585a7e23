"""Probabilities of a code given codes before it: the one in the frame before, and the one before it in its frame.

    p(code) = share · p(code | class of the same code a frame ago) + (1 − share) · p(code | class of the code before it in this frame)

In an image a frame is a cell, and the frame before is the cell to the left; the cell above, a row of the grid ago, is a third context.
Codes that foretell alike share a class. The tables and the shares are whole numbers, and so is their sum: the 24-bit probabilities are
equal on every machine. A chunk starts anew, with a code of its own for "no frame before"; a stage needs only the stages before it.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np

from vqkit.bitstream.code_models import code_parts
from vqkit.bitstream.context_tables import CodeContexts, Codes, Context, read_contexts
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, runs_bytes
from vqkit.bitstream.limits import MAX_CODE_SIZE, MAX_CODES, MAX_CONTEXT_WORK
from vqkit.bitstream.range_coder import decode_column, encode_column, finish, start_decoder
from vqkit.bitstream.static_tables import has_table
from vqkit.types import need

__all__ = ["CodeContexts", "Context", "ContextModel"]

_BLOCK = 1 << 19  # weights at once: 4 MiB


class ContextModel:
    """The coding ``"context"``; `fit_contexts` makes one.

    Args:
        code_sizes: alphabet of each code of a frame.
        contexts: tables of each code position; None where the alphabet has one code or more than 2^16, whose codes are equally likely.
        columns: cells of a row of the grid, for contexts that look at the row above; 0 without a grid.
    """

    coding = "context"
    magics = (b"VQKc", b"VQKg")  # without and with the row above

    def __init__(self, code_sizes: Sequence[int], contexts: Sequence[CodeContexts | None], columns: int = 0) -> None:
        self.code_sizes, self.contexts, self.columns = tuple(code_sizes), list(contexts), columns

    @property
    def grid(self) -> bool:
        """Whether the code a row of the grid above is a context."""
        return any(contexts is not None and contexts.above is not None for contexts in self.contexts)

    @cached_property
    def tables_hash(self) -> str:
        """The first 16 bytes of SHA-256 of `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The tables: two bytes a count, a byte a class."""
        parts = [self.magics[self.grid], runs_bytes(self.code_sizes)]
        return b"".join([*parts, *(contexts.to_bytes(self.grid) for contexts in self.contexts if contexts is not None)])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            BitstreamError: the data are something else.
        """
        fields = FieldReader(data)
        magic = fields.take(len(cls.magics[0]))
        if magic not in cls.magics:
            raise BitstreamError("this is no context model")
        sizes = fields.runs("code_sizes", MAX_CODES, MAX_CODE_SIZE)
        grid = magic == cls.magics[True]
        contexts = [
            read_contexts(fields, sizes, position, grid) if has_table(size) else None
            for position, size in enumerate(sizes)
        ]
        fields.finish("the context model")
        return cls(sizes, contexts)

    def first(self, num_codes: int) -> "ContextModel":
        """The model of the first codes of a frame: contexts are only codes before."""
        return ContextModel(self.code_sizes[:num_codes], self.contexts[:num_codes], self.columns)

    def on_grid(self, columns: int) -> "ContextModel":
        """Return the same model for a grid of ``columns`` columns."""
        return ContextModel(self.code_sizes, self.contexts, columns)

    def encode(self, codes: np.ndarray, start: int, stop: int, places: np.ndarray | None = None) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames.

        Args:
            codes: (frames, at least ``stop``) int64.
            start: the first code.
            stop: the code behind the last.
            places: place of each frame in its chunk, ascending, where only some frames of it have these codes: the frame before is the
                last one that has them, and the cell above counts only if it has them.
        """
        self._check_work(len(codes), start, stop)
        stream = need("constriction", "audio").stream
        encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        upper = _above(len(codes), self.columns, places)
        for position in range(start, stop):
            contexts, column = self.contexts[position], np.ascontiguousarray(codes[:, position])
            if contexts is None:
                encode_column(encoder, column, code_parts(self.code_sizes[position], None))
                continue
            none = self.code_sizes[position]
            before = np.concatenate([[none], column[:-1]])
            above = np.where(upper < 0, none, column[upper])
            step = max(1, _BLOCK // none)
            for first in range(0, len(column), step):
                part = slice(first, first + step)
                beside = codes[part, position - 1] if contexts.beside is not None else None
                encoder.encode(column[part].astype(np.int32), family, contexts.rows(before[part], beside, above[part]))
        return finish(encoder)

    def decode(self, data: bytes, known: np.ndarray, stop: int, places: np.ndarray | None = None) -> np.ndarray:
        """The codes of `encode`, (frames, stop − start) int64.

        Args:
            data: what `encode` returned.
            known: the codes before, (frames, start).
            stop: the code that `encode` stopped before.
            places: what `encode` was given.

        Raises:
            BitstreamError: `encode` does not write such data.
        """
        frames, start = known.shape
        self._check_work(frames, start, stop)
        decoder, upper = start_decoder(data), _above(frames, self.columns, places)
        codes = np.concatenate([known, np.zeros((frames, stop - start), np.int64)], axis=1)
        try:
            for position in range(start, stop):
                contexts = self.contexts[position]
                if contexts is None:
                    codes[:, position] = decode_column(decoder, frames, code_parts(self.code_sizes[position], None))
                else:
                    beside = codes[:, position - 1] if contexts.beside is not None else None
                    size = self.code_sizes[position]
                    codes[:, position] = _decode_one_by_one(decoder, contexts, size, beside, upper)
        except (ValueError, AssertionError):  # constriction's word for data that no encoder writes
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes") from None
        found = codes[:, start:]
        if (found >= np.array(self.code_sizes[start:stop])).any() or self.encode(codes, start, stop, places) != data:
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes")
        return found

    def most_frames(self, stage_ends: Sequence[int]) -> int:
        """Return the largest number of frames in a chunk for which decoding any stage stays within the work limit."""
        starts = (0, *stage_ends)
        return MAX_CONTEXT_WORK // max(1, *(self._work(start, stop) for start, stop in pairwise(starts)))

    def _work(self, start: int, stop: int) -> int:
        # the constant stands for what a code costs however small its alphabet is
        return sum(size + 512 for size in self.code_sizes[start:stop] if has_table(size))

    def _check_work(self, frames: int, start: int, stop: int) -> None:
        if frames * self._work(start, stop) > MAX_CONTEXT_WORK:
            raise BitstreamError(f"{frames} frames are too many for one chunk of these alphabets with contexts")


def _above(frames: int, columns: int, places: np.ndarray | None) -> np.ndarray:
    """Return, for each frame, the index of the frame one row of the grid above it; −1 where there is none."""
    places = np.arange(frames) if places is None else places
    if not columns or not frames:
        return np.full(frames, -1)
    found = np.searchsorted(places, places - columns)  # at most the frame itself
    return np.where(places[found] == places - columns, found, -1)


def _decode_one_by_one(
    decoder: Any, contexts: CodeContexts, size: int, beside: np.ndarray | None, upper: np.ndarray
) -> np.ndarray:
    categorical = need("constriction", "audio").stream.model.Categorical
    column = np.empty(len(upper), np.int64)
    last = size
    for frame, row_above in enumerate(upper.tolist()):
        above: Codes = column[row_above] if row_above >= 0 else size
        row = contexts.rows(last, None if beside is None else beside[frame], above)
        last = int(decoder.decode(categorical(row, lazy=True)))
        column[frame] = last
    return column
