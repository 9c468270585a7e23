"""Attention within windows of a grid, which are shifted along time in every second block.

References:
    Liu et al., "Swin transformer" (2021), arXiv:2103.14030, section 3.2; Huang et al., "Masked autoencoders that listen" (2022),
    arXiv:2207.06405, section 3 (4×4 windows of a 64×8 grid). Positions are in the tokens, so that windows have no bias of their own.
"""

import torch
from torch import Tensor, nn

from vqkit.types import Float

__all__ = ["Windows"]


class Windows:
    """Runs a block on every window of a grid.

    Args:
        size: height (time) and width of a window, in tokens.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"windows must be two sizes of at least 1, got {tuple(size)}")
        self.size = (int(size[0]), int(size[1]))

    def check(self, grid: tuple[int, ...]) -> None:
        """See that windows fill a grid.

        Raises:
            ValueError: they do not.
        """
        if len(grid) != 2 or grid[0] % self.size[0] or grid[1] % self.size[1]:
            raise ValueError(f"windows of {self.size} tokens do not fill a grid of {tuple(grid)}")

    def __call__(
        self, block: nn.Module, tokens: Float[Tensor, "batch length width"], grid: tuple[int, ...], shifted: bool
    ) -> Float[Tensor, "batch length width"]:
        """The block's output, every token having seen those of its window only."""
        self.check(grid)
        (height, width), (rows, columns) = grid, self.size
        batch, _, channels = tokens.shape
        shift = rows // 2 if shifted and height > rows else 0
        x = tokens.reshape(batch, height, width, channels).roll(-shift, dims=1)
        x = x.reshape(batch, height // rows, rows, width // columns, columns, channels).transpose(2, 3)
        shape = x.shape
        x = x.reshape(-1, rows * columns, channels)
        x = block(x, self._mask(batch, grid, shift, x.device)) if shift else block(x)
        x = x.reshape(shape).transpose(2, 3).reshape(batch, height, width, channels)
        return x.roll(shift, dims=1).reshape(batch, height * width, channels)

    def _mask(self, batch: int, grid: tuple[int, ...], shift: int, device: torch.device) -> Tensor:
        """Return the attention mask of shifted windows: in their last row the grid's end and wrapped beginning do not see each other."""
        (height, width), (rows, columns) = grid, self.size
        wrapped = torch.arange(height, device=device) >= height - shift
        side = wrapped.reshape(height // rows, 1, rows, 1).expand(-1, width // columns, -1, columns)
        side = side.reshape(-1, rows * columns)
        return (side[:, :, None] == side[:, None, :]).repeat(batch, 1, 1)[:, None]
