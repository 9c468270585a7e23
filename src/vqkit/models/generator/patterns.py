"""Token patterns: the order in which a generator predicts the codes of a stream, and which of them together.

A stream has frames of several codes. A pattern lays them out over *positions*, the steps of the transformer: a position holds at most one
code of each kind, and the codes of one position are predicted from those of all earlier positions. With three codes a frame (rows) over
time (columns), the number in a cell is the frame whose code lies at that position:

    Parallel        Delay                 Flat
    0 1 2 3         0 1 2 3 . .           0 . . 1 . . 2 . . 3 . .
    0 1 2 3         . 0 1 2 3 .           . 0 . . 1 . . 2 . . 3 .
    0 1 2 3         . . 0 1 2 3           . . 0 . . 1 . . 2 . . 3

Every pattern is a pure function, and invertible: `restore` of `arrange` is the identity.

`NextScale` is for streams whose frames are the cells of grids of several sizes, from the coarsest to the finest: a position for each cell,
and all cells of a grid are predicted together, from the coarser grids.

References:
    Copet et al., "Simple and controllable music generation" (2023), arXiv:2306.05284, section 2.2 and figure 1; Tian et al., "Visual
    autoregressive modeling: scalable image generation via next-scale prediction" (VAR, 2024), arXiv:2404.02905, section 3.2.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from vqkit.quantize import pretrained
from vqkit.types import Int

__all__ = ["Delay", "Flat", "NextScale", "Parallel", "TokenPattern", "read_pattern"]


class TokenPattern(ABC):
    """A layout of codes over positions. A subclass defines `slots`; its constructor's arguments are JSON."""

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the constructor's arguments, which the model's ``config.json`` states."""
        self = super().__new__(cls)
        self._arguments = pretrained.bound_arguments(cls, args, kwargs)
        return self

    @abstractmethod
    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Return the frame of the code of each kind at each position; −1 where there is no code.

        Each frame of each code occurs once, and the frames of a code are in order.
        """

    def sources(self, positions: int) -> Int[Tensor, " positions"]:
        """Return the position whose codes are each position's input, the one before it by default; −1 stands for the start."""
        return torch.arange(-1, positions - 1)

    def spans(self, positions: int) -> list[tuple[int, int]]:
        """First position of each group that is predicted together, and that behind its last: each position by itself.

        A position attends to all positions of its own group, whose inputs are codes of earlier groups, and to those of earlier groups.
        """
        return [(position, position + 1) for position in range(positions)]

    def arrange(self, codes: Int[Tensor, "batch frames num_codes"]) -> Int[Tensor, "batch positions num_codes"]:
        """Lay codes out over positions; −1 where a position has no code of a kind.

        Example:
            >>> Delay().arrange(torch.tensor([[[1, 2], [3, 4]]]))
            tensor([[[ 1, -1],
                     [ 3,  2],
                     [-1,  4]]])
        """
        slots = self.slots(codes.shape[1], codes.shape[2]).to(codes.device)
        taken = codes.gather(1, slots.clamp_min(0).expand(len(codes), -1, -1))
        return torch.where(slots < 0, -1, taken)

    def restore(
        self, sequence: Int[Tensor, "batch positions num_codes"], frames: int
    ) -> Int[Tensor, "batch frames num_codes"]:
        """The inverse of `arrange`.

        Args:
            sequence: codes over positions.
            frames: number of frames that were arranged.

        Raises:
            ValueError: the sequence has another number of positions than that many frames take.
        """
        slots = self.slots(frames, sequence.shape[2]).to(sequence.device)
        if len(slots) != sequence.shape[1]:
            raise ValueError(
                f"{frames} frames take {len(slots)} positions in {type(self).__name__}, got {sequence.shape[1]}"
            )
        # frames of a code are in order, so the positions that hold one, in order, are those of frames 0, 1, 2 …
        kept = [sequence[:, slots[:, code] >= 0, code] for code in range(sequence.shape[2])]
        return torch.stack(kept, dim=-1)


