"""The encoder: patches of a signal → one vector a patch, a vision transformer of transformers' blocks.

patches ─ linear layer, or a convolutional stem ─ + positions ─ (class token) ─ blocks ─ layer norm ─ vectors without the class token's
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.models.bridle.patches import ConvStem, gather
from vqkit.models.bridle.positions import position_table
from vqkit.models.bridle.stack import LAYER_NORM_EPSILON, Blocks, Stack, init_weights
from vqkit.models.input_checks import home
from vqkit.types import Bool, Float, Int

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """ViT with frozen positions and a class token; for video VideoMAE's, without one.

    Args:
        stack: sizes of the blocks.
        channels: channels of the signal.
        patch: sizes of a patch.
        grid: number of patches along each coordinate of the longest signal.
        video: blocks and positions of VideoMAE.
        stem: filters of a convolutional stem; 0 embeds a patch by one linear layer.
        order: order of the positions, as in `position_table`.

    References:
        BRIDLE, section 4.2 and appendix C; Dosovitskiy et al., "An image is worth 16x16 words" (2021), arXiv:2010.11929.
    """

    def __init__(
        self,
        stack: Stack,
        channels: int,
        patch: Sequence[int],
        grid: Sequence[int],
        *,
        video: bool,
        stem: int = 0,
        order: Literal["grid", "transposed"] = "grid",
    ) -> None:
        super().__init__()
        self.stack, self.video, self.channels, self.stem = stack, video, channels, stem
        self.patch, self.grid = tuple(patch), tuple(grid)
        inner = channels * math.prod(self.patch[:-2])
        self.embedding: nn.Module = (
            ConvStem(inner, self.patch[-2:], stack.width, stem)
            if stem
            else nn.Linear(channels * math.prod(patch), stack.width)
        )
        self.cls_token = None if video else nn.Parameter(torch.zeros(1, 1, stack.width))
        self.blocks = Blocks(stack, video)
        self.norm = nn.LayerNorm(stack.width, eps=LAYER_NORM_EPSILON)
        self.positions = Constant(lambda: position_table(self.grid, stack.width, order))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew."""
        init_weights(self)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def embed(
        self,
        patches: Float[Tensor, "batch places values"],
        kept: Int[Tensor, "batch kept"] | None = None,
        positions: bool = True,
    ) -> Float[Tensor, "batch kept width"]:
        """Tokens before the first block.

        Args:
            patches: patches of whole signals, which may have fewer places than the grid: the first ones.
            kept: places to embed; None embeds all.
            positions: whether they are added.
        """
        places = self.positions.on(patches.device, home(self).dtype)[: patches.shape[1]].expand(len(patches), -1, -1)
        if kept is not None:
            patches, places = gather(patches, kept), gather(places, kept)
        tokens: Tensor = self.embedding(patches)
        return tokens + places if positions else tokens

    def forward(
        self,
        patches: Float[Tensor, "batch places values"],
        kept: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch kept width"]:
        """Vectors of the patches.

        Args:
            patches: patches of whole signals.
            kept: places that the encoder sees; None shows all.
            real: False where a place lies behind the end of its signal: nobody looks there. All must be real in video.
        """
        tokens = self.embed(patches, kept)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
            if real is not None:
                real = torch.cat([torch.ones_like(real[:, :1]), real], dim=1)
        tokens = self.norm(self.blocks(tokens, real))
        return tokens if self.cls_token is None else tokens[:, 1:]
