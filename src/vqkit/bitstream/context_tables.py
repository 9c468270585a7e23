"""Tables that predict one code position from codes before it, and their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vqkit.bitstream.code_models import PRECISION_BITS, exact_weights
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, number_bytes
from vqkit.bitstream.limits import MAX_CLASSES
from vqkit.bitstream.static_tables import has_table

__all__ = ["CodeContexts", "Codes", "Context", "has_neighbour", "read_contexts"]

Codes = np.ndarray | int  # of many frames or of one
_WHOLE = 256


@dataclass(frozen=True)
class Context:
    """Table of one context of a code position: counts of the codes that follow each class of context codes.

    Attributes:
        classes: class of each code of the context, uint8.
        counts: how often each code follows each class, ``(classes, code_size)`` uint16; 0 counts as 1.
    """

    classes: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class CodeContexts:
    """Prediction of one code position: a mixture of up to three contexts.

    Attributes:
        share: weight of ``before`` in 256ths; the rest is that of the others, if there are any.
        before: given the same code a frame ago; code_size where there is no frame before.
        beside: given the code before it in its frame.
        above: given the same code a row of the grid ago; code_size where there is none.
        share_above: weight of ``above`` in 256ths; what is left is that of ``beside``. Without ``beside`` it gets all that is left.
    """

    share: int
    before: Context
    beside: Context | None
    above: Context | None = None
    share_above: int = 0

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Rows of the three tables, such that the sum of one of each is 2^24 − code_size."""
        free = (1 << PRECISION_BITS) - self.before.counts.shape[1]
        own = free * self.share // _WHOLE
        upper = free * self.share_above // _WHOLE if self.beside is not None else free - own
        before = _rows(self.before, own)
        above = None if self.above is None else _rows(self.above, upper)
        beside = None if self.beside is None else _rows(self.beside, free - own - (0 if self.above is None else upper))
        return before, beside, above

    def rows(self, before: Codes, beside: Codes | None, above: Codes | None = None) -> np.ndarray:
        """Weights given the context codes: a row for each set of them."""
        first, second, third = self.weights
        rows = first[self.before.classes[before]]
        if second is not None and self.beside is not None:
            rows = rows + second[self.beside.classes[beside]]
        if third is not None and self.above is not None:
            rows = rows + third[self.above.classes[above]]
        return rows

    def to_bytes(self, grid: bool) -> bytes:
        """Write the tables as bytes, two a count and one a class; ``grid``: with ``above``."""
        parts = [number_bytes(self.share), *([number_bytes(self.share_above)] if grid else [])]
        for context in (self.before, self.above, self.beside):
            if context is not None:
                parts += [number_bytes(len(context.counts)), context.classes.astype(np.uint8).tobytes()]
                parts.append(context.counts.astype("<u2").tobytes())
        return b"".join(parts)


def has_neighbour(code_sizes: Sequence[int], position: int) -> bool:
    """Return whether the code at ``position`` is predicted from the code before it in its frame."""
    return position > 0 and has_table(code_sizes[position - 1])


def read_contexts(fields: FieldReader, sizes: Sequence[int], position: int, grid: bool) -> CodeContexts:
    """Read what `CodeContexts.to_bytes` wrote.

    Raises:
        BitstreamError: the data are something else.
    """
    size = sizes[position]
    share = fields.number("share", _WHOLE)
    share_above = fields.number("the share of the row above", _WHOLE - share) if grid else 0
    before = _read_context(fields, size + 1, size)
    above = _read_context(fields, size + 1, size) if grid else None
    beside = _read_context(fields, sizes[position - 1], size) if has_neighbour(sizes, position) else None
    return CodeContexts(share, before, beside, above, share_above)


def _rows(context: Context, total: int) -> np.ndarray:
    return exact_weights(context.counts.astype(np.int64), total)


def _read_context(fields: FieldReader, context_size: int, size: int) -> Context:
    count = fields.number("the number of classes", MAX_CLASSES, least=1)
    classes = np.frombuffer(fields.take(context_size), np.uint8)
    if classes.max() >= count:
        raise BitstreamError(f"class {classes.max()} of {count}")
    return Context(classes, np.frombuffer(fields.take(2 * size * count), "<u2").reshape(count, size))
