"""A value computed from tables, kept for as long as nobody wrote to them.

In evaluation a quantizer needs the same mean codes, norms and stacked tables at every call. What a table's tensor is, where it lies and how
often it was written to (its version counter) says whether a kept value is still theirs. Writes through ``tensor.data`` are not counted, so
a value is kept in evaluation only, and a training forward drops it; who writes through ``.data`` in evaluation calls `Memo.clear`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """One kept value. It is no state of a module: copies and pickles of it are empty.

    Example:
        >>> table, memo = torch.ones(3), Memo()
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
        self._key: list[tuple[Tensor, int, int]] | None = None
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
        if torch.compiler.is_compiling() or any(table.is_inference() or table.grad_fn is not None for table in tables):
            return compute()  # tensors that do not count their writes, or are views of something else
        kept = self._key
        if kept is not None and len(kept) == len(tables):
            for table, (known, version, place) in zip(tables, kept, strict=True):
                if table is not known or table._version != version or table.data_ptr() != place:
                    break
            else:
                return self._value  # type: ignore[return-value]
        self._value = compute()
        self._key = [(table, table._version, table.data_ptr()) for table in tables]
        return self._value

    def __deepcopy__(self, _: Any) -> "Memo[T]":
        return Memo()

    def __reduce__(self) -> tuple[type["Memo[T]"], tuple[()]]:
        return Memo, ()
