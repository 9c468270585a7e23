"""The training forward of `vqkit.quantize.residual_step` in one compiled pass: its plain twin is the loop over stages there.

For every vector, stage after stage: what the stage sees goes to the sums of its codes, the code to the output, what is left to the losses
and their gradients. All of it stays in the nearest cache, where the plain twin writes and reads every intermediate.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vqkit.quantize import native
from vqkit.quantize.joint import JointBatch, split_count
from vqkit.quantize.leaves import Leaf, keeps_vectors
from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float, Int

__all__ = ["NativeStep", "native_step"]


class NativeStep(NamedTuple):
    """What the pass finds.

    Attributes:
        total: Σ of the codes' vectors, (…, dim).
        squares: for each stage Σ ‖what it leaves‖².
        pull: Σ of what the stages leave, each times its factor; None where it was not wanted.
        slopes: for each stage and codebook Σ of what was left by the vectors with each code; None where it was not wanted.
    """

    total: Float[Tensor, "*shape dim"]
    squares: Float[Tensor, " stages"]
    pull: Float[Tensor, "*shape dim"] | None
    slopes: list[list[Tensor | None]]


def native_step(
    stages: Sequence[Sequence[Leaf]],
    x: Float[Tensor, "*shape dim"],
    codes: Sequence[Int[Tensor, "*shape codes"]] | None,
    pulls: Sequence[float],
    slopes: Sequence[bool],
) -> NativeStep | None:
    """Output, losses and gradients of the stages; their codebooks learn. None where the plain way has to do it.

    Args:
        stages: codebooks of every stage.
        x: what the first stage sees; no vector is masked.
        codes: chosen codes of each stage.
        pulls: factor of what each stage leaves in ``pull``; zeros where it is not wanted.
        slopes: for each stage whether the gradient of its codebooks is wanted.
    """
    if codes is None or not takes_fast_paths(x) or not native.serves(x, torch.float32) or not _fit(stages):
        return None
    x, chosen = x.contiguous(), torch.cat(list(codes), dim=-1)
    total, squares = torch.empty_like(x), x.new_zeros(len(stages), dtype=torch.float64)
    pull = torch.empty_like(x) if any(pulls) else None
    layout, widths, kept = array("q"), array("q"), array("q")
    learning: list[_Learning] = []
    column = 0
    found: list[list[Tensor | None]] = []
    for index, (stage, sloped) in enumerate(zip(stages, slopes, strict=True)):
        seen = None
        if any(keeps_vectors(leaf.quantizer) for leaf in stage):
            seen = x if index == 0 else torch.empty_like(x)
        begin = 0
        for leaf in stage:
            book, width = leaf.quantizer.codebook, leaf.quantizer.dim
            clusters, counts, slope = (
                x.new_zeros(book.num_codes, 2 + width),
                x.new_zeros(book.num_codes, dtype=torch.long),
                None,
            )
            if sloped and book.weight.requires_grad and not book._frozen:
                slope = x.new_zeros(book.weight.shape)
            if leaf.quantizer.learns_in_forward:
                own = chosen[..., column : column + leaf.repeats]
                learning.append(_Learning(leaf, begin, clusters, counts, seen, own))
                sums = clusters[:, 2:].data_ptr()
            else:
                sums = 0
            piece = (width, book.weight.data_ptr(), sums, 2 + width, counts.data_ptr(), _address(slope))
            layout.extend(piece * leaf.repeats)
            found.append([slope]) if begin == 0 else found[-1].append(slope)
            begin += width * leaf.repeats
            column += leaf.repeats
        widths.append(sum(leaf.repeats for leaf in stage))
        kept.append(0 if seen is x else _address(seen))
    layout.extend(widths + kept)
    factors = array("f", pulls)
    native.call(
        "vqkit_step", x.data_ptr(), x[..., 0].numel(), x.shape[-1], layout.buffer_info()[0], chosen.shape[-1], len(stages),
        chosen.data_ptr(), factors.buffer_info()[0], total.data_ptr(), _address(pull), squares.data_ptr(),
    )  # fmt: skip
    for part in learning:
        part.learn(x)
    return NativeStep(total, squares.float(), pull, found)


class _Learning(NamedTuple):
    """What one codebook of a stage learns from."""

    leaf: Leaf
    begin: int  # of its pieces in the vector
    clusters: Tensor  # as `packed_clusters` gives them, the counts still missing
    counts: Tensor
    seen: Tensor | None  # what its stage saw, where some of it may become codes
    codes: Tensor  # of its pieces

    def learn(self, x: Tensor) -> None:
        quantizer, end = self.leaf.quantizer, self.begin + self.leaf.quantizer.dim * self.leaf.repeats
        self.clusters[:, :2] = split_count(self.counts)
        seen = x if self.seen is None else self.seen
        batch = JointBatch(seen[..., self.begin : end].reshape(-1, quantizer.dim))
        batch.codes = self.codes.reshape(-1)
        quantizer._learn_from(self.clusters, batch, len(x))


def _fit(stages: Sequence[Sequence[Leaf]]) -> bool:
    """Whether all tables lie in memory that the library can read, and none waits for a first batch."""
    books = [leaf.quantizer.codebook for stage in stages for leaf in stage]
    return not any(book._shard is not None or book.waits() for book in books) and all(
        native.serves(book.weight, torch.float32) and book.weight.is_contiguous() for book in books
    )


def _address(value: Tensor | None) -> int:
    return 0 if value is None else value.data_ptr()
