"""In which order a generator predicts the codes of a stream, and which of them together.

A stream has frames of several codes. A pattern lays them out over *positions*, the steps of the transformer: a position holds at most one
code of each kind, and the codes of one position are predicted from those of all earlier positions. With three codes a frame (rows) over
time (columns), the number in a cell is the frame whose code lies at that position:

    Parallel        Delay                 Flat
    0 1 2 3         0 1 2 3 . .           0 . . 1 . . 2 . . 3 . .
    0 1 2 3         . 0 1 2 3 .           . 0 . . 1 . . 2 . . 3 .
    0 1 2 3         . . 0 1 2 3           . . 0 . . 1 . . 2 . . 3

Every pattern is a pure function, and invertible: `restore` of `arrange` is the identity.

References:
    Copet et al., "Simple and controllable music generation" (2023), arXiv:2306.05284, section 2.2 and figure 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from vqkit.quantize import pretrained
from vqkit.types import Int

__all__ = ["Delay", "Flat", "Parallel", "TokenPattern", "read_pattern"]


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
        """The frame whose code lies at each position, and −1 where none does.

        Each frame of each code occurs once, and the frames of a code are in order.
        """

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
    """All codes of a frame at one position: as many positions as frames.

    With linear heads the codes of a frame are independent of each other given the past, which is only right for one code a frame;
    a depth head predicts them one after the other.

    Example:
        >>> Parallel().slots(frames=2, num_codes=3)
        tensor([[0, 0, 0],
                [1, 1, 1]])
    """

    def slots(self, frames: int, num_codes: int) -> Int[Tensor, "positions num_codes"]:
        """Each position has its own frame."""
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
        delays = torch.arange(num_codes) if self.delays is None else torch.tensor(self.delays)
        found = torch.arange(frames + int(delays[-1]))[:, None] - delays
        return torch.where((found < 0) | (found >= frames), -1, found)


class Flat(TokenPattern):
    """One code a position, frame after frame: exact for any codes, and the most positions.

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


def read_pattern(config: Any) -> Any:
    """The pattern that a ``config.json`` describes.

    Raises:
        ValueError: an unknown class, or arguments that it refuses.
    """
    return pretrained.from_expression(TokenPattern, config)
