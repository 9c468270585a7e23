"""Regrouping of a signal from blocks of any length into segments of one length."""

import torch
from torch import Tensor

__all__ = ["Pieces"]


class Pieces:
    """Buffer that cuts a signal, given in blocks, into segments of ``size`` along the last dim.

    Args:
        size: length of a segment.

    Example:
        >>> pieces = Pieces(4)
        >>> [piece.tolist() for block in torch.arange(10).split(3) for piece in pieces.push(block)], pieces.rest().tolist()
        ([[0, 1, 2, 3], [4, 5, 6, 7]], [8, 9])
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: Tensor | None = None

    def check(self, block: Tensor) -> None:
        """Refuse a block that does not continue the signal.

        Raises:
            ValueError: its shape, save the last dim, its dtype or its device differ from those before.
        """
        if self._held is None:
            return
        before, now = ((tuple(x.shape[:-1]), x.dtype, str(x.device)) for x in (self._held, block))
        if before != now:
            raise ValueError(f"the signal began with blocks of {_words(*before)}, got {_words(*now)}")

    def push(self, block: Tensor) -> list[Tensor]:
        """Append a block and return the segments that are now complete."""
        joined = block if self._held is None else torch.cat([self._held, block], dim=-1)
        whole = joined.shape[-1] // self._size
        # copies: each starts at an aligned address, on which kernels' rounding may depend, and none keeps the block alive
        self._held = joined[..., whole * self._size :].clone()
        return [joined[..., i * self._size : (i + 1) * self._size].clone() for i in range(whole)]

    def rest(self) -> Tensor | None:
        """Return the buffered end of the signal, shorter than a segment and possibly of length 0; None before the first block."""
        return self._held

    def state(self) -> list[Tensor]:
        """Return the buffered tensors."""
        return [] if self._held is None else [self._held]


def _words(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> str:
    return f"({', '.join(map(str, shape))}, …) {dtype} on {device}"
