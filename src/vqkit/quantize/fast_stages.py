"""Which fast path the stages of a residual quantizer can take: plain tables (`StageTables`), signs (`StageSigns`), or none."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.memo import Memo
from vqkit.quantize.search import takes_fast_paths
from vqkit.quantize.signs import StageSigns
from vqkit.quantize.tables import StageTables
from vqkit.types import Float, Int

__all__ = ["FastStages", "Ready", "decoded", "fast_stages", "waits"]

FastStages = tuple[StageTables | None, StageSigns | None]
Ready = Memo[FastStages]


def fast_stages(stages: Sequence[Quantizer], like: Tensor, training: bool, kept: Ready) -> FastStages:
    """The stages as plain tables and as signs, where they are that.

    Args:
        stages: in the order of their codes.
        like: what will be searched or decoded.
        training: tables move, so nothing is kept.
        kept: what the last call found.
    """
    if training:
        kept.clear()
    pieces = [stage._piece_tables() for stage in stages] if takes_fast_paths(like) else [None]
    found = [tables for tables in pieces if tables is not None]
    if len(found) < len(pieces):
        return None, None

    def ready() -> FastStages:
        sizes = [[len(table) for table in stage] for stage in found]
        floats = [[table.detach().float() for table in stage] for stage in found]
        signs = StageSigns(floats) if StageSigns.fit(sizes) else None
        if StageTables.fit(sizes, stages[0].dim) and not (training and signs):
            return StageTables(floats), signs
        return None, signs

    return ready() if training else kept.of([table for stage in found for table in stage], ready)


def decoded(
    stages: Sequence[Quantizer], codes: Int[Tensor, "*shape codes"], count: int, training: bool, kept: Ready
) -> Float[Tensor, "*shape dim"] | None:
    """Vectors of the codes of the first ``count`` stages from plain tables; None where they, or gradients, need the plain way."""
    if training or torch.is_grad_enabled():
        return None
    tables, _ = fast_stages(stages, codes, training, kept)
    found = None if tables is None else tables.decode(codes.reshape(-1, codes.shape[-1]), count)
    return None if found is None else found.view(*codes.shape[:-1], found.shape[-1])


def waits(module: nn.Module) -> bool:
    """Whether a codebook in it waits for its first batch."""
    return any(isinstance(part, Codebook) and part.waits() for part in module.modules())
