"""Memory layout of decoder inputs: one and the same, whichever code made the latent."""

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["channels_first"]


def channels_first(latent: Float[Tensor, "batch *grid dim"]) -> Float[Tensor, "batch dim *grid"]:
    """Return the latent with channels first, as convolutions take it, in the memory layout of a new tensor.

    Convolutions round by layout, so that two ways to the same latent would decode to different bits. ``contiguous`` is not enough: of
    sides of length 1 it keeps any stride, by which PyTorch chooses, too.

    Example:
        >>> channels_first(torch.zeros(2, 1, 16).as_strided((2, 1, 16), (16, 1, 1))).stride()
        (16, 1, 1)
    """
    return latent.movedim(-1, 1).clone(memory_format=torch.contiguous_format)
