"""Convolutions of a signal in blocks, with padding at its two ends only, as for the full signal.

Conventions
    ``pad_left`` and ``pad_right`` are the padding of the whole signal, whose length is first raised to a multiple of the stride by more
    padding at the end, as in EnCodec. A reflected start looks at the first samples: the first output then has to wait for them.

References:
    Défossez et al., "High fidelity neural audio compression" (2022), arXiv:2210.13438, section 3.1.
"""

import copy
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.nn.streaming_layer import StreamingLayer, item_of
from vqkit.types import Float

__all__ = ["PAD_MODES", "StreamingConvolution", "StreamingTransposedConvolution", "pad_ends"]

PAD_MODES = ("constant", "reflect", "replicate")
"""Paddings that can be made in blocks; a circular one would need the end of the signal at its start."""


def pad_ends(
    x: Float[Tensor, "batch channels time"], left: int, right: int, mode: str
) -> Float[Tensor, "batch channels padded"]:
    """Pad; what is too short to be reflected is taken as followed by zeros, as in EnCodec.

    Example:
        >>> pad_ends(torch.tensor([[[1.0, 2.0]]]), 3, 0, "reflect")
        tensor([[[0., 0., 2., 1., 2.]]])
    """
    missing = max(left, right) + 1 - x.shape[-1] if mode == "reflect" else 0
    if missing <= 0:
        return functional.pad(x, (left, right), mode)
    padded = functional.pad(functional.pad(x, (0, missing)), (left, right), mode)
    return padded[..., : left + x.shape[-1] + right]


