"""The network that predicts one code position, in whole numbers only: the same numbers on every machine, in any order of addition.

What is guaranteed
    Weights are integers of 8 bits, activations integers from 0 to 255, biases at most 2^23 in size. A sum of at most 256 products then
    stays below 2^24 in size with its bias, and so do all sums of some of its terms: each is a whole number that float32 holds exactly.
    Whichever order, width of vectors or fused operation a machine's matrix product uses, there is nothing to round. Inputs are sums of
    16-bit integers, and float64 holds the sums of the first layer in the same way (they stay below 2^53). Layers scale down by a shift of
    bits, rounding half up, and the softmax is a table of integers.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vqkit.bitstream.code_models import exact_weights
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, number_bytes

__all__ = ["CodeNetwork", "Layer", "read_network"]

LARGEST_ACTIVATION = 255
LARGEST_WEIGHT = 127
LARGEST_BIAS = 1 << 23
LOGIT_BITS = 5  # a logit counts 32nds of an octave
_MAX_SHIFT = 40
_FURTHEST = 16 << LOGIT_BITS  # logits that far below the largest, 16 octaves, and further are alike


def _octave_parts() -> np.ndarray:
    """floor(2^16 · 2^(−i/32)) for i = 0 … 512, by integer square roots: powers of floats differ from machine to machine."""
    values = []
    for i in range(_FURTHEST + 1):
        value = 1 << ((16 << LOGIT_BITS) - i)
        for _ in range(LOGIT_BITS):
            value = math.isqrt(value)
        values.append(value)
    return np.array(values, np.int64)


_POWERS = _octave_parts()


@dataclass(frozen=True)
class Layer:
    """A linear layer: ``(x @ weight + bias)`` scaled down by ``2^shift``, rounding half up.

    Attributes:
        weight: ``(inputs, outputs)`` int8.
        bias: ``(outputs,)`` int32.
        shift: bits to shift by.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: int

    def scaled(self, sums: np.ndarray) -> np.ndarray:
        """Exact sums with their bias, as floats of whole numbers → int64."""
        half = 1 << self.shift >> 1
        found: np.ndarray = (sums.astype(np.int64) + half) >> self.shift
        return found

    def to_bytes(self) -> bytes:
        """The shift, the weights row by row, and four bytes a bias."""
        return number_bytes(self.shift) + self.weight.astype(np.int8).tobytes() + self.bias.astype("<i4").tobytes()


def _rectified(values: np.ndarray) -> np.ndarray:
    # numpy.clip takes longer to begin than this takes for a row, and decoding has a row at a time
    return np.minimum(np.maximum(values, 0), LARGEST_ACTIVATION).astype(np.float32)


@dataclass(frozen=True)
class CodeNetwork:
    """Two hidden layers and a softmax over the alphabet of one code.

    Attributes:
        first: layer on the inputs, which are sums of code vectors.
        second: layer on the first layer's activations.
        out: to a logit for each code.
    """

    first: Layer
    second: Layer
    out: Layer

    @cached_property
    def first_weight(self) -> np.ndarray:
        """Weights of the first layer in float64, for exact sums."""
        return self.first.weight.astype(np.float64)

    @cached_property
    def _second(self) -> tuple[np.ndarray, np.ndarray]:
        return self.second.weight.astype(np.float32), self.second.bias.astype(np.float32)

    @cached_property
    def _out(self) -> tuple[np.ndarray, np.ndarray]:
        return self.out.weight.astype(np.float32), self.out.bias.astype(np.float32)

    def rows(self, sums: np.ndarray) -> np.ndarray:
        """Weights of the range coder.

        Args:
            sums: sums of the first layer with its bias, ``(frames, width)`` float64 of whole numbers.

        Returns:
            ``(frames, code_size)`` float64 of whole numbers, see `vqkit.bitstream.code_models.exact_weights`.
        """
        hidden = _rectified(self.first.scaled(sums))
        weight, bias = self._second
        hidden = _rectified(self.second.scaled(hidden @ weight + bias))
        weight, bias = self._out
        logits = self.out.scaled(hidden @ weight + bias)
        below = logits.max(axis=1, keepdims=True) - logits
        return exact_weights(_POWERS[np.minimum(below, _FURTHEST)])

    def to_bytes(self) -> bytes:
        """The three layers."""
        return b"".join(layer.to_bytes() for layer in (self.first, self.second, self.out))


def read_network(fields: FieldReader, inputs: int, width: int, size: int) -> CodeNetwork:
    """Read what `CodeNetwork.to_bytes` wrote.

    Args:
        fields: reader at the first layer.
        inputs: inputs of the first layer.
        width: outputs of both hidden layers.
        size: alphabet of the code.

    Raises:
        BitstreamError: a shift or a number is out of range, or the bytes end early.
    """
    shapes = ((inputs, width), (width, width), (width, size))
    first, second, out = (_read_layer(fields, *shape) for shape in shapes)
    return CodeNetwork(first, second, out)


def _read_layer(fields: FieldReader, inputs: int, outputs: int) -> Layer:
    shift = fields.number("a shift", _MAX_SHIFT)
    weight = np.frombuffer(fields.take(inputs * outputs), np.int8).reshape(inputs, outputs)
    bias = np.frombuffer(fields.take(4 * outputs), "<i4")
    # −128 would break the bound on sums
    if weight.min(initial=0) < -LARGEST_WEIGHT or np.abs(bias.astype(np.int64)).max(initial=0) > LARGEST_BIAS:
        raise BitstreamError(f"a layer has a weight below −{LARGEST_WEIGHT} or a bias beyond ±2^23")
    return Layer(weight, bias, shift)
