"""Parallel quantizers of one vector whose outputs add."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.projection import Projection
from vqkit.types import Bool, Float, Quantized

__all__ = ["Sum"]


class Sum(Quantizer):
    """z_q = Σ W_i' q_i(W_i z + b_i) + b_i': every branch sees z itself, through linear maps of its own, and none what another one leaves.

    What a branch is trained on: its codebooks learn its own projection of z, and its losses are about that; maps in and out learn from the
    task's loss on the sum. A loss on one branch alone, such as the distance of Mimi's semantic codebook from a teacher, is added by
    whoever trains: `each` gives the branches' outputs instead of their sum.

    Codes and stages come branch after branch, so that the first branch decodes alone.

    Args:
        dim: length of the vectors.
        branches: quantizers of any dims, different objects.

    Raises:
        ValueError: fewer than two branches, one object given twice, or branches that look at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import RVQ, VQ
        >>> q = Sum(64, [VQ(8, 256), RVQ(8, 256, 3)])
        >>> z, teacher = torch.randn(2, 50, 64), torch.randn(2, 50, 64)
        >>> semantic, acoustic = q.each(z)
        >>> z_q, loss = semantic.z_q + acoustic.z_q, semantic.loss + acoustic.loss
        >>> loss = loss + 1 - torch.nn.functional.cosine_similarity(semantic.z_q, teacher, dim=-1).mean()
        >>> q.codes_per_stage, q.decode(semantic.codes).shape
        ((1, 1, 1, 1), torch.Size([2, 50, 64]))

    References:
        Défossez et al., "Moshi: a speech-text foundation model for real-time dialogue" (2024), arXiv:2410.00037, section 3.3.2 (Mimi's
        split quantizer).
    """

    def __init__(self, dim: int, branches: Sequence[Quantizer]) -> None:
        super().__init__()
        self.dim = positive("dim", dim)
        if len(branches) < 2 or len({id(branch) for branch in branches}) != len(branches):
            raise ValueError(f"branches must be different quantizers, at least two; got {len(branches)}")
        if any(branch.needs_grid for branch in branches):
            raise ValueError("Sum maps single vectors: put Interpolated around the Sum")
        self.branches = cast("Sequence[Quantizer]", nn.ModuleList(branches))
        # with maps even where dims are equal: two quantizers that each approximate z would add up to 2z
        maps = [Projection(dim, branch.dim, always=True) for branch in branches]
        self.projections = cast("Sequence[Projection]", nn.ModuleList(maps))
        self.straight_through = False

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of all branches, one after the other."""
        return tuple(size for branch in self.branches for size in branch.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of all branches, one after the other."""
        return tuple(count for branch in self.branches for count in branch.codes_per_stage)

    @property
    def codebook_numel(self) -> int:
        """Sum over the branches."""
        return sum(branch.codebook_numel for branch in self.branches)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the maps."""
        return self.projections[0].dtype

    def each(self, z: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None = None) -> tuple[Quantized, ...]:
        """What `forward` gives, branch by branch: their z_q and losses add up to its own. It learns as `forward` does, so call only one.

        Args:
            z: vectors, as in `forward`.
            mask: (batch, *spatial) of bool, True = real.
        """
        return tuple(self._run(z, mask, lambda x: self._branch_steps(x, mask)))

    def _branch_steps(self, x: Tensor, mask: Tensor | None) -> list[Step]:
        steps: list[Step] = []
        for branch, maps in zip(self.branches, self.projections, strict=True):
            y = maps.into(x)
            if mask is not None:  # the bias moves what was zero
                y = torch.where(mask[..., None], y, 0.0)
            y_q, codes, losses = branch._quantize(y, mask)
            shares = {name: value / len(self.branches) for name, value in losses.items()}
            steps.append((_outward(maps, y_q, codes), codes, shares))
        return steps

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        total = torch.zeros_like(x)
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for z_q, own, losses in self._branch_steps(x, mask):
            total = total + z_q
            codes.append(own)
            for name, value in losses.items():
                terms[name] = terms.get(name, 0) + value
        return total, torch.cat(codes, dim=-1), terms

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        pairs = zip(self.branches, self.projections, strict=True)
        return torch.cat([branch._encode(maps.into(x), mask) for branch, maps in pairs], dim=-1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        total = torch.zeros(*codes.shape[:-1], self.dim, dtype=torch.float32, device=codes.device)
        for branch, maps in zip(self.branches, self.projections, strict=True):
            if stages > 0:
                use = min(stages, branch.num_stages)
                own, codes = codes.tensor_split([branch.stage_ends[use - 1]], dim=-1)
                total = total + _outward(maps, branch._decode(own, use), own)
                stages -= use
        return total

    def _fit(self, x: Tensor, iterations: int) -> None:
        """Each branch gets the components in which the branches before it left most; maps out by least squares of all together."""
        left, outputs = x, [torch.ones_like(x[:, :1])]
        for branch, maps in zip(self.branches, self.projections, strict=True):
            maps.fit_inward(x, None, directions_of=left)
            y = maps.into(x)
            branch._fit(y, iterations)
            outputs.append(branch._decode(branch._encode(y, None), branch.num_stages))
            design = torch.cat(outputs, dim=1).double()
            gram = design.T @ design
            ridge = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=x.device)
            solution = torch.linalg.solve(gram + ridge, design.T @ x.double())
            left = x - (design @ solution).float()
        constant, *parts = solution.float().split([1, *(branch.dim for branch in self.branches)])
        for index, (maps, part) in enumerate(zip(self.projections, parts, strict=True)):
            maps.set_outward(part, constant[0] if index == 0 else torch.zeros_like(constant[0]))


def _outward(maps: Projection, y: Tensor, codes: Tensor) -> Tensor:
    return torch.where((codes >= 0).any(dim=-1, keepdim=True), maps.out_of(y), 0.0)