class Parallel(TokenPattern):
    """Pattern with all codes of a frame at one position: as many positions as frames.

    With linear heads the codes of a frame are independent of each other given the past, which is only right for one code a frame;
    a depth head predicts them one after the other.

    Example:
        >>> Parallel().slots(frames=2, num_codes=3)
        tensor([[0, 0, 0],
                [1, 1, 1]])
    """

    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Return the slots: position t holds all codes of frame t."""
        return torch.arange(frames)[:, None].expand(-1, num_codes)


class Delay(TokenPattern):
    """Code c of a frame comes some positions later than code 0, so that it is predicted from the codes before it.

    Args:
        delays: positions by which each code is late, not decreasing, the first one 0; 0, 1, 2 … by default.

    Raises:
        ValueError: the delays do not begin with 0, or decrease; later, they are of another number than the codes.

    Example:
        >>> Delay().slots(frames=2, num_codes=2)
        tensor([[ 0, -1],
                [ 1,  0],
                [-1,  1]])
    """

    def __init__(self, delays: Sequence[int] | None = None) -> None:
        if delays is not None and (not delays or delays[0] != 0 or list(delays) != sorted(delays)):
            raise ValueError(f"delays must begin with 0 and not decrease, got {list(delays)}")
        self.delays = None if delays is None else tuple(delays)

    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Frame t of a code lies at position t + its delay."""
        if self.delays is not None and len(self.delays) != num_codes:
            raise ValueError(f"there are {len(self.delays)} delays for {num_codes} codes, expected one each")
        delays = tuple(range(num_codes)) if self.delays is None else self.delays
        found = torch.arange(frames + delays[-1])[:, None] - torch.tensor(delays)
        return torch.where((found < 0) | (found >= frames), -1, found)


class Flat(TokenPattern):
    """Pattern with one code at each position, frame after frame: exact for any codes, and the most positions.

    Example:
        >>> Flat().slots(frames=2, num_codes=2)
        tensor([[ 0, -1],
                [-1,  0],
                [ 1, -1],
                [-1,  1]])
    """

    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Code c of frame t lies at position t · num_codes + c."""
        place = torch.arange(frames * num_codes)
        own = place[:, None] % num_codes == torch.arange(num_codes)
        return torch.where(own, place[:, None] // num_codes, -1)


class NextScale(TokenPattern):
    """The cells of grids of several sizes, one grid after the other; all cells of a grid are predicted together (VAR).

    The input of a cell is the code of the cell of the next coarser grid that lies over it; the cells of the coarsest grid have the start.
    `vqkit.quantize.Multiscale` with one shared quantizer has such codes: `Multiscale.pack` makes the frames of one block.

    Args:
        sizes: cells of each grid along its axes, such as ``[(1, 1), (2, 2), (4, 4)]``; a number stands for a sequence of so many.

    Raises:
        ValueError: no sizes, or one below 1, or of other axes than the first; later, streams of another number of frames.

    Example:
        >>> pattern = NextScale([1, 2, 4])
        >>> pattern.sources(7).tolist(), pattern.spans(7)
        ([-1, 0, 0, 1, 1, 2, 2], [(0, 1), (1, 3), (3, 7)])
    """

    def __init__(self, sizes: Sequence[Sequence[int] | int]) -> None:
        self.sizes = tuple((size,) if isinstance(size, int) else tuple(size) for size in sizes)
        if not self.sizes or len({len(size) for size in self.sizes}) != 1 or min(map(min, self.sizes)) < 1:
            raise ValueError(f"sizes must be grids of at least one cell, all of the same axes, got {list(sizes)}")

    @property
    def frames(self) -> int:
        """Cells of all grids."""
        return sum(prod(size) for size in self.sizes)

    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Return the slots: each position holds all codes of its own cell."""
        if frames != self.frames:
            raise ValueError(f"grids of {self.sizes} have {self.frames} cells, got {frames} frames")
        return torch.arange(frames)[:, None].expand(-1, num_codes)

    def sources(self, positions: int) -> Int[Tensor, " positions"]:
        """The cell of the next coarser grid over each cell."""
        found, begin = [torch.full((prod(self.sizes[0]),), -1)], 0
        for coarse, fine in pairwise(self.sizes):
            cell = torch.full(fine, begin)
            for axis, (few, many) in enumerate(zip(coarse, fine, strict=True)):
                over = torch.arange(many) * few // many * prod(coarse[axis + 1 :])
                cell = cell + over.view([-1 if a == axis else 1 for a in range(len(fine))])
            found.append(cell.flatten())
            begin += prod(coarse)
        return torch.cat(found)

    def spans(self, positions: int) -> list[tuple[int, int]]:
        """The positions of each grid."""
        ends = list(accumulate(prod(size) for size in self.sizes))
        return list(zip([0, *ends], ends, strict=False))


def read_pattern(config: Any) -> Any:
    """The pattern that a ``config.json`` describes.

    Raises:
        ValueError: an unknown class, or arguments that it refuses.
    """
    return pretrained.from_expression(TokenPattern, config)
