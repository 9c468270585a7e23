"""Grids cut into blocks, and the cells of a coarser grid inside each: pooling, interpolation, and where a cell's code stands.

Conventions
    A block has B positions along each of n axes, B^n in all, row by row; positions beyond the end of a grid are not real. A coarser grid
    has h ≤ B cells along each axis of a block. Cell i covers the positions ⌊i·B/h⌋ … ⌊(i+1)·B/h⌋ − 1: a partition. Its value is the mean
    over ⌊i·B/h⌋ … ⌈(i+1)·B/h⌉ − 1, as area interpolation has it; these windows overlap where h does not divide B.
    The code of a cell stands at its first real position; its other positions have −1.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.types import Bool, Float, Int

__all__ = ["Cells", "finest", "from_blocks", "to_blocks"]


def to_blocks(x: Tensor, block: int, dims: int) -> tuple[Tensor, Bool[Tensor, "*shape positions"]]:
    """(batch, *spatial, …) → (batch, *blocks, B^n, …), and which positions lie within the grid.

    Example:
        >>> blocks, inside = to_blocks(torch.arange(5)[None], 4, 1)
        >>> blocks.tolist(), inside.tolist()
        ([[[0, 1, 2, 3], [4, 4, 4, 4]]], [[[True, True, True, True], [True, False, False, False]]])
    """
    inside = torch.ones((1,) * (1 + dims), dtype=torch.bool, device=x.device)
    for axis in range(1, dims + 1):
        size = x.shape[axis]
        place = torch.arange((size + block - 1) // block * block, device=x.device)
        x = x.index_select(axis, place.clamp_max(size - 1))
        inside = inside & (place < size).reshape([-1 if a == axis else 1 for a in range(1 + dims)])
    inside = inside.expand(x.shape[: 1 + dims])
    return _cut(x, block, dims), _cut(inside, block, dims)


def from_blocks(y: Tensor, sizes: tuple[int, ...], block: int) -> Tensor:
    """The inverse of `to_blocks`, of a grid of these sizes."""
    dims = len(sizes)
    y = y.unflatten(1 + dims, (block,) * dims)
    order = [0, *(index for axis in range(dims) for index in (1 + axis, 1 + dims + axis))]
    y = y.permute(*order, *range(1 + 2 * dims, y.ndim))
    for axis, size in enumerate(sizes, start=1):
        y = y.flatten(axis, axis + 1).index_select(axis, torch.arange(size, device=y.device))
    return y


def _cut(x: Tensor, block: int, dims: int) -> Tensor:
    for axis in range(dims):
        x = x.unflatten(1 + 2 * axis, (-1, block))
    whole, part = [1 + 2 * axis for axis in range(dims)], [2 + 2 * axis for axis in range(dims)]
    x = x.permute(0, *whole, *part, *range(1 + 2 * dims, x.ndim))
    return x.flatten(1 + dims, 2 * dims)


class Cells:
    """The cells of one scale in every block.

    Args:
        size: cells along each axis of a block, h.
        block: positions along each axis, B.
        dims: axes, n.
        upsample: ``"repeat"``, ``"linear"`` or ``"cubic"``, both with half-pixel centres within the block.
    """

    def __init__(self, size: int, block: int, dims: int, upsample: str) -> None:
        self.count, self.upsample = size**dims, upsample
        edges = [i * block // size for i in range(size + 1)]
        owner = [max(i for i in range(size) if edges[i] <= p) for p in range(block)]
        longest = max(b - a for a, b in pairwise(edges))
        members = [[min(edges[i] + j, edges[i + 1] - 1) for j in range(longest)] for i in range(size)]

        def grid(index: Tensor, length: int) -> Tensor:
            """Indices along one axis → indices into the flattened block, of which every axis has this length."""
            found = index
            for _ in range(dims - 1):
                a, b = found, index
                shape = [s * t for s, t in zip(a.shape, b.shape, strict=True)]
                if index.ndim == 1:
                    found = (a[:, None] * length + b[None]).reshape(shape)
                else:
                    found = (a[:, None, :, None] * length + b[None, :, None]).reshape(shape)
            return found

        def kron(matrix: Tensor) -> Tensor:
            found = matrix
            for _ in range(dims - 1):
                found = torch.kron(found, matrix)
            return found

        self._cell_of = Constant(lambda: grid(torch.tensor(owner), size))
        self._members = Constant(lambda: grid(torch.tensor(members), block))
        self._windows = Constant(lambda: kron(_windows(size, block)))
        same = Constant(lambda: (self._cell_of.value[:, None] == self._cell_of.value[None]).float())
        self._earlier = Constant(lambda: same.value.tril(-1))
        self._linear = Constant(lambda: kron(_interpolation(size, block, cubic=False)))
        self._cubic = Constant(lambda: kron(_interpolation(size, block, cubic=True)))

    def pooled(
        self, x: Float[Tensor, "*blocks positions dim"], real: Bool[Tensor, "*blocks positions"]
    ) -> tuple[Float[Tensor, "*blocks cells dim"], Bool[Tensor, "*blocks cells"]]:
        """The mean of the real positions of each cell's window, and whether the cell has a real position."""
        windows = self._windows.on(x.device)
        weight = real[..., None].to(x.dtype)
        mean = windows @ (x * weight) / (windows @ weight).clamp_min(1)
        there = real[..., self._members.on(x.device)].any(dim=-1)
        return torch.where(there[..., None], mean, 0.0), there

    def spread(self, values: Float[Tensor, "*blocks cells dim"], there: Bool[Tensor, "*blocks cells"]) -> Tensor:
        """Values of cells at all positions; where a cell beside is missing, what is there has all the weight."""
        if self.upsample == "repeat":
            return self.repeated(values)
        linear, weight = self._linear.on(values.device), there[..., None].to(values.dtype)
        found = linear @ values / (linear @ weight).clamp_min(1e-6)
        if self.upsample == "linear":
            return found
        # a cubic kernel has negative weights, which cannot be scaled up where some cells are missing
        cubic = self._cubic.on(values.device)
        whole = (cubic != 0).to(values.dtype) @ (1 - weight) == 0
        return torch.where(whole, cubic @ values, found)

    def repeated(self, values: Tensor) -> Tensor:
        """(…, cells, any) at all positions."""
        return values[..., self._cell_of.on(values.device), :]

    def placed(
        self, codes: Int[Tensor, "*blocks cells codes"], real: Bool[Tensor, "*blocks positions"]
    ) -> Int[Tensor, "*blocks positions codes"]:
        """Codes of cells, each at the first real position of its cell, −1 elsewhere."""
        before = real.to(torch.float32) @ self._earlier.on(codes.device).T
        first = real & (before == 0)
        return torch.where(first[..., None], self.repeated(codes), -1)

    def gathered(self, codes: Int[Tensor, "*blocks positions codes"]) -> Int[Tensor, "*blocks cells codes"]:
        """The inverse of `placed`."""
        return codes[..., self._members.on(codes.device), :].amax(dim=-2)

    def held(self, codes: Int[Tensor, "*blocks cells codes"]) -> Bool[Tensor, "*blocks positions"]:
        """Positions whose cell has a code."""
        return (self.repeated(codes) >= 0).any(dim=-1)


