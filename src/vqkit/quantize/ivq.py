"""IVQ: tiny structured codebooks by binary hierarchical composition."""

from collections.abc import Sequence
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from vqkit.quantize import hexagrams
from vqkit.quantize.base import Step
from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.product import Product
from vqkit.quantize.residual import Residual
from vqkit.quantize.structure import hierarchy_loss, related_indices, relation_losses
from vqkit.quantize.system import System
from vqkit.quantize.vq import VQ
from vqkit.quantize.vq_options import CodebookOptions
from vqkit.types import Float, Int

__all__ = ["IVQ"]

_COMPOSED = 256  # hexagrams whose composed codes a step compares; all of them up to 8 lines
_STAGES = 4  # of the yin-yang variant


class IVQ(System):
    """Residual stages of product quantizers; every stage composes 2^lines codes from a small shared codebook.

    A stage of k pieces has 2^(lines/k) codes of length dim/k. ``"bottom-up"`` goes from one code a line to one code a hexagram,
    ``"top-down"`` the other way, ``"yin-yang"`` has four stages of one code a line: 8 codes and < 2·dim floats in all.

    The paper's two losses on the composed codebooks give every code a gradient at every step. They are off by default, since they made
    every comparison here worse or no better (docs/results/table1-music); `paper` has them, at a strength at which they act.

    Args:
        dim: length of the vectors, a multiple of ``lines``.
        variant: ``"yin-yang"``, ``"bottom-up"`` or ``"top-down"``.
        lines: L = 4, 6 or 12; lines bits a stage.
        pieces: pieces of each stage, divisors of ``lines``, instead of the variant's.
        shared: one codebook for all pieces of a stage; False is the paper's "non-share".
        hierarchy_weight: weight of eq. 9.
        structure_weight: weight of eqs 10–12, one number or three (zong, cuo, cuozong).
        contrast: ``"infonce"``, or ``"paper"`` for eq. 9 as printed (unbounded).
        flip: ``"lines"`` or ``"elements"``, what zong reverses in a vector.
        beta: β of eq. 5: β·‖z − sg e‖² + (1 − β)·‖sg z − e‖².
        update: how codes learn: ``"ema"``, which leaves the two losses without effect, so both weights must then be 0, or ``"gradient"``.
            None takes ``"gradient"`` if a loss has a weight, and ``"ema"`` otherwise.
        options: further keyword arguments of `VQ`, but those of its two weights, which β sets.

    Raises:
        ValueError: ``dim`` is not a multiple of ``lines`` (it is never projected silently), or another argument out of range.

    Example:
        >>> import torch
        >>> q = IVQ(dim=120, variant="yin-yang")
        >>> out = q(torch.randn(2, 50, 120))
        >>> q.bits_per_vector, q.codebook_numel, out.codes.shape, q.hexagrams(out.codes).shape
        (24.0, 160, torch.Size([2, 50, 24]), torch.Size([2, 50, 4]))

    References:
        IVQ, section 3.2, eqs 5, 8–12, algorithm 1.
    """

    options_of = VQ

    def __init__(
        self,
        dim: int,
        *,
        variant: str = "yin-yang",
        lines: int = 6,
        pieces: Sequence[int] | None = None,
        shared: bool = True,
        hierarchy_weight: float = 0.0,
        structure_weight: float | Sequence[float] = 0.0,
        contrast: str = "infonce",
        flip: str = "lines",
        beta: float = 0.25,
        update: str | None = None,
        **options: Unpack[CodebookOptions],
    ) -> None:
        if lines not in (4, 6, 12):
            raise ValueError(f"lines must be 4, 6 or 12, got {lines!r}")
        if positive("dim", dim) % lines:
            raise ValueError(f"dim must be a multiple of lines = {lines} (for 6 lines 96, 120, 192, …), got {dim}")
        counts = (
            _pieces(one_of("variant", variant, ("yin-yang", "bottom-up", "top-down")), lines)
            if pieces is None
            else pieces
        )
        if not counts or any(positive("pieces", count) > lines or lines % count for count in counts):
            raise ValueError(f"pieces must be divisors of lines = {lines}, got {list(counts)!r}")
        weights = (structure_weight,) * 3 if isinstance(structure_weight, (int, float)) else tuple(structure_weight)
        if len(weights) != 3:
            raise ValueError(
                f"structure_weight must be one number or three (zong, cuo, cuozong), got {structure_weight!r}"
            )
        if update is None:
            update = "gradient" if hierarchy_weight or any(weights) else "ema"
        if update == "ema" and (hierarchy_weight or any(weights)):
            raise ValueError(
                "update='ema' gives codes no gradient: set hierarchy_weight=0 and structure_weight=0, or use update='gradient'"
            )

        weighted = {"commitment_weight": beta, "codebook_weight": 1 - beta}
        for name in weighted.keys() & options.keys():
            raise TypeError(f"IVQ takes no {name}: beta sets both weights")

        def stage(count: int) -> Product:
            leaves = [
                VQ(dim // count, 1 << lines // count, update=update, **weighted, **options)
                for _ in range(1 if shared else count)
            ]
            return Product(leaves, repeats=count if shared else 1)

        super().__init__(Residual([stage(count) for count in counts]))
        self.lines, self.pieces = lines, tuple(counts)
        self.hierarchy_weight = hierarchy_weight
        self.structure_weights = dict(zip(("zong", "cuo", "cuozong"), weights, strict=True))
        self.contrast = one_of("contrast", contrast, ("infonce", "paper"))
        self.flip = one_of("flip", flip, ("lines", "elements"))
        self.temperature = 0.1

    @classmethod
    def paper(cls, dim: int, **options: Any) -> Self:
        """IVQ as the paper has it: both losses, at weight 0.1 each (it names none), codes that start near 0 and learn by gradient.

        Worth a try for ``"yin-yang"`` in a network that trains around it for long; on vectors that stay what they are, and for
        ``"top-down"``, the constructor's own settings have half the error (docs/results/defaults).

        Args:
            dim: length of the vectors, a multiple of the lines.
            options: further arguments of the constructor.
        """
        published = {"hierarchy_weight": 0.1, "structure_weight": 0.1, "init": "uniform", "revive": "none"}
        return cls(dim, **{**published, **options})

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        z_q, codes, losses = self.quantizer._quantize(x, mask)
        return z_q, codes, {**losses, **self.codebook_losses()}

    def codebook_losses(self) -> dict[str, Tensor]:
        """The weighted hierarchy and relation terms; those of weight 0 are left out."""
        losses: dict[str, Tensor] = {}
        chosen = {name: weight for name, weight in self.structure_weights.items() if weight}
        if not chosen and not self.hierarchy_weight:
            return losses
        index = torch.arange(1 << self.lines, device=next(self.buffers()).device)
        if len(index) > _COMPOSED:
            index = torch.randperm(len(index), device=index.device)[:_COMPOSED]
        composed = self._composed_stages(index)
        if self.hierarchy_weight:
            losses["hierarchy"] = self.hierarchy_weight * hierarchy_loss(composed, self.contrast, self.temperature)
        if chosen:
            related = {name: self._composed_stages(i) for name, i in related_indices(index, self.lines).items()}
            terms = relation_losses(composed, related, self.lines, self.flip, self.contrast, self.temperature)
            losses |= {name: weight * terms[name] for name, weight in chosen.items()}
        return losses

    def _composed_stages(self, index: Tensor) -> list[Tensor]:
        return [self.composed(stage, index) for stage in range(len(self.pieces))]

    def composed(self, stage: int, index: Int[Tensor, " hexagrams"]) -> Float[Tensor, "hexagrams dim"]:
        """The vectors of hexagrams in one stage: the codes of their pieces, concatenated. Differentiable in the codebook."""
        assert isinstance(self.quantizer, Residual)
        codes = hexagrams.digits(index, self.lines, self.pieces[stage])
        return self.quantizer.stages[stage]._decode(codes, 1)

    def hexagrams(self, codes: Int[Tensor, "*shape codes"]) -> Int[Tensor, "*shape stages"]:
        """Pack the codes of each stage into one index 0 … 2^lines − 1; −1 where masked.

        Example:
            >>> import torch
            >>> q = IVQ(dim=12, variant="bottom-up")
            >>> q.hexagrams(torch.tensor([[[1, 0, 0, 0, 0, 0, 2, 0, 0, 4, 0, 32]]]))
            tensor([[[32, 32, 32, 32]]])
        """
        codes, stages = self._checked_codes(codes, None)
        parts = codes.split(self.pieces[:stages], dim=-1)
        return torch.stack([hexagrams.from_digits(part, self.lines) for part in parts], dim=-1)

    def from_hexagrams(self, indices: Int[Tensor, "*shape stages"]) -> Int[Tensor, "*shape codes"]:
        """Unpack `hexagrams`, of this quantizer or of another with the same lines and stages: the bridge between modalities.

        Raises:
            TypeError: not integers.
            ValueError: more indices than stages, or one out of range.
        """
        if indices.is_floating_point():
            raise TypeError(f"hexagrams must be integers, got {indices.dtype}")
        if not 1 <= indices.shape[-1] <= len(self.pieces):
            raise ValueError(f"hexagrams must be (…, 1 to {len(self.pieces)} stages), got shape {tuple(indices.shape)}")
        if ((indices < -1) | (indices >= 1 << self.lines)).any():
            raise ValueError(
                f"hexagrams must be −1 (masked) or 0 … {(1 << self.lines) - 1}, got {indices.min()} … {indices.max()}"
            )
        parts = [
            torch.where(index[..., None] < 0, -1, hexagrams.digits(index.clamp_min(0).long(), self.lines, count))
            for index, count in zip(indices.unbind(dim=-1), self.pieces, strict=False)
        ]
        return torch.cat(parts, dim=-1)


def _pieces(variant: str, lines: int) -> tuple[int, ...]:
    """Pieces of each stage: the divisors of ``lines``, or four times one piece a line."""
    if variant == "yin-yang":
        return (lines,) * _STAGES
    divisors = tuple(count for count in range(lines, 0, -1) if lines % count == 0)
    return divisors if variant == "bottom-up" else divisors[::-1]
