"""Fixed positions: sines and cosines of a place in a grid (sound, images) or in a sequence (video).

References:
    Vaswani et al., "Attention is all you need" (2017), arXiv:1706.03762, section 3.5; He et al., "Masked autoencoders are scalable vision
    learners" (2022), arXiv:2111.06377, appendix A.1 (two dimensions); Tong et al., "VideoMAE" (2022), arXiv:2203.12602.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["position_table"]


def position_table(
    grid: Sequence[int], width: int, order: Literal["grid", "transposed"] = "grid"
) -> Float[Tensor, "places width"]:
    """Positions of all places of a grid, the last coordinate running fastest.

    Args:
        grid: number of places along each coordinate: two for sound (time, frequency) and images, three for video, whose places are
            numbered through.
        width: length of a token.
        order: ``"grid"`` lays the table out as tokens are; ``"transposed"`` lists the places with the first coordinate running fastest,
            as BRIDLE's published code for sound does, so that most tokens get the position of another.

    Example:
        >>> position_table((64, 8), 768).shape, position_table((8, 14, 14), 768).shape
        (torch.Size([512, 768]), torch.Size([1568, 768]))
    """
    if len(grid) != 2:
        places = torch.arange(int(torch.tensor(tuple(grid)).prod()))
        waves = _waves(places, width)
        return torch.stack(waves, dim=-1).flatten(1)  # VideoMAE's order: sine and cosine in turn
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    if order == "transposed":
        rows, columns = rows.T, columns.T
    # MAE's order: half of the channels for the column, half for the row, each sines before cosines
    parts = [torch.cat(_waves(places.flatten(), width // 2), dim=1) for places in (columns, rows)]
    return torch.cat(parts, dim=1)


def _waves(places: Tensor, width: int) -> tuple[Tensor, Tensor]:
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = places.double()[:, None] * frequencies
    return angles.sin().float(), angles.cos().float()
