"""The border between tensors of codes and the arrays that this package computes with.

torch is imported when a tensor is made, not before: `vqkit inspect` and `thin` never make one, and start in a fraction of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["array_of_codes", "tensor_of_codes"]


def tensor_of_codes(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory."""
    from torch import from_numpy

    return from_numpy(array)


def array_of_codes(codes: Tensor) -> np.ndarray:
    """Codes as an int64 array.

    Raises:
        ValueError: the tensor does not hold integers.
    """
    array: np.ndarray = codes.detach().cpu().numpy() if not codes.is_floating_point() else np.zeros(0)
    if array.dtype.kind not in "iu":
        raise ValueError(f"codes have dtype {codes.dtype}, expected integers")
    return array.astype(np.int64, copy=False)
