"""Building what a stranger described: first without memory, within an allowance, then for real.

A constructor is run on PyTorch's meta device, where a tensor has a shape and no values, while every tensor that it makes is counted. What
asks for more than it is allowed ends there, before memory is taken, however its numbers are nested.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["MAX_CALLS", "MAX_FLOATS", "Allowance", "TooLargeError", "built_within", "needs_values"]

MAX_FLOATS = 1 << 28
"""Values that the tensors of a constructor may hold together: 1 GiB in float32, over ten times the largest models here."""

MAX_CALLS = 1 << 13
"""PyTorch calls that a constructor may make: about a second. A stage of a quantizer makes 5 to 27, a layer of a network 2 to 10."""

Built = TypeVar("Built")


class TooLargeError(ValueError):
    """Error of a constructor whose tensors have more values than are allowed."""


class Allowance(TorchFunctionMode):
    """Context that counts the PyTorch calls under it, and the values of the tensors they make.

    Beyond a limit it raises ValueError, which is a `TooLargeError` if it is the values.

    Args:
        floats: most values in all tensors together; views of tensors are not counted again.
        calls: most calls.
    """

    def __init__(self, floats: int = MAX_FLOATS, calls: int = MAX_CALLS) -> None:
        super().__init__()
        self.floats, self.calls = floats, calls
        self._made = self._called = 0

    def __enter__(self) -> "Allowance":
        """Begin to count, from zero."""
        self._made = self._called = 0
        super().__enter__()
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call and count it."""
        self._called += 1
        if self._called > self.calls:
            raise ValueError(f"it takes more than {self.calls} steps to build: too many parts")
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        given = (*args, *kwargs.values())
        if isinstance(made, Tensor) and not made._is_view() and not any(made is value for value in given):
            self._made += made.numel()
            if self._made > self.floats:
                raise TooLargeError(
                    f"it needs more than the {self.floats} values that are allowed, {self._made} so far"
                )
        return made


def built_within(
    make: Callable[[], Built], allowance: Allowance, check: Callable[[Built], None] = lambda built: None
) -> Built:
    """Call a constructor on the meta device first, within an allowance, and then for real.

    The generator of random numbers is left as one call for real leaves it. A constructor of the user's own that looks at values cannot run
    on the meta device: it runs once, for real, and within the same allowance.

    Args:
        make: constructs something of tensors, the same each time.
        allowance: limits of the construction.
        check: raises what is to be raised; it gets what was made on the meta device, before memory is taken.

    Returns:
        What ``make`` made.

    Raises:
        ValueError: beyond the allowance; also whatever ``make`` and ``check`` raise.

    Example:
        >>> from vqkit import VQ
        >>> built_within(lambda: VQ(8, 2**30), Allowance())
        Traceback (most recent call last):
            ...
        vqkit.allowance.TooLargeError: it needs more than the 268435456 values that are allowed, 8589934592 so far
    """
    try:
        with torch.device("meta"), allowance:
            planned = make()
    except Exception as error:
        if not needs_values(error):
            raise
        with allowance:
            made = make()
        check(made)
        return made
    check(planned)
    return make()


def needs_values(error: Exception) -> bool:
    """Return whether a constructor failed because a tensor on the meta device has no values."""
    return type(error) in (NotImplementedError, RuntimeError) and "meta" in str(error).lower()
