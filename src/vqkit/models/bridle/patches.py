"""Patches: a signal cut into boxes, and how a box becomes a token."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.types import Float, Int

__all__ = ["ConvStem", "gather", "normalised_patches", "patchify"]


def patchify(x: Tensor, patch: Sequence[int]) -> Float[Tensor, "batch places values"]:
    """Cut signals into boxes.

    Args:
        x: (batch, channels, *size); every size is a multiple of the patch's.
        patch: sizes of a box.

    Returns:
        The boxes, the last coordinate running fastest; the values of a box are (channels, *patch), flattened.

    Example:
        >>> import torch
        >>> patchify(torch.arange(16.0).reshape(1, 1, 4, 4), (2, 2))[0, 1]
        tensor([2., 3., 6., 7.])
    """
    batch, channels = x.shape[:2]
    dims = len(patch)
    shape = [part for size, step in zip(x.shape[2:], patch, strict=True) for part in (size // step, step)]
    x = x.reshape(batch, channels, *shape)
    places, within = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    return x.permute(0, *places, 1, *within).reshape(batch, -1, channels * math.prod(patch))


def gather(
    tokens: Float[Tensor, "batch length values"], places: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen values"]:
    """The tokens at some places of each item."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def normalised_patches(patches: Float[Tensor, "batch places values"]) -> Float[Tensor, "batch places values"]:
    """Every patch with mean 0 and variance 1, the targets of masked autoencoding.

    References:
        He et al., "Masked autoencoders are scalable vision learners" (2022), arXiv:2111.06377, section 3.
    """
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


class ConvStem(nn.Module):
    """A small convolutional network on each patch alone, in place of one linear layer.

    Patches do not see each other, so that nothing of a masked patch reaches a visible one. Time within a tubelet is a channel.

    Args:
        channels: channels of the signal, times the frames of a tubelet.
        patch: height and width of a patch, multiples of 4.
        width: length of a token.
        filters: filters of the first convolution; the second has twice as many.

    Raises:
        ValueError: a patch that cannot be halved twice.
    """

    def __init__(self, channels: int, patch: Sequence[int], width: int, filters: int) -> None:
        super().__init__()
        if len(patch) != 2 or patch[0] % 4 or patch[1] % 4:
            raise ValueError(
                f"a convolutional stem needs patches whose height and width are multiples of 4, got {tuple(patch)}"
            )
        self.channels, self.patch = channels, (patch[0], patch[1])
        self.first = nn.Conv2d(channels, filters, 3, stride=2, padding=1)
        self.second = nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, filters)
        self.last = nn.Linear(2 * filters * patch[0] * patch[1] // 16, width)

    def forward(self, patches: Float[Tensor, "batch places values"]) -> Float[Tensor, "batch places width"]:
        """Tokens of patches."""
        batch, places, _ = patches.shape
        x = patches.reshape(batch * places, self.channels, *self.patch)
        x = F.gelu(self.second(F.gelu(self.norm(self.first(x)))))
        tokens: Tensor = self.last(x.flatten(1)).reshape(batch, places, -1)
        return tokens
