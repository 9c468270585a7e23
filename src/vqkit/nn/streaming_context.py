"""A function of the whole signal in blocks, where each output depends on inputs near to it only."""

import copy
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from vqkit.nn.streaming_layer import StreamingLayer, item_of
from vqkit.types import Float

__all__ = ["StreamingContext"]


class StreamingContext(StreamingLayer):
    """``function(x)`` in blocks: each block is computed with what is around it, and only what cannot change any more is given.

    What is around is computed again with each block, so this is for cheap functions; what is not should carry its state.

    Args:
        function: signals (batch, channels, time) → the same time; it takes what lies beyond the ends as silence.
        reach: inputs on both sides that an output depends on, at most.
        unit: inputs that the function looks at together: blocks begin at multiples of it.

    Example:
        >>> x, smooth = torch.randn(1, 1, 20), torch.nn.Conv1d(1, 1, 5, padding=2)
        >>> layer = StreamingContext(smooth, reach=2)
        >>> blocks = torch.cat([layer.push(x[..., :7]), layer.push(x[..., 7:], last=True)], dim=-1)
        >>> torch.allclose(blocks, smooth(x), atol=1e-6)
        True
    """

    def __init__(self, function: Callable[[Tensor], Tensor], reach: int, unit: int = 1) -> None:
        self._function, self._reach, self._unit = function, reach, unit
        self._held: Tensor | None = None  # begins at a multiple of the unit, at least `reach` before the next output
        self._begin = self._given = 0

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """The outputs whose surroundings are all there."""
        held = x if self._held is None else torch.cat([self._held, x], dim=-1)
        time = self._begin + held.shape[-1]
        ready = max(self._given, time if last else self.ready(time))
        made = held[..., :0]
        if ready > self._given:
            made = self._function(held)[..., self._given - self._begin : ready - self._begin]
        self._given = ready
        begin = max(self._begin, (ready - self._reach) // self._unit * self._unit)
        self._held = held[..., begin - self._begin :].clone()  # a view would keep the whole block alive
        self._begin = begin
        return made

    def ready(self, time: int) -> int:
        """All but the last ``reach``."""
        return max(0, time - self._reach)

    def state(self) -> list[Tensor]:
        """What is around the next block so far."""
        return [] if self._held is None else [self._held]

    def lane(self, index: int) -> Self:
        """The item's surroundings."""
        one = copy.copy(self)
        one._held = item_of(self._held, index)
        return one