def finest(held: Sequence[Bool[Tensor, "*blocks positions"]]) -> Bool[Tensor, "*blocks positions"]:
    """Positions with a code of the last scale, which all real ones have; in blocks that have none of it, of the last scale that they have.

    Args:
        held: from `Cells.held`, scale after scale.
    """
    real = held[-1]
    for coarser in reversed(held[:-1]):
        real = real | (coarser & ~real.any(dim=-1, keepdim=True))  # ONNX Runtime has no `where` of booleans
    return real


def _windows(size: int, block: int) -> Float[Tensor, "cells positions"]:
    """1 in ⌊i·B/h⌋ … ⌈(i+1)·B/h⌉ − 1."""
    place, cell = torch.arange(block), torch.arange(size)[:, None]
    return ((place >= cell * block // size) & (place * size < (cell + 1) * block)).float()


def _interpolation(size: int, block: int, *, cubic: bool) -> Float[Tensor, "positions cells"]:
    """Weights of h cells at B positions; edges are repeated, as `torch.nn.functional.interpolate` does."""
    weights = torch.zeros(block, size, dtype=torch.float32)
    for p in range(block):
        centre = (p + 0.5) * size / block - 0.5
        if not cubic:
            centre = max(centre, 0.0)
        low = math.floor(centre)
        for i in range(low - 1, low + 3):
            distance = abs(centre - i)
            weight = max(0.0, 1 - distance) if not cubic else _keys(distance)
            weights[p, min(max(i, 0), size - 1)] += weight
    return weights


def _keys(t: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel, with the constant of PyTorch."""
    if t < 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0
