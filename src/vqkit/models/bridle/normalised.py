"""A quantizer of directions: the vector is scaled to length 1 before the search."""

from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import RVQ, VQ, Quantizer, Residual
from vqkit.quantize.base import Step
from vqkit.quantize.straight_through import straight_through
from vqkit.quantize.wrapper import Wrapper

__all__ = ["Normalised", "each_stage_normalised"]


class Normalised(Wrapper):
    """z_q = q(z / ‖z‖): what comes out is a code for a direction, and no longer has z's length.

    Around the whole of a residual quantizer it is BRIDLE's "normalisation of input embeddings"; around every stage,
    ``Residual([Normalised(VQ(…)), …])``, it is what BRIDLE's published code does: every stage searches for the direction of what is left,
    and the code is subtracted from what is left as it is. Long vectors then lose little by a stage.

    Args:
        quantizer: what quantizes the directions.
        through: pass the gradient to z unchanged, as the published code does, rather than through the scaling.

    Example:
        >>> import torch
        >>> quantizer = Normalised(VQ(4, 8)).eval()
        >>> z = torch.randn(2, 3, 4)
        >>> torch.equal(quantizer.encode(z), quantizer.encode(5 * z))
        True

    References:
        BRIDLE, section 5, "Best practices for codebook training", 3.
    """

    def __init__(self, quantizer: Quantizer, *, through: bool = False) -> None:
        super().__init__(quantizer, quantizer.dim)
        self.through = self.straight_through = through

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        z_q, codes, losses = self.quantizer._quantize(F.normalize(x, dim=-1), mask)
        return (straight_through(x, z_q.detach()) if self.through else z_q), codes, losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.quantizer._encode(F.normalize(x, dim=-1), mask)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self.quantizer._decode(codes, stages)

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.quantizer._fit(F.normalize(x, dim=-1), iterations)

    def _fit_rows(self, x: Tensor) -> Tensor:
        return self.quantizer._fit_rows(F.normalize(x, dim=-1))

    @property
    def _fits_fields(self) -> bool:
        return self.quantizer._fits_fields

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        self.quantizer._fit_fields([F.normalize(field, dim=-1) for field in fields], **options)


def each_stage_normalised(quantizer: Quantizer) -> Quantizer:
    """The published reading of a VQ or RVQ: every stage searches for the direction of what is left.

    Raises:
        ValueError: another quantizer, of which it is not known what its stages are.
    """
    if isinstance(quantizer, RVQ):
        residual = cast(Residual, quantizer.quantizer)
        stages = [Normalised(stage, through=True) for stage in residual.stages]
        return Residual(stages, stage_dropout=residual.stage_dropout, repeats=residual.repeats)
    if isinstance(quantizer, VQ):
        return Normalised(quantizer, through=True)
    raise ValueError(
        f"normalise='each-stage' is for VQ and RVQ, got {type(quantizer).__name__}; write Residual([Normalised(…), …]) and 'none'"
    )
