"""A value computed from tables, kept for as long as nobody wrote to them.

In evaluation a quantizer needs the same mean codes, norms and stacked tables at every call. What a table's tensor is, where it lies and how
often it was written to (its version counter) says whether a kept value is still theirs. Writes through ``tensor.data``, as averages of
weights do them, are not counted: so one number of every row is compared as well, which takes microseconds. Elsewhere than on the CPU that
would wait for the device, and nothing is kept; nor is in training.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["Memo"]

T = TypeVar("T")
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # dtypes that numpy has, too


def _can_be_watched(table: Tensor) -> bool:
    """Whether a table counts its writes, is no view of something else, and can be read at once."""
    return (
        not table.is_inference()
        and table.grad_fn is None
        and table.device.type == "cpu"
        and table.ndim in (1, 2)
        and table.is_contiguous()
        and table.element_size() in _WORDS
    )


class _Seen:
    """A table as it was."""

    __slots__ = ("_numbers", "_place", "_spots", "_table", "_version", "_words")

    def __init__(self, table: Tensor) -> None:
        self._table, self._version, self._place = table, table._version, table.data_ptr()
        rows, columns = (*table.shape, 1)[:2]
        self._words = table.detach().view(_WORDS[table.element_size()]).numpy().reshape(-1)
        self._spots = np.arange(rows) * columns + np.arange(rows) % max(1, columns)
        self._numbers = self._words[self._spots].copy() if columns else np.empty(0)

    def is_still(self, table: Tensor) -> bool:
        """Whether the table is the same, and says the same."""
        if table is not self._table or table._version != self._version or table.data_ptr() != self._place:
            return False
        return not len(self._numbers) or bool((self._words[self._spots] == self._numbers).all())


class Memo(Generic[T]):
    """One kept value. It is no state of a module: copies and pickles of it are empty.

    Example:
        >>> table, memo = torch.ones(3, 1), Memo()
        >>> memo.of([table], lambda: table.sum().item())
        3.0
        >>> memo.of([table.mul_(2)], lambda: table.sum().item())
        6.0
    """

    __slots__ = ("_key", "_value")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the value."""
        self._key: list[_Seen] | None = None
        self._value: T | None = None

    def of(self, tables: Sequence[Tensor] | None, compute: Callable[[], T]) -> T:
        """The kept value if the tables are those of the last call and unwritten since; otherwise a new one.

        Args:
            tables: what the value is computed from; None keeps nothing, and forgets.
            compute: computes it.
        """
        if tables is None:
            self.clear()
            return compute()
        if torch.compiler.is_compiling():
            return compute()
        kept = self._key
        if kept is not None and len(kept) == len(tables) and all(map(_Seen.is_still, kept, tables)):
            return self._value  # type: ignore[return-value]
        if not all(map(_can_be_watched, tables)):
            return compute()
        self._value = compute()
        self._key = [_Seen(table) for table in tables]
        return self._value

    def __deepcopy__(self, _: Any) -> "Memo[T]":
        return Memo()

    def __reduce__(self) -> tuple[type["Memo[T]"], tuple[()]]:
        return Memo, ()
