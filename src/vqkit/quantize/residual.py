"""Residual quantization: each stage quantizes what the stages before it left."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.beam import best_prefixes, cheapest_prefix, cut_to_stages
from vqkit.quantize.checks import positive, share
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.losses import rank_weight
from vqkit.quantize.memo import Memo
from vqkit.quantize.search import takes_fast_paths
from vqkit.quantize.signs import StageSigns
from vqkit.quantize.straight_through import straight_through
from vqkit.quantize.tables import StageTables
from vqkit.ranks import num_ranks

__all__ = ["Residual"]

_MAX_BEAM = 1024  # a saved config may name any number, and a search needs beam² scores a vector


class Residual(Quantizer):
    """z_q = Σ q_i(r_{i−1}), r_0 = z, r_i = r_{i−1} − q_i(r_{i−1}).

    Loss terms are means over stages, so their weight does not grow with the number of stages.

    Gradient: where every stage passes the gradient unchanged, so does the sum, once (not once a stage), and the losses of later stages
    reach the encoder. Otherwise (FSQ, projections) the chain rule runs through the residuals.

    Args:
        stages: quantizers of one dim, different objects.
        stage_dropout: in training, the share of batch elements that keep only a random number (1 … all) of the first stages; then the
            first stages alone decode well. Dropped stages have code −1.
        beam: sets of codes that the search keeps from stage to stage, in training as in `encode`; 1 is the greedy search. The codes
            decode as ever, so that a trained quantizer may be searched with another beam.

    Raises:
        ValueError: no stages, different dims, one object given twice, or a beam through stages that offer only their nearest code.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> q = Residual([VQ(8, 16), VQ(8, 16)]).eval()
        >>> codes = q.encode(torch.randn(1, 5, 8))
        >>> codes.shape, q.decode(codes, stages=1).shape
        (torch.Size([1, 5, 2]), torch.Size([1, 5, 8]))

    References:
        Chen et al., "Approximate nearest neighbor search by residual vector quantization" (2010); Zeghidour et al.,
        "SoundStream" (2021), arXiv:2107.03312 (dropout); IVQ eq. 6; for the beam see `vqkit.quantize.beam`.
    """

    def __init__(self, stages: Sequence[Quantizer], *, stage_dropout: float = 0.0, beam: int = 1) -> None:
        super().__init__()
        if len({id(stage) for stage in stages}) != len(stages) or not stages:
            raise ValueError(
                f"stages must be different quantizers, at least one; got {len(stages)}, some of them the same object"
            )
        dims = [stage.dim for stage in stages]
        if len(set(dims)) != 1:
            raise ValueError(f"stages must have one dim, got {dims}")
        self.dim = dims[0]
        self.stages = cast("Sequence[Quantizer]", nn.ModuleList(stages))
        self.stage_dropout = share("stage_dropout", stage_dropout)
        self.beam = positive("beam", beam)
        if beam > _MAX_BEAM:
            raise ValueError(f"beam must be at most {_MAX_BEAM}, got {beam}")
        if beam > 1 and all(stage.max_candidates == 1 for stage in stages):
            kinds = ", ".join(sorted({type(stage).__name__ for stage in stages}))
            raise ValueError(f"beam={beam} needs stages that offer several codes for a vector, as VQ does; got {kinds}")
        self.straight_through = all(stage.straight_through for stage in stages)
        self.needs_grid = any(stage.needs_grid for stage in stages)
        self._ready: Memo[tuple[StageTables | None, StageSigns | None]] = Memo()

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of all stages, concatenated."""
        return tuple(size for stage in self.stages for size in stage.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each part of all stages, concatenated."""
        return tuple(count for stage in self.stages for count in stage.codes_per_stage)

    @property
    def codebook_numel(self) -> int:
        """Sum over the stages."""
        return sum(stage.codebook_numel for stage in self.stages)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the first stage's codebook."""
        return self.stages[0].dtype

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        kept = self._kept_stages(x)
        residual, total = x, torch.zeros_like(x)
        weights = None if kept is None or num_ranks() == 1 else self._stage_weights(kept, mask, x)
        chosen = self._chosen(x, mask, kept)
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for index, stage in enumerate(self.stages):
            real = mask if kept is None else _narrowed(mask, kept > index, x)
            part = residual if real is mask else _zeroed(residual, real)
            if chosen is None:
                z_q, stage_codes, losses = stage._quantize(part, real)
            else:
                z_q, stage_codes, losses = stage._quantize_to(part, real, chosen[index])
            residual = residual - (z_q.detach() if self.straight_through else z_q)
            total = total + z_q
            codes.append(stage_codes)
            for name, value in losses.items():
                value = value if weights is None else value * weights[index]
                terms[name] = terms.get(name, 0) + value / len(self.stages)
        if self.straight_through:
            total = straight_through(x if mask is None else _zeroed(x, mask), total)
        return total, torch.cat(codes, dim=-1), terms

    def _chosen(self, x: Tensor, mask: Tensor | None, kept: Tensor | None) -> Sequence[Tensor] | None:
        """Codes of each stage, by beam search or from plain tables; None where the stages search for themselves, one after the other."""
        if self.beam == 1:
            tables, signs = self._tables(x)
            fast = signs or tables
            if fast is None or (self.training and self._waits()):
                return None
            codes = fast.search(x.detach().reshape(-1, self.dim))
            return self._by_stage(codes.view(*x.shape[:-1], codes.shape[-1]))
        if self.training and not torch.compiler.is_compiling():
            self._start(x.detach(), mask, kept)
        with torch.no_grad():
            prefixes, _ = best_prefixes(self.stages, x.detach().reshape(-1, self.dim), self.beam)
            if kept is None:
                codes = prefixes[-1]
            else:
                number = kept.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[:-1])
                codes = cut_to_stages(prefixes, number.reshape(-1))
        return self._by_stage(codes.reshape(*x.shape[:-1], codes.shape[-1]))

    def _by_stage(self, codes: Tensor) -> Sequence[Tensor]:
        return codes.split([sum(stage.codes_per_stage) for stage in self.stages], dim=-1)

    def _waits(self) -> bool:
        """Whether a codebook waits for its first batch."""
        return any(isinstance(module, Codebook) and module.waits() for module in self.modules())

    def _tables(self, x: Tensor) -> tuple[StageTables | None, StageSigns | None]:
        """The stages as plain tables and as signs, where they are that; kept in evaluation, when nothing moves them."""
        if self.training:
            self._ready.clear()
        pieces = [stage._piece_tables() for stage in self.stages] if takes_fast_paths(x) else [None]
        found = [tables for tables in pieces if tables is not None]
        if len(found) < len(pieces):
            return None, None
        tables = [table for stage in found for table in stage]

        def ready() -> tuple[StageTables | None, StageSigns | None]:
            sizes = [[len(table) for table in stage] for stage in found]
            floats = [[table.detach().float() for table in stage] for stage in found]
            signs = StageSigns(floats) if StageSigns.fit(sizes) else None
            if StageTables.fit(sizes, self.dim) and not (self.training and signs):
                return StageTables(floats), signs
            return None, signs

        return ready() if self.training else self._ready.of(tables, ready)

    def _start(self, x: Tensor, mask: Tensor | None, kept: Tensor | None = None) -> None:
        """Start the codebooks that wait, each from what the stages before it leave; without a start a beam has nothing to search."""
        if self._waits():
            for index, stage in enumerate(self.stages):
                real = mask if kept is None else _narrowed(mask, kept > index, x)
                stage._start(_zeroed(x, real), real)
                x = x - stage._decode(stage._encode(x, real), stage.num_stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float) -> Tensor:
        if self.needs_grid:
            raise ValueError(
                "rate_weight chooses stages for single vectors, which a stage that looks at neighbours is not"
            )
        prefixes, errors = best_prefixes(self.stages, x.reshape(-1, self.dim), self.beam)
        last = [end - 1 for end in accumulate(stage.num_stages for stage in self.stages)]
        codes = cut_to_stages(prefixes, cheapest_prefix(errors, [self.stage_bits[i] for i in last], rate_weight))
        codes = codes.reshape(*x.shape[:-1], codes.shape[-1])
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        chosen = self._chosen(x, mask, None)
        if chosen is not None:
            found = torch.cat(list(chosen), dim=-1)
            return found if mask is None else torch.where(mask[..., None], found, -1)
        return self._encode_plain(x, mask)

    def _encode_plain(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The plain twin: every stage searches what the stages before it left."""
        codes = []
        for stage in self.stages:
            codes.append(stage._encode(x, mask))
            x = x - stage._decode(codes[-1], stage.num_stages)
        return torch.cat(codes, dim=-1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        if not (self.training or torch.is_grad_enabled()) and takes_fast_paths(codes):
            tables, _ = self._tables(codes)
            found = None if tables is None else tables.decode(codes.reshape(-1, codes.shape[-1]), stages)
            if found is not None:
                return found.view(*codes.shape[:-1], self.dim)
        return self._decode_plain(codes, stages)

    def _decode_plain(self, codes: Tensor, stages: int) -> Tensor:
        """The plain twin: one look-up a stage, and their sum."""
        total = torch.zeros(*codes.shape[:-1], self.dim, device=codes.device)
        for stage in self.stages:
            if stages > 0:
                use = min(stages, stage.num_stages)
                own, codes = codes.tensor_split([(0, *stage.stage_ends)[use]], dim=-1)
                total = total + stage._decode(own, use)
                stages -= use
        return total

    def _fit(self, x: Tensor, iterations: int) -> None:
        for stage in self.stages:
            stage._fit(x, iterations)
            x = x - stage._decode(stage._encode(x, None), stage.num_stages)

    @property
    def _fits_fields(self) -> bool:
        return self.needs_grid

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        for stage in self.stages:
            stage.fit(fields, **options)
            fields = [x - stage._decode(stage._encode(x, None), stage.num_stages) for x in fields]

    def _kept_stages(self, x: Tensor) -> Tensor | None:
        """Stages each batch element keeps, or None when all keep all."""
        if not self.training or self.stage_dropout == 0 or len(self.stages) == 1:
            return None
        number = torch.randint(1, len(self.stages) + 1, (x.shape[0],), device=x.device)
        return torch.where(torch.rand(x.shape[0], device=x.device) < self.stage_dropout, number, len(self.stages))

    def _stage_weights(self, kept: Tensor, mask: Tensor | None, x: Tensor) -> Tensor:
        """Weight of each stage's losses on this rank: its share of the vectors that a stage sees, over its share of all vectors."""
        seen = [_narrowed(mask, kept > index, x).sum() for index in range(-1, len(self.stages))]
        weights = rank_weight(torch.stack(seen))
        return weights[1:] / weights[0].clamp_min(1e-12)


def _narrowed(mask: Tensor | None, elements: Tensor, x: Tensor) -> Tensor:
    """The mask, without the batch elements that dropped this stage."""
    keep = elements.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[:-1])
    return keep if mask is None else mask & keep


def _zeroed(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else torch.where(mask[..., None], x, 0.0)
