"""Decoded files kept in memory, within a budget."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

__all__ = ["TensorCache"]


class TensorCache:
    """Cache of tensors read from files; the least recently used leave when the budget is full.

    A copy sent to another process starts empty, so the budget holds for each process.

    Args:
        megabytes: budget in 10^6 bytes; with 0 nothing is kept.
    """

    def __init__(self, megabytes: float) -> None:
        self.megabytes = megabytes
        self._used_bytes = 0
        self._held: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __reduce__(self) -> tuple[type, tuple[float]]:
        return TensorCache, (self.megabytes,)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def budget_bytes(self) -> int:
        """The most that is held."""
        return int(self.megabytes * 1e6)

    def get(self, key: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """Return the result of ``read``, from the cache where it is there; not to be written to."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        value = read()
        if value.nbytes <= self.budget_bytes:
            while self._used_bytes + value.nbytes > self.budget_bytes:
                self._used_bytes -= self._held.popitem(last=False)[1].nbytes
            self._held[key] = value
            self._used_bytes += value.nbytes
        return value
