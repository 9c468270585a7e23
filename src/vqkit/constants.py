"""Constants of a module: tensors that follow from its constructor's arguments.

A buffer is state, persistent or not: ``half()`` rounds it, ``to_empty`` and loaders that go through the meta device replace it by
whatever lies in memory, and DDP broadcasts it. A `Constant` is none of that. It is computed once, on the CPU and in full precision, and
copied to a device when the first input from there arrives.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Constant"]

_CPU = torch.device("cpu")


class Constant:
    """A tensor that no cast, loader or move of its module can change.

    Args:
        compute: computes the tensor; it is called once, here, and not kept. A ``torch.device`` context around the constructor of the
            module (``"meta"`` in deferred initialisation) has no effect on it.

    Example:
        >>> class Scaled(torch.nn.Module):
        ...     def __init__(self, factor):
        ...         super().__init__()
        ...         self.factor = Constant(lambda: torch.tensor(factor))
        ...
        ...     def forward(self, x):
        ...         return x * self.factor.on(x.device)
        >>> with torch.device("meta"):
        ...     module = Scaled(0.1)
        >>> module.to_empty(device="cpu").half()(torch.ones(1))
        tensor([0.1000])
    """

    def __init__(self, compute: Callable[[], Tensor]) -> None:
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)  # whatever precision the models are built in
        try:
            # an inference tensor could never again take part in autograd
            with _CPU, torch.inference_mode(False), torch.no_grad():
                self.value = compute()
        finally:
            torch.set_default_dtype(usual)
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies of a module share it: nothing can change it, and a copy made in inference mode could not take part in autograd."""
        return self

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """Return the tensor on a device, in a dtype, its own by default; a copy is cached: later calls transfer and round nothing."""
        dtype = self.value.dtype if dtype is None else dtype
        if device == self.value.device and dtype == self.value.dtype:
            return self.value
        copy = self._copies.get((device, dtype))
        if copy is None:
            with torch.inference_mode(False):
                copy = self.value.to(device, dtype)
            # what a trace hands out (a fake tensor, a node of an exported graph) must not outlive the trace
            if type(copy) is Tensor and not torch.compiler.is_exporting():
                self._copies[device, dtype] = copy
        return copy
