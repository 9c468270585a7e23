"""The Triton kernel of `vqkit.quantize.fused`; to import this file is to import triton."""

from typing import Any

import triton  # type: ignore[import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, unused-ignore]

__all__ = ["residual_search"]


@triton.jit
def residual_search(
    x: Any,  # (vectors, dim)
    mean: Any,  # (dim,), of the first stage's codes
    codes: Any,  # (all codes, dim), relative to the mean of their stage
    bias: Any,  # (all codes,), −½‖e‖²
    steps: Any,  # (all codes, dim), what a code takes from the residual
    bounds: Any,  # (stages + 1,), where the codes of each stage begin
    found: Any,  # (vectors, stages), int64
    vectors: Any,
    dim: Any,
    stages: Any,
    BLOCK: tl.constexpr,  # vectors of a program
    TILE: tl.constexpr,  # codes at once
    WIDTH: tl.constexpr,  # dim, padded to a power of two
) -> None:
    """Codes of BLOCK vectors in all stages."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    inside = (row[:, None] < vectors) & (column[None, :] < dim)
    centre = tl.load(mean + column, mask=column < dim, other=0.0)
    residual = tl.load(x + row[:, None] * dim + column[None, :], mask=inside, other=0.0) - centre[None, :]
    for stage in range(stages):
        begin = tl.load(bounds + stage)
        end = tl.load(bounds + stage + 1)
        best = tl.full((BLOCK,), float("-inf"), tl.float32)
        chosen = tl.zeros((BLOCK,), tl.int32) + begin
        for first in range(begin, end, TILE):
            code = first + tl.arange(0, TILE)
            tile = tl.load(
                codes + code[None, :] * dim + column[:, None],
                mask=(code[None, :] < end) & (column[:, None] < dim),
                other=0.0,
            )
            constant = tl.load(bias + code, mask=code < end, other=float("-inf"))
            scores = tl.dot(residual, tile, input_precision="ieee") + constant[None, :]
            top = tl.max(scores, axis=1)
            place = first + tl.argmax(scores, axis=1, tie_break_left=True).to(tl.int32)
            chosen = tl.where(top > best, place, chosen)  # the first of equal scores stays
            best = tl.maximum(top, best)
        tl.store(found + row * stages + stage, (chosen - begin).to(tl.int64), mask=row < vectors)
        residual -= tl.load(steps + chosen[:, None].to(tl.int64) * dim + column[None, :], mask=inside, other=0.0)
