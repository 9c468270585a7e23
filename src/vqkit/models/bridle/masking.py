"""Masking: the choice of the patches that an encoder sees in training, at random or in tubes.

References:
    BRIDLE, sections 4.2 and 4.3; He et al. (2022), arXiv:2111.06377 (random masks); Tong et al. (2022), arXiv:2203.12602 (tubes).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.types import Int

__all__ = ["Mask", "random_mask", "tube_mask"]


@dataclass(frozen=True)
class Mask:
    """Masked and unmasked places of each item.

    Attributes:
        kept: places that the encoder sees, rising.
        hidden: places that are hidden from the encoder, rising.
    """

    kept: Int[Tensor, "batch kept"]
    hidden: Int[Tensor, "batch hidden"]


def random_mask(batch: int, places: int, ratio: float, device: torch.device | None = None) -> Mask:
    """Keep ⌊(1 − ratio)·places⌋ places of each item, at least one, drawn independently.

    Args:
        batch: number of items.
        places: number of places of each item.
        ratio: share that is hidden.
        device: device of the result.

    Raises:
        ValueError: a ratio outside 0 … 1, or only one place.

    Example:
        >>> random_mask(2, 10, 0.8).kept.shape
        torch.Size([2, 2])
    """
    if not 0 < ratio < 1 or places < 2:
        raise ValueError(f"a mask needs a ratio between 0 and 1 and at least 2 places, got {ratio} and {places}")
    # the small number undoes the rounding of 1 − 0.8
    kept = max(1, math.floor((1 - ratio) * places + 1e-9))
    order = torch.rand(batch, places, device=device).argsort(dim=1)
    return Mask(order[:, :kept].sort(dim=1).values, order[:, kept:].sort(dim=1).values)


def tube_mask(batch: int, grid: Sequence[int], ratio: float, device: torch.device | None = None) -> Mask:
    """Hide the same places of every time: what is hidden cannot be read off the frame before.

    Args:
        batch: number of items.
        grid: (times, height, width).
        ratio: share of the places of a time that is hidden.
        device: device of the result.

    Raises:
        ValueError: as `random_mask`.

    Example:
        >>> tube_mask(1, (2, 2, 5), 0.9).kept.shape
        torch.Size([1, 2])
    """
    times, within = grid[0], math.prod(grid[1:])
    one = random_mask(batch, within, ratio, device)
    steps = torch.arange(times, device=device)[None, :, None] * within
    return Mask(*((steps + places[:, None]).flatten(1) for places in (one.kept, one.hidden)))
