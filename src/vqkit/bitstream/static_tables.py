"""Entropy model without context: integer counts of how often each code occurs.

The counts are 16-bit integers, and `code_models` makes integer probabilities of them: nothing depends on how a machine rounds.

References:
    Martin, "Range encoding" (1979); Bamler, "Understanding entropy coding with asymmetric numeral systems" (2022), arXiv:2201.01741.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from vqkit.bitstream.code_models import CodePart, code_parts
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, runs_bytes
from vqkit.bitstream.limits import MAX_CODE_SIZE, MAX_CODES, MAX_TABLE_SIZE
from vqkit.bitstream.range_coder import decode_columns, encode_columns
from vqkit.types import Int

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StaticTables"]

_MOST = (1 << 16) - 1


class StaticTables:
    """The coding ``"static"``: a range coder with one table of counts a code position.

    Args:
        code_sizes: alphabet of each code of a frame.
        counts: for each how often its values occur, ``(code_sizes[i],)`` integers from 0 to 65535 (0 counts as 1), or None where the
            alphabet has one code or more than 2^16.

    Raises:
        ValueError: the counts do not belong to the sizes.

    Example:
        >>> import torch
        >>> codes = torch.randint(0, 64, (10000, 2)) // 8 * 8  # only 8 of 64 occur
        >>> tables = StaticTables.fit([64, 64], [codes])
        >>> len(tables.encode(codes.numpy(), 0, 1))  # 3 bits each, and a little for those that might
        3760
    """

    coding = "static"
    magic = b"VQKs"

    def __init__(self, code_sizes: Sequence[int], counts: Sequence[np.ndarray | None]) -> None:
        self.code_sizes = tuple(code_sizes)
        self.counts = [None if c is None else np.asarray(c) for c in counts]
        if len(self.counts) != len(self.code_sizes):
            raise ValueError(f"{len(self.counts)} counts for {len(self.code_sizes)} code positions, expected one each")
        for position, (size, table) in enumerate(zip(self.code_sizes, self.counts, strict=True)):
            if (table is not None) != has_table(size) or (table is not None and table.shape != (size,)):
                shape = None if table is None else table.shape
                raise ValueError(f"counts[{position}] has shape {shape}, for {size} codes")
            if table is not None and (table.dtype.kind not in "iu" or table.min() < 0 or table.max() > _MOST):
                raise ValueError(f"counts[{position}] must be integers from 0 to {_MOST}")

    @classmethod
    def fit(cls, code_sizes: Sequence[int], blocks: Iterable[Int[Tensor, "frames num_codes"]]) -> Self:
        """Count codes.

        Args:
            code_sizes: alphabet of each code of a frame.
            blocks: any number of blocks of codes; −1, a masked position, is left out.

        Returns:
            The tables.
        """
        counts = [np.zeros(size, np.int64) if has_table(size) else None for size in code_sizes]
        for block in blocks:
            for table, column in zip(counts, block.cpu().numpy().T, strict=True):
                if table is not None:
                    table += np.bincount(column[column >= 0], minlength=len(table))
        return cls(code_sizes, [None if table is None else small_counts(table) for table in counts])

    @cached_property
    def _models(self) -> list[list[CodePart]]:
        return [
            code_parts(size, None if table is None else table.astype(np.int64))
            for size, table in zip(self.code_sizes, self.counts, strict=True)
        ]

    @cached_property
    def tables_hash(self) -> str:
        """The first 16 bytes of SHA-256 of `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The tables: two bytes a count, behind the sizes."""
        tables = [table.astype("<u2").tobytes() for table in self.counts if table is not None]
        return b"".join([self.magic, runs_bytes(self.code_sizes), *tables])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            BitstreamError: the data are something else.
        """
        fields = FieldReader(data)
        if fields.take(len(cls.magic)) != cls.magic:
            raise BitstreamError("these are no static tables")
        sizes = fields.runs("code_sizes", MAX_CODES, MAX_CODE_SIZE)
        counts = [np.frombuffer(fields.take(2 * size), "<u2") if has_table(size) else None for size in sizes]
        fields.finish("the static tables")
        return cls(sizes, counts)

    def first(self, num_codes: int) -> StaticTables:
        """The tables of the first codes of a frame."""
        return StaticTables(self.code_sizes[:num_codes], self.counts[:num_codes])

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames; codes: (frames, at least ``stop``) int64."""
        columns = [np.ascontiguousarray(codes[:, column]) for column in range(start, stop)]
        return encode_columns(columns, self._models[start:stop])

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """The codes of `encode`, (frames, stop − start) int64.

        Args:
            data: what `encode` returned.
            known: the codes before, (frames, start).
            stop: the stage that `encode` stopped before.

        Raises:
            BitstreamError: `encode` does not write such data.
        """
        frames, start = known.shape
        try:
            columns = decode_columns(data, frames, self.code_sizes[start:stop], self._models[start:stop])
        except ValueError as error:
            raise BitstreamError(str(error)) from None
        return np.stack(columns, axis=1)


def has_table(size: int) -> bool:
    """Return whether codes of an alphabet of ``size`` have a table; those without are coded as equally likely."""
    return 2 <= size <= MAX_TABLE_SIZE


def small_counts(counts: np.ndarray) -> np.ndarray:
    """The counts in proportion, at most 65535 and at least 1.

    Example:
        >>> small_counts(np.array([0, 5, 655350])).tolist()
        [1, 1, 65535]
    """
    largest = int(counts.max(initial=0))
    scaled = counts if largest <= _MOST else counts * _MOST // largest
    return np.maximum(scaled, 1).astype(np.uint16)
