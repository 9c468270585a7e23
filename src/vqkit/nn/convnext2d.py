"""ConvNeXt's block on images: mix in space channel by channel, then mix the channels place by place.

References:
    Liu et al., "A ConvNet for the 2020s" (2022), arXiv:2201.03545, figure 4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.types import Float

__all__ = ["ConvNeXtBlock2d"]


class ConvNeXtBlock2d(nn.Module):
    """``x + gain · MLP(norm(depthwise(x)))``.

    Args:
        dim: channels.
        expansion: width of the MLP over dim.
        kernel: places that the depthwise convolution sees, each way; odd.
        gain: start of the learned factor of each channel.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> ConvNeXtBlock2d(8)(torch.randn(2, 8, 5, 6)).shape
        torch.Size([2, 8, 5, 6])
    """

    def __init__(self, dim: int, *, expansion: int = 3, kernel: int = 5, gain: float = 0.3) -> None:
        super().__init__()
        if dim < 1 or expansion < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"dim and expansion must be at least 1 and kernel odd, got {dim}, {expansion} and {kernel}"
            )
        self.reach = kernel // 2
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        self.gain = nn.Parameter(torch.full((dim,), gain))

    def forward(self, x: Float[Tensor, "batch dim rows columns"]) -> Float[Tensor, "batch dim rows columns"]:
        """The outputs, as many places as given; beyond the border there are zeros."""
        mixed = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        made: Tensor = self.gain * self.narrow(functional.gelu(self.widen(mixed)))
        return x + made.permute(0, 3, 1, 2)
