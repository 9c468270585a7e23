"""Transformer blocks of transformers (ViT's, or VideoMAE's for video), with a mask, windows and drop path."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import VideoMAEConfig, ViTConfig
from transformers.models.videomae.modeling_videomae import VideoMAELayer
from transformers.models.vit.modeling_vit import ViTLayer

from vqkit.models.bridle.windows import Windows
from vqkit.types import Bool, Float

__all__ = ["Blocks", "Stack", "init_weights"]

LAYER_NORM_EPSILON = 1e-6  # as in MAE, AudioMAE and BEATs


@dataclass(frozen=True)
class Stack:
    """Sizes of a stack of transformer blocks.

    Args:
        width: length of a token.
        depth: number of blocks.
        heads: number of attention heads.
        mlp_ratio: width of the hidden layer over ``width``.

    Raises:
        ValueError: a size below 1, or a width that the heads do not divide.
    """

    width: int
    depth: int
    heads: int
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width must be a multiple of 4 and of its {self.heads} heads, got {self.width}")

    def config(self, video: bool, **options: Any) -> Any:
        """The sizes as transformers names them; options are further fields of ViTConfig or VideoMAEConfig."""
        kind = VideoMAEConfig if video else ViTConfig
        config = kind(
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.width * self.mlp_ratio,
            layer_norm_eps=LAYER_NORM_EPSILON,
            **options,
        )
        config._attn_implementation = "sdpa"
        return config


class Blocks(nn.Module):
    """Pre-norm transformer blocks, one after the other.

    Args:
        stack: their sizes.
        video: blocks of VideoMAE, whose keys have no bias, rather than of ViT.
        windows: attend only within windows of the grid, shifted along time in every second block; None attends everywhere.

    Attributes:
        drop_path: in training, share of the items whose last block is skipped; it rises linearly from 0 at the first block.
    """

    drop_path: float = 0.0

    def __init__(self, stack: Stack, video: bool, windows: Windows | None = None) -> None:
        super().__init__()
        config, kind = stack.config(video), VideoMAELayer if video else ViTLayer
        self.layers = nn.ModuleList([kind(config) for _ in range(stack.depth)])
        self.video, self.windows = video, windows

    def forward(
        self,
        tokens: Float[Tensor, "batch length width"],
        real: Bool[Tensor, "batch length"] | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Run all blocks.

        Args:
            tokens: the tokens; with windows all those of a grid, in its order.
            real: False where nobody may look.
            grid: shape of the grid, for windows.
        """
        mask = None if real is None else real[:, None, None, :]
        for index, layer in enumerate(self.layers):
            if self.windows is not None and grid is not None:
                changed = self.windows(layer, tokens, grid, shifted=index % 2 == 1)
            elif mask is None or self.video:
                changed = layer(tokens)
            else:
                changed = layer(tokens, mask)
            tokens = self._skipped(tokens, changed, index)
        return tokens

    def _skipped(self, tokens: Tensor, changed: Tensor, index: int) -> Tensor:
        """The block's output; some items keep their input, and what the others gain is scaled so that the mean stays.

        Attention and MLP of a block are dropped together: transformers' blocks give only their joint output.

        References:
            Huang et al., "Deep networks with stochastic depth" (2016), arXiv:1603.09382.
        """
        rate = self.drop_path * index / max(1, len(self.layers) - 1)
        if not self.training or rate == 0:
            return changed
        kept = torch.rand(len(tokens), 1, 1, device=tokens.device) >= rate
        return tokens + (changed - tokens) * kept / (1 - rate)


@torch.no_grad()
def init_weights(module: nn.Module) -> None:
    """Start the layers of a module as MAE does: Xavier's uniform for linear layers, no bias, unit norms.

    References:
        He et al., "Masked autoencoders are scalable vision learners" (2022), arXiv:2111.06377, appendix A.1.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, (nn.LayerNorm, nn.GroupNorm, nn.Conv2d)):
            part.reset_parameters()
