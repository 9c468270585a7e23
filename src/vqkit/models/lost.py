"""Concealment of codes that a damaged file has lost: silence in sound, gray in images.

The networks get an arbitrary valid code there, so that their carry-over to the neighbours is that of a signal; their output is covered.
"""

import torch
from torch import Tensor

from vqkit.modality import Modality
from vqkit.types import Bool, Float, Int

__all__ = ["cover_lost", "without_lost"]


def without_lost(
    codes: Int[Tensor, "positions num_codes"],
) -> tuple[Int[Tensor, "positions num_codes"], Bool[Tensor, " positions"]]:
    """Replace lost codes by ones that can be decoded, and mark the positions whose codes are lost.

    Args:
        codes: −1 where a code is lost; a position that has the codes of its first stages is not lost.

    Example:
        >>> codes, lost = without_lost(torch.tensor([[3, 1], [-1, -1], [2, -1]]))
        >>> codes.tolist(), lost.tolist()
        ([[3, 1], [0, 0], [2, -1]], [False, True, False])
    """
    lost = (codes < 0).all(dim=1)
    return torch.where(lost[:, None], 0, codes), lost


def cover_lost(
    signal: Float[Tensor, "channels *size"], lost: Bool[Tensor, "*size"], modality: Modality
) -> Float[Tensor, "channels *size"]:
    """Return a decoded signal with silence or gray in place of what is lost.

    Args:
        signal: decoded signal, lost positions included.
        lost: samples or pixels that stand for lost codes.
        modality: modality of the signal, which sets the value.

    Example:
        >>> from vqkit.modality import SOUND
        >>> cover_lost(torch.ones(1, 3), torch.tensor([False, True, False]), SOUND).tolist()
        [[1.0, 0.0, 1.0]]
    """
    return signal.masked_fill(lost, modality.lost_value) if bool(lost.any()) else signal
