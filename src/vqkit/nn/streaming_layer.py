"""Layers that take a signal in blocks: each keeps only the past it still needs; the result is that of the full signal.

Conventions
    Blocks are (batch, channels, time), also of length 0. Time is counted from the start of the signal; a layer object holds one signal.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vqkit.types import Float

__all__ = ["Chain", "Pointwise", "Recurrent", "ResidualSum", "StreamingLayer", "item_of"]

_FEW_STEPS = 8
"""Up to here cells one by one are faster than PyTorch's LSTM, which lays its weights out anew at each call (512 channels, CPU)."""


class StreamingLayer(ABC):
    """Base class of layers that process one signal block by block and carry its state."""

    @abstractmethod
    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """Take the next block and give the outputs that are now determined.

        Args:
            x: next block of the input.
            last: whether the signal ends with this block, so that the outputs at its end come too.
        """

    @abstractmethod
    def ready(self, time: int) -> int:
        """Return the number of outputs that the first ``time`` inputs determine, while more may follow."""

    @abstractmethod
    def state(self) -> list[Tensor]:
        """Return the tensors carried from block to block."""

    @abstractmethod
    def lane(self, index: int) -> Self:
        """Return a layer that continues one item of the batch by itself: its inputs do not touch this layer."""


class Pointwise(StreamingLayer):
    """Function of single time steps, such as an activation.

    Example:
        >>> Pointwise(nn.ReLU()).push(torch.tensor([[[-1.0, 2.0]]]))
        tensor([[[0., 2.]]])
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out time"]:
        """Apply the function."""
        return self._function(x)

    def ready(self, time: int) -> int:
        """Return ``time``: every input determines its output."""
        return time

    def state(self) -> list[Tensor]:
        """Return no tensors: the layer has no state."""
        return []

    def lane(self, index: int) -> Self:
        """Return the layer itself, since it has no state."""
        return self


class Recurrent(StreamingLayer):
    """An LSTM with a skip connection, ``lstm(x) + x``; its state is carried.

    Args:
        lstm: LSTM in one direction, time first.

    Example:
        >>> lstm, x = nn.LSTM(4, 4, 2), torch.randn(1, 4, 9)
        >>> layer = Recurrent(lstm)
        >>> blocks = torch.cat([layer.push(x[..., :5]), layer.push(x[..., 5:])], dim=-1)
        >>> torch.allclose(blocks, Recurrent(lstm).push(x), atol=1e-6)
        True
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        self._lstm = lstm
        self._carried: tuple[Tensor, Tensor] | None = None

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch channels time"]:
        """Return as many outputs as there are inputs."""
        if not x.shape[-1]:
            return x
        steps = x.permute(2, 0, 1)
        if steps.shape[0] <= _FEW_STEPS:
            y = self._step_by_step(steps)
        else:
            y, self._carried = self._lstm(steps, self._carried)
        return (y + steps).permute(1, 2, 0)

    def ready(self, time: int) -> int:
        """Return ``time``: every input determines its output."""
        return time

    def state(self) -> list[Tensor]:
        """Return hidden and cell state; nothing before the first block."""
        return list(self._carried or ())

    def lane(self, index: int) -> Self:
        """Return a layer with the item's hidden and cell state."""
        one = copy.copy(self)
        if self._carried is not None:
            hidden, cell = (tensor[:, index : index + 1].contiguous() for tensor in self._carried)
            one._carried = hidden, cell
        return one

    def _step_by_step(self, steps: Tensor) -> Tensor:
        if self._carried is None:
            zeros = steps.new_zeros(self._lstm.num_layers, steps.shape[1], self._lstm.hidden_size)
            self._carried = zeros, zeros
        sequence, carried = list(steps), []
        for weights, *state in zip(self._lstm.all_weights, *self._carried, strict=True):
            hidden, cell = state
            for index, step in enumerate(sequence):
                hidden, cell = torch.lstm_cell(step, (hidden, cell), *weights)
                sequence[index] = hidden
            carried.append((hidden, cell))
        hidden, cell = (torch.stack(tensors) for tensors in zip(*carried, strict=True))
        self._carried = hidden, cell
        return torch.stack(sequence)


class Chain(StreamingLayer):
    """Layers one after the other.

    Example:
        >>> Chain([Pointwise(nn.ReLU()), Pointwise(nn.Tanh())]).ready(5)
        5
    """

    def __init__(self, layers: Sequence[StreamingLayer]) -> None:
        self._layers = list(layers)

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """Pass a block through all layers and return the output of the last."""
        for layer in self._layers:
            x = layer.push(x, last)
        return x

    def ready(self, time: int) -> int:
        """Return the number of outputs of the last layer that ``time`` inputs determine."""
        for layer in self._layers:
            time = layer.ready(time)
        return time

    def state(self) -> list[Tensor]:
        """Return the tensors that all layers carry between blocks."""
        return [tensor for layer in self._layers for tensor in layer.state()]

    def lane(self, index: int) -> Self:
        """Return the chain of the layers' lanes."""
        one = copy.copy(self)
        one._layers = [layer.lane(index) for layer in self._layers]
        return one


class ResidualSum(StreamingLayer):
    """``shortcut(x) + branch(x)``; the shortcut waits for a branch that sees the future.

    Example:
        >>> layer = ResidualSum(Pointwise(nn.ReLU()), Pointwise(nn.Identity()))
        >>> layer.push(torch.tensor([[[-1.0, 2.0]]]))
        tensor([[[-1.,  4.]]])
    """

    def __init__(self, branch: StreamingLayer, shortcut: StreamingLayer) -> None:
        self._branch, self._shortcut = branch, shortcut
        self._waiting: Tensor | None = None

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """Return as many outputs as the branch gives."""
        branch, shortcut = self._branch.push(x, last), self._shortcut.push(x, last)
        if self._waiting is not None:
            shortcut = torch.cat([self._waiting, shortcut], dim=-1)
        now = branch.shape[-1]
        self._waiting = shortcut[..., now:].clone()  # a view would keep the whole block alive
        return shortcut[..., :now] + branch

    def ready(self, time: int) -> int:
        """Return the number of outputs that ``time`` inputs determine on both sides."""
        return min(self._branch.ready(time), self._shortcut.ready(time))

    def state(self) -> list[Tensor]:
        """Return the tensors that both sides carry between blocks, and the buffered part of the shortcut."""
        waiting = [] if self._waiting is None else [self._waiting]
        return [*self._branch.state(), *self._shortcut.state(), *waiting]

    def lane(self, index: int) -> Self:
        """Return the sum of both sides' lanes."""
        one = copy.copy(self)
        one._branch, one._shortcut = self._branch.lane(index), self._shortcut.lane(index)
        one._waiting = item_of(self._waiting, index)
        return one


def item_of(held: Tensor | None, index: int) -> Tensor | None:
    """Copy one item of a batch, as a batch of one; None for None."""
    return None if held is None else held[index : index + 1].clone()