class StreamingConvolution(StreamingLayer):
    """``conv1d(pad(x))`` in blocks.

    Args:
        weight: (out, in, kernel).
        bias: (out), or None.
        stride: step in samples.
        dilation: distance of the taps in samples.
        pad_left: padding before the signal, in samples; with ``pad_right`` it makes (kernel − 1)·dilation + 1 − stride.
        pad_right: padding after the signal.
        pad_mode: one of `PAD_MODES`.
        groups: groups of channels that do not see each other.

    Raises:
        ValueError: another pad_mode.

    Example:
        >>> x, weight = torch.randn(1, 2, 20), torch.randn(3, 2, 4)
        >>> layer = StreamingConvolution(weight, None, stride=2, pad_left=2, pad_mode="constant")
        >>> blocks = torch.cat([layer.push(x[..., :7]), layer.push(x[..., 7:], last=True)], dim=-1)
        >>> torch.allclose(blocks, functional.conv1d(functional.pad(x, (2, 0)), weight, stride=2), atol=1e-5)
        True
    """

    def __init__(
        self,
        weight: Float[Tensor, "out in kernel"],
        bias: Float[Tensor, " out"] | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        pad_left: int = 0,
        pad_right: int = 0,
        pad_mode: str = "reflect",
        groups: int = 1,
    ) -> None:
        if pad_mode not in PAD_MODES:
            raise ValueError(f"pad_mode must be one of {', '.join(PAD_MODES)}, got {pad_mode!r}")
        self._weight, self._bias, self._stride, self._dilation = weight, bias, stride, dilation
        self._pad_left, self._pad_right, self._pad_mode, self._groups = pad_left, pad_right, pad_mode, groups
        self._span = (weight.shape[-1] - 1) * dilation + 1
        self._most_right = pad_right + stride - 1
        self._least = max(pad_left, self._most_right) + 1 if pad_mode == "reflect" else 1
        self._held: Tensor | None = None  # begins `_behind` samples before the next output's first sample
        self._behind = 0
        self._time = 0
        self._started = False

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """The outputs whose samples are all there."""
        self._time += x.shape[-1]
        held = x if self._held is None else torch.cat([self._held, x], dim=-1)
        starts = not self._started and (self._time >= self._least or (last and self._time > 0))
        self._started = self._started or starts
        left = self._pad_left if starts else 0
        right = self._pad_right + -self._time % self._stride if last and self._started else 0
        if left or right:
            held = pad_ends(held, left, right, self._pad_mode)
        outputs = (held.shape[-1] - self._behind - self._span) // self._stride + 1 if self._started else 0
        if outputs <= 0:
            self._held = held.clone()
            return held.new_zeros(held.shape[0], self._weight.shape[0], 0)
        end = self._behind + (outputs - 1) * self._stride + self._span
        window = held[..., self._behind : end]
        y = functional.conv1d(
            window, self._weight, self._bias, self._stride, dilation=self._dilation, groups=self._groups
        )
        self._behind += outputs * self._stride
        # the end of the signal may come next, and its reflection looks back further than the next output
        drop = max(0, min(self._behind, held.shape[-1] - self._most_right - 1))
        self._behind -= drop
        self._held = held[..., drop:].clone()  # a view would keep the whole block alive
        return y

    def ready(self, time: int) -> int:
        """Outputs that the first ``time`` samples determine."""
        return max(0, (time + self._pad_left - self._span) // self._stride + 1) if time >= self._least else 0

    def state(self) -> list[Tensor]:
        """The last samples."""
        return [] if self._held is None else [self._held]

    def lane(self, index: int) -> Self:
        """The item's last samples."""
        one = copy.copy(self)
        one._held = item_of(self._held, index)
        return one


class StreamingTransposedConvolution(StreamingLayer):
    """``conv_transpose1d(x)`` in blocks, cut at both ends of the signal.

    Args:
        weight: (in, out, kernel).
        bias: (out), or None.
        stride: samples an input.
        trim_left: outputs cut off at the start; with ``trim_right`` it makes at most kernel − stride.
        trim_right: outputs cut off at the end.

    Example:
        >>> x, weight = torch.randn(1, 2, 9), torch.randn(2, 3, 4)
        >>> layer = StreamingTransposedConvolution(weight, None, stride=2, trim_right=2)
        >>> blocks = torch.cat([layer.push(x[..., :4]), layer.push(x[..., 4:], last=True)], dim=-1)
        >>> torch.allclose(blocks, functional.conv_transpose1d(x, weight, stride=2)[..., :-2], atol=1e-5)
        True
    """

    def __init__(
        self,
        weight: Float[Tensor, "in out kernel"],
        bias: Float[Tensor, " out"] | None,
        *,
        stride: int = 1,
        trim_left: int = 0,
        trim_right: int = 0,
    ) -> None:
        self._columns = weight.flatten(
            1
        ).T.contiguous()  # (out · kernel, in); PyTorch's own would turn the weight at each call
        self._bias, self._stride = bias, stride
        self._trim_left, self._trim_right = trim_left, trim_right
        self._out, self._kernel = weight.shape[1:]
        self._past = -(-self._kernel // stride) - 1  # inputs whose outputs reach beyond their own stride
        self._held: Tensor | None = None
        self._time = 0
        self._given = trim_left  # outputs given or cut so far

    def push(self, x: Float[Tensor, "batch channels time"], last: bool = False) -> Float[Tensor, "batch out new_time"]:
        """The outputs that no later input reaches."""
        held = x if self._held is None else torch.cat([self._held, x], dim=-1)
        self._time += x.shape[-1]
        end = (self._time - 1) * self._stride + self._kernel - self._trim_right if last else self._time * self._stride
        self._held = held[..., max(0, held.shape[-1] - self._past) :].clone()
        if not held.shape[-1] or end <= self._given:
            return held.new_zeros(held.shape[0], self._out, 0)
        first = (self._time - held.shape[-1]) * self._stride
        y = self._transposed(held)
        y, self._given = y[..., self._given - first : end - first], end
        return y

    def ready(self, time: int) -> int:
        """Outputs that the first ``time`` inputs determine."""
        return max(0, time * self._stride - self._trim_left)

    def state(self) -> list[Tensor]:
        """The last inputs."""
        return [] if self._held is None else [self._held]

    def lane(self, index: int) -> Self:
        """The item's last inputs."""
        one = copy.copy(self)
        one._held = item_of(self._held, index)
        return one

    def _transposed(self, x: Tensor) -> Tensor:
        """``conv_transpose1d``, as the sum of overlapping columns that it is."""
        samples = (x.shape[-1] - 1) * self._stride + self._kernel
        y = functional.fold(self._columns @ x, (1, samples), (1, self._kernel), stride=(1, self._stride)).squeeze(2)
        return y if self._bias is None else y + self._bias[:, None]
