"""The predictor (the paper's main decoder) and the estimator: what the two kinds of phases train beside encoder and tokenizer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.models.bridle.masking import Mask
from vqkit.models.bridle.patches import gather
from vqkit.models.bridle.positions import position_table
from vqkit.models.bridle.stack import LAYER_NORM_EPSILON, Blocks, Stack, init_weights
from vqkit.models.bridle.windows import Windows
from vqkit.types import Float

__all__ = ["Estimator", "Predictor"]


class Predictor(nn.Module):
    """Vectors of the places that the encoder saw → a distribution over every codebook at the places that it did not see.

    Args:
        stack: sizes of the blocks.
        width: width of the encoder's vectors.
        grid: number of patches along each coordinate.
        code_sizes: alphabet of each code.
        video: blocks and positions of VideoMAE.
        windows: height and width of windows within which the blocks attend; None attends everywhere.

    Raises:
        ValueError: windows that do not fill the grid.

    References:
        BRIDLE, section 3.1 and appendix C: M independent softmax heads.
    """

    def __init__(
        self,
        stack: Stack,
        width: int,
        grid: Sequence[int],
        code_sizes: Sequence[int],
        *,
        video: bool,
        windows: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shape = None if windows is None else Windows((windows[0], windows[1]))
        if shape is not None:
            shape.check(tuple(grid))
        self.code_sizes = tuple(code_sizes)
        self.input = nn.Linear(width, stack.width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, stack.width))
        self.blocks = Blocks(stack, video, shape)
        self.norm = nn.LayerNorm(stack.width, eps=LAYER_NORM_EPSILON)
        self.heads = nn.Linear(stack.width, sum(self.code_sizes))
        self.positions = Constant(lambda: position_table(grid, stack.width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew."""
        init_weights(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, seen: Float[Tensor, "batch kept width"], mask: Mask, grid: tuple[int, ...]
    ) -> Float[Tensor, "batch hidden inner"]:
        """Vectors of the hidden places, for `logits` or another head.

        Args:
            seen: the encoder's vectors of ``mask.kept``.
            mask: the places.
            grid: grid of the signals; its places are those of ``mask``.
        """
        places = mask.kept.shape[1] + mask.hidden.shape[1]
        tokens = self.mask_token.expand(len(seen), places, -1)
        index = mask.kept[..., None].expand(-1, -1, tokens.shape[-1])
        own = self.input(seen)
        tokens = tokens.to(own.dtype).scatter(1, index, own)
        tokens = tokens + self.positions.on(seen.device, self.input.weight.dtype)[:places]
        return self.norm(gather(self.blocks(tokens, grid=grid), mask.hidden))

    def logits(self, vectors: Float[Tensor, "batch hidden inner"]) -> tuple[Tensor, ...]:
        """Logits of each codebook, (batch, hidden, codes), in float32."""
        return self.heads(vectors).float().split(list(self.code_sizes), dim=-1)


class Estimator(nn.Module):
    """Codes of all places → the vectors that the teacher, a frozen encoder, has there.

    Args:
        stack: sizes of the blocks.
        code_dim: length of a code.
        width: width of the teacher's vectors.
        grid: number of patches along each coordinate.
        video: blocks and positions of VideoMAE.

    References:
        BRIDLE, equation 6 and appendix C.
    """

    def __init__(self, stack: Stack, code_dim: int, width: int, grid: Sequence[int], *, video: bool) -> None:
        super().__init__()
        self.input = nn.Linear(code_dim, stack.width)
        self.blocks = Blocks(stack, video)
        self.norm = nn.LayerNorm(stack.width, eps=LAYER_NORM_EPSILON)
        self.output = nn.Linear(stack.width, width)
        self.positions = Constant(lambda: position_table(grid, stack.width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew."""
        init_weights(self)

    def forward(self, codes: Float[Tensor, "batch places dim"]) -> Float[Tensor, "batch places width"]:
        """Estimates of the teacher's vectors."""
        places = self.positions.on(codes.device, self.input.weight.dtype)[: codes.shape[1]]
        tokens = self.input(codes) + places
        estimate: Tensor = self.output(self.norm(self.blocks(tokens)))
        return estimate
