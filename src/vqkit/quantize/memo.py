"""Values that follow from a quantizer's tables, or from what it is made of, kept for as long as those stay what they are.

In evaluation a quantizer needs the same mean codes, norms and stacked tables at every call. What a table's tensor is, where it lies and how
often it was written to (its version counter) says whether a kept value is still theirs. Writes through ``tensor.data``, as averages of
weights do them, are not counted: so one number of every row is compared as well, which takes microseconds. Elsewhere than on the CPU that
would wait for the device, and nothing is kept; nor is in training.

Alphabets, stages and which tables there are follow from the modules alone: asking all of them takes longer than to encode one vector.
"""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Memo", "OfParts", "can_be_watched"]

T = TypeVar("T")
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # dtypes that numpy has, too


def can_be_watched(table: Tensor) -> bool:
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

    __slots__ = ("_numbers", "_place", "_spots", "_table", "_version")

    def __init__(self, table: Tensor) -> None:
        self._table, self._version, self._place = table, table._version, table.data_ptr()
        rows, columns = (*table.shape, 1)[:2]
        words = table.detach().view(_WORDS[table.element_size()]).numpy().reshape(-1)
        # in row i the column i modulo their number: of every square of the table the diagonal, which a stride walks along
        squares = rows // columns if columns else 0
        blocks = words[: squares * columns * columns].reshape(squares, columns * columns)[:, :: columns + 1]
        rest = words[squares * columns * columns :][:: columns + 1]
        self._spots = [part for part in (blocks, rest) if part.size]
        self._numbers = [part.tobytes() for part in self._spots]

    def is_still(self, table: Tensor) -> bool:
        """Whether the table is the same, and says the same."""
        if table is not self._table or table._version != self._version or table.data_ptr() != self._place:
            return False
        for part, numbers in zip(self._spots, self._numbers, strict=True):  # noqa: SIM110 - a generator takes longer than this
            if part.tobytes() != numbers:
                return False
        return True


class _Kept(Generic[T]):
    """One kept value. It is no state of a module: copies and pickles of it are empty."""

    __slots__ = ("_key", "_value")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the value."""
        self._key: list[Any] | None = None
        self._value: T | None = None

    def __deepcopy__(self, _: Any) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class Memo(_Kept[T]):
    """A value computed from tables, kept until somebody writes to one.

    Example:
        >>> table, memo = torch.ones(3, 1), Memo()
        >>> memo.of([table], lambda: table.sum().item())
        3.0
        >>> memo.of([table.mul_(2)], lambda: table.sum().item())
        6.0
    """

    __slots__ = ()

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
        if not all(map(can_be_watched, tables)):
            return compute()
        self._value = compute()
        self._key = [_Seen(table) for table in tables]
        return self._value


class OfParts(_Kept[T]):
    """A value that follows from the parts of a module and the shapes of their weights, kept until one of them is exchanged.

    What their constructors set counts as fixed.

    Example:
        >>> layers, memo = nn.Sequential(nn.Linear(2, 3)), OfParts()
        >>> memo.of(layers, lambda: [layer.out_features for layer in layers])
        [3]
        >>> layers[0] = nn.Linear(2, 5)
        >>> memo.of(layers, lambda: [layer.out_features for layer in layers])
        [5]
    """

    __slots__ = ()

    def of(self, module: nn.Module, compute: Callable[[], T]) -> T:
        """The kept value if the module has the parts of the last call; otherwise a new one.

        Args:
            module: what the value follows from.
            compute: computes it.
        """
        if torch.compiler.is_compiling():
            return compute()
        if self._key is None or not self._key[0].is_still():
            self._value = compute()
            self._key = [_Parts(module)]
        return self._value  # type: ignore[return-value]


class _Parts:
    """The modules that a module and its parts hold, and their weights."""

    __slots__ = ("_homes", "_modules", "_shapes", "_weight_homes", "_weights")

    def __init__(self, module: nn.Module) -> None:
        parts = list(module.modules())
        self._homes = [part._modules for part in parts if part._modules]
        self._modules = [tuple(home.values()) for home in self._homes]
        homes = [part._parameters if "weight" in part._parameters else part._buffers for part in parts]
        self._weight_homes: list[dict[str, Any]] = [home for home in homes if home.get("weight") is not None]
        self._weights: list[Tensor] = [home["weight"] for home in self._weight_homes]
        self._shapes = [weight.shape for weight in self._weights]

    def is_still(self) -> bool:
        """Whether these are the same modules and weights, and as large."""
        if [tuple(home.values()) for home in self._homes] != self._modules:  # a module is equal only to itself
            return False
        weights = [home.get("weight") for home in self._weight_homes]
        return all(map(is_, weights, self._weights)) and [weight.shape for weight in self._weights] == self._shapes
