"""The small convolutions that VAR puts behind each upsampled scale: half identity, half learned."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.types import Float

__all__ = ["Smoothing"]

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Smoothing(nn.Module):
    """½ x + ½ K_g * x with a 3^n kernel for each group of scales; the kernels start as identities.

    Args:
        dim: length of the vectors.
        groups: number of kernels.
        scales: number of scales; neighbours share a kernel.
        spatial_dims: axes of the grid.

    References:
        Tian et al. (VAR, 2024), arXiv:2404.02905, section 3.2 and the published code.
    """

    _frozen = False  # set by `Learner.requires_grad_`

    def __init__(self, dim: int, groups: int, scales: int, spatial_dims: int) -> None:
        super().__init__()
        self.groups, self.scales, self.spatial_dims = groups, scales, spatial_dims
        self.kernels = nn.Parameter(torch.empty(groups, dim, dim, *[3] * spatial_dims))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does: convolutions that change nothing."""
        if not self.kernels.is_meta:
            for kernel in self.kernels:
                nn.init.dirac_(kernel)

    def forward(self, x: Float[Tensor, "batch *spatial dim"], scale: int) -> Float[Tensor, "batch *spatial dim"]:
        """Smooth what a scale adds."""
        if not x.numel():  # PyTorch pads an empty grid, and then finds it smaller than the kernel
            return x
        kernels = self.kernels.detach() if self._frozen else self.kernels
        kernel = kernels[scale * self.groups // self.scales].float()
        smooth: Tensor = _CONVOLUTIONS[self.spatial_dims](x.movedim(-1, 1), kernel, padding=1).movedim(1, -1)
        return 0.5 * x + 0.5 * smooth
