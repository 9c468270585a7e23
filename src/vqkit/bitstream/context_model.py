"""Probabilities of a code given two codes before it: the one in the frame before, and the one before it in its frame.

    p(code) = share · p(code | class of the same code a frame ago) + (1 − share) · p(code | class of the code before it in this frame)

Codes that foretell alike share a class. Both tables and the share are whole numbers, and so is their sum: the 24-bit probabilities are
equal on every machine. A chunk starts anew, with a code of its own for "no frame before"; a stage needs only the stages before it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from vqkit.bitstream.code_models import PRECISION_BITS, code_parts, exact_weights
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, number_bytes, runs_bytes
from vqkit.bitstream.limits import MAX_CLASSES, MAX_CODE_SIZE, MAX_CODES, MAX_CONTEXT_WORK
from vqkit.bitstream.range_coder import decode_column, encode_column, finish, start_decoder
from vqkit.bitstream.static_tables import has_table
from vqkit.types import need

__all__ = ["Context", "ContextModel"]

Codes = np.ndarray | int  # of many frames or of one

_BLOCK = 1 << 19  # weights at once: 4 MiB


@dataclass(frozen=True)
class Context:
    """One of the two tables of a code position.

    Attributes:
        classes: class of each code of the context, uint8.
        counts: how often each code follows each class, ``(classes, code_size)`` uint16; 0 counts as 1.
    """

    classes: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class CodeContexts:
    """How one code position is foretold.

    Attributes:
        share: of 256, the weight of ``before``; the rest is that of ``beside``, if there is one.
        before: given the same code a frame ago; code_size where there is no frame before.
        beside: given the code before it in its frame.
    """

    share: int
    before: Context
    beside: Context | None

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of both tables, such that the sum of any two is 2^24 − code_size."""
        free = (1 << PRECISION_BITS) - self.before.counts.shape[1]
        own = free * self.share // 256
        beside = None if self.beside is None else exact_weights(self.beside.counts.astype(np.int64), free - own)
        return exact_weights(self.before.counts.astype(np.int64), own), beside

    def rows(self, before: Codes, beside: Codes | None) -> np.ndarray:
        """Weights given the two context codes: a row for each pair."""
        first, second = self.weights
        rows = first[self.before.classes[before]]
        return rows if second is None or self.beside is None else rows + second[self.beside.classes[beside]]


class ContextModel:
    """The coding ``"context"``; `fit_contexts` makes one.

    Args:
        code_sizes: alphabet of each code of a frame.
        contexts: for each its tables; None where the alphabet has one code or more than 2^16, whose codes are equally likely.
    """

    coding = "context"
    magic = b"VQKc"

    def __init__(self, code_sizes: Sequence[int], contexts: Sequence[CodeContexts | None]) -> None:
        self.code_sizes, self.contexts = tuple(code_sizes), list(contexts)

    @cached_property
    def tables_hash(self) -> str:
        """The first 16 bytes of SHA-256 of `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The tables: two bytes a count, a byte a class."""
        parts = [self.magic, runs_bytes(self.code_sizes)]
        for contexts in self.contexts:
            if contexts is not None:
                parts.append(number_bytes(contexts.share))
                for context in (contexts.before, contexts.beside):
                    if context is not None:
                        parts += [number_bytes(len(context.counts)), context.classes.astype(np.uint8).tobytes()]
                        parts.append(context.counts.astype("<u2").tobytes())
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            BitstreamError: the data are something else.
        """
        fields = FieldReader(data)
        if fields.take(len(cls.magic)) != cls.magic:
            raise BitstreamError("this is no context model")
        sizes = fields.runs("code_sizes", MAX_CODES, MAX_CODE_SIZE)
        contexts: list[CodeContexts | None] = []
        for position, size in enumerate(sizes):
            if not has_table(size):
                contexts.append(None)
                continue
            share = fields.number("share", 256)
            before = _read_context(fields, size + 1, size)
            beside = _read_context(fields, sizes[position - 1], size) if has_neighbour(sizes, position) else None
            contexts.append(CodeContexts(share, before, beside))
        fields.finish("the context model")
        return cls(sizes, contexts)

    def first(self, num_codes: int) -> "ContextModel":
        """The model of the first codes of a frame: contexts are only codes before."""
        return ContextModel(self.code_sizes[:num_codes], self.contexts[:num_codes])

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames; codes: (frames, at least ``stop``) int64."""
        self._check_work(len(codes), start, stop)
        stream = need("constriction", "audio").stream
        encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        for position in range(start, stop):
            contexts, column = self.contexts[position], np.ascontiguousarray(codes[:, position])
            if contexts is None:
                encode_column(encoder, column, code_parts(self.code_sizes[position], None))
                continue
            before = np.concatenate([[self.code_sizes[position]], column[:-1]])
            step = max(1, _BLOCK // self.code_sizes[position])
            for first in range(0, len(column), step):
                part = slice(first, first + step)
                beside = codes[part, position - 1] if contexts.beside is not None else None
                encoder.encode(column[part].astype(np.int32), family, contexts.rows(before[part], beside))
        return finish(encoder)

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """The codes of `encode`, (frames, stop − start) int64.

        Args:
            data: what `encode` returned.
            known: the codes before, (frames, start).
            stop: as given to `encode`.

        Raises:
            BitstreamError: `encode` does not write such data.
        """
        frames, start = known.shape
        self._check_work(frames, start, stop)
        decoder = start_decoder(data)
        codes = np.concatenate([known, np.zeros((frames, stop - start), np.int64)], axis=1)
        try:
            for position in range(start, stop):
                contexts = self.contexts[position]
                if contexts is None:
                    codes[:, position] = decode_column(decoder, frames, code_parts(self.code_sizes[position], None))
                else:
                    beside = codes[:, position - 1] if contexts.beside is not None else None
                    codes[:, position] = _decode_one_by_one(
                        decoder, contexts, self.code_sizes[position], beside, frames
                    )
        except (ValueError, AssertionError):  # constriction's word for data that no encoder writes
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes") from None
        found = codes[:, start:]
        if (found >= np.array(self.code_sizes[start:stop])).any() or self.encode(codes, start, stop) != data:
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes")
        return found

    def _check_work(self, frames: int, start: int, stop: int) -> None:
        # the constant stands for what a code costs however small its alphabet is
        work = frames * sum(size + 512 for size in self.code_sizes[start:stop] if has_table(size))
        if work > MAX_CONTEXT_WORK:
            raise BitstreamError(f"{frames} frames are too many for one chunk of these alphabets with contexts")


def has_neighbour(code_sizes: Sequence[int], position: int) -> bool:
    """Whether the code before it in its frame foretells the one at ``position``."""
    return position > 0 and has_table(code_sizes[position - 1])


def _read_context(fields: FieldReader, context_size: int, size: int) -> Context:
    count = fields.number("the number of classes", MAX_CLASSES, least=1)
    classes = np.frombuffer(fields.take(context_size), np.uint8)
    if classes.max() >= count:
        raise BitstreamError(f"class {classes.max()} of {count}")
    return Context(classes, np.frombuffer(fields.take(2 * size * count), "<u2").reshape(count, size))


def _decode_one_by_one(
    decoder: Any, contexts: CodeContexts, size: int, beside: np.ndarray | None, frames: int
) -> np.ndarray:
    categorical = need("constriction", "audio").stream.model.Categorical
    column = np.empty(frames, np.int64)
    last = size
    for frame in range(frames):
        row = contexts.rows(last, None if beside is None else beside[frame])
        last = int(decoder.decode(categorical(row, lazy=True)))
        column[frame] = last
    return column
