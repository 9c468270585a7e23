"""How stages, and pieces, of plain codebooks are searched and decoded fast: by signs, by plain tables, or by the compiled library."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqkit.quantize import native
from vqkit.quantize.base import Quantizer
from vqkit.quantize.beam import best_prefixes
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.fused import FusedSearch
from vqkit.quantize.inputs import finite_vectors
from vqkit.quantize.memo import Memo, OfParts, can_be_watched
from vqkit.quantize.native_sums import summed_rows
from vqkit.quantize.search import search_table, takes_fast_paths, takes_fused_search
from vqkit.quantize.signs import StageSigns
from vqkit.quantize.tables import PieceTables, StageTables
from vqkit.types import Float, Int

__all__ = [
    "FastStages",
    "Ready",
    "beam_prefixes",
    "decoded",
    "fast_stages",
    "fused_codes",
    "joined",
    "native_search",
    "waits",
]


# of the compiled beam: it holds the scores of all codes for a block of vectors and the sets that are kept of each
_MOST_BEAM, _MOST_CODES, _MOST_KEPT = 64, 8192, 1 << 18


class FastStages:
    """Stages that take the nearest code of every piece and nothing else.

    Args:
        tables: for each stage the float32 tables of its pieces.
    """

    def __init__(self, tables: Sequence[Sequence[Float[Tensor, "codes dim"]]]) -> None:
        self._tables = tables
        sizes = [[len(table) for table in stage] for stage in tables]
        self._signs = StageSigns(tables) if StageSigns.fit(sizes) else None
        self._fit = StageTables.fit(sizes, sum(table.shape[1] for table in tables[0]))
        self._composed: StageTables | None = None
        self._native: native.NativeSearch | None = None
        self._first: dict[int, FastStages] = {}

    def first(self, count: int) -> "FastStages":
        """The first so many of the stages."""
        if count >= len(self._tables):
            return self
        found = self._first.get(count)
        if found is None:
            found = FastStages(self._tables[:count])
            self._first = {count: found}  # the next call will ask for as many
        return found

    def search(self, x: Float[Tensor, "vectors dim"], finite: bool = True) -> Int[Tensor, "vectors codes"] | None:
        """Codes of all stages, each the nearest to what the stages before it left; None where no fast way fits.

        Args:
            x: the vectors.
            finite: they were seen to be; otherwise NaN and Inf are refused where codes are returned.
        """
        if self._signs is None and native.NativeSearch.fit(x, self._tables):
            codes, seen_finite = self._compiled().search(x)
            if not (finite or seen_finite):
                finite_vectors(x)
            return codes
        if self._signs is None and not self._fit:
            return None
        x = x if finite else finite_vectors(x)
        return self._all_composed().search(x) if self._signs is None else self._signs.search(x)

    def beam(
        self, x: Float[Tensor, "vectors dim"], beam: int, every: bool
    ) -> tuple[list[Int[Tensor, "vectors codes"]], Float[Tensor, "vectors stages"]] | None:
        """`best_prefixes`, of all stages alone unless for every number of them; None where no fast way fits."""
        if beam > _MOST_BEAM or beam * x.shape[1] > _MOST_KEPT or not native.NativeSearch.fit(x, self._tables):
            return None
        if any(len(stage) > 1 or len(stage[0]) > _MOST_CODES for stage in self._tables):
            return None
        return self._compiled().beam(x, beam, every)

    def decode(self, codes: Int[Tensor, "vectors codes"], stages: int) -> Float[Tensor, "vectors dim"] | None:
        """Σ of the codes of the first stages, −1 counting as zeros; None where no fast way fits."""
        found = None if self._signs is None else self._signs.decode(codes, stages)
        return self._all_composed().decode(codes, stages) if found is None and self._fit else found

    def _compiled(self) -> native.NativeSearch:
        if self._native is None:
            self._native = native_search(self._tables)
        return self._native

    def _all_composed(self) -> StageTables:
        if self._composed is None:
            self._composed = StageTables(self._tables)
        return self._composed


class _Books(NamedTuple):
    stages: list[list[Codebook]]  # of each stage the codebooks of its pieces
    different: list[Codebook]  # each once


class Ready:
    """What is kept of a quantizer's stages, or pieces, from call to call: which codebooks they are, and these as tables."""

    def __init__(self) -> None:
        self.codebooks: OfParts[_Books | None] = OfParts()
        self.tables: Memo[FastStages] = Memo()
        self.pieces: Memo[PieceTables] = Memo()


def native_search(tables: Sequence[Sequence[Tensor]]) -> native.NativeSearch:
    """The search of `StageTables`, piece by piece: relative to the next stage's mean code, a code takes e − ē + ē' from the residual."""
    ready = [[search_table(table) for table in stage] for stage in tables]
    means = [torch.cat([table.mean for table in stage]) for stage in ready]
    steps = []
    for stage, mean, following in zip(tables, means, [*means[1:], torch.zeros_like(means[0])], strict=True):
        widths = [table.shape[1] for table in stage]
        own, shifts = mean.split(widths), following.split(widths)
        steps.append([table - mean + ahead for table, mean, ahead in zip(stage, own, shifts, strict=True)])
    return native.NativeSearch([[table.direction for table in stage] for stage in ready], steps, means[0])


def fast_stages(owner: nn.Module, stages: Sequence[Quantizer], like: Tensor, kept: Ready) -> FastStages | None:
    """The stages as tables, where they are that.

    Args:
        owner: the quantizer that holds the stages; in training tables move, and nothing is kept.
        stages: in the order of their codes.
        like: what will be searched or decoded.
        kept: what the last call found.
    """
    if owner.training:
        kept.tables.clear()
    if not takes_fast_paths(like):
        return None
    # codes may be assigned otherwise in training
    found = _all_codebooks(stages) if owner.training else kept.codebooks.of(owner, lambda: _all_codebooks(stages))
    if found is None:
        return None
    weights = [book.weight for book in found.different]
    if not all(weight.is_cpu for weight in weights):  # the plain way says what is wrong
        return None
    if owner.training:
        return FastStages(_float_tables(found))
    return kept.tables.of(weights, lambda: FastStages(_float_tables(found)))


def beam_prefixes(
    owner: nn.Module,
    stages: Sequence[Quantizer],
    count: int,
    x: Float[Tensor, "*shape dim"],
    beam: int,
    kept: Ready,
    every: bool,
) -> tuple[list[Int[Tensor, "vectors codes"]], Float[Tensor, "vectors stages"]]:
    """`best_prefixes` of the first ``count`` stages, compiled where that fits.

    Args:
        owner: the quantizer that holds the stages.
        stages: all of them, in the order of their codes.
        count: of how many.
        x: finite vectors.
        beam: sets of codes kept after each stage.
        kept: what the last call found.
        every: whether codes for every number of stages are needed; otherwise the list may have those of all stages alone.
    """
    x = x.detach().flatten(end_dim=-2)
    fast = fast_stages(owner, stages, x, kept) if takes_fast_paths(x) and native.serves(x, torch.float32) else None
    found = None if fast is None else fast.first(count).beam(x, beam, every)
    return best_prefixes(stages[:count], x, beam) if found is None else found


def fused_codes(stages: Sequence[Quantizer], x: Float[Tensor, "vectors dim"]) -> Int[Tensor, "vectors codes"] | None:
    """Codes by the kernel for CUDA; None where it does not fit."""
    found = _all_codebooks(stages) if takes_fused_search(x) else None
    if found is None or not FusedSearch.fit([[book.num_codes for book in stage] for stage in found.stages], x.shape[1]):
        return None
    return FusedSearch(_float_tables(found))(x)


def _all_codebooks(stages: Sequence[Quantizer]) -> _Books | None:
    found = []
    for stage in stages:
        books = stage._piece_codebooks()
        if books is None:
            return None
        found.append(books)
    return _Books(found, list({id(book): book for stage in found for book in stage}.values()))


def _float_tables(found: _Books) -> list[list[Tensor]]:
    tables = {id(book): book.weight.detach().float() for book in found.different}  # a shared one once
    return [[tables[id(book)] for book in stage] for stage in found.stages]


def decoded(
    owner: nn.Module, stages: Sequence[Quantizer], codes: Int[Tensor, "*shape codes"], count: int, kept: Ready
) -> Float[Tensor, "*shape dim"] | None:
    """Vectors of the codes of the first ``count`` stages from plain tables; None where they, or gradients, need the plain way."""
    if owner.training or torch.is_grad_enabled():
        return None
    flat = codes.reshape(-1, codes.shape[-1])
    found = _summed(owner, stages, flat, kept)
    if found is None:
        fast = fast_stages(owner, stages, codes, kept)
        found = None if fast is None else fast.decode(flat, count)
    return None if found is None else found.view(*codes.shape[:-1], found.shape[-1])


def _summed(owner: nn.Module, stages: Sequence[Quantizer], codes: Tensor, kept: Ready) -> Tensor | None:
    """Decoding by the compiled library where it adds rows of the codebooks themselves, so that nothing kept can be out of date."""
    if not takes_fast_paths(codes) or not native.serves(codes, torch.long):
        return None
    found = kept.codebooks.of(owner, lambda: _all_codebooks(stages))
    if found is None or any(len(books) > 1 for books in found.stages):
        return None
    tables = [books[0].weight for books in found.stages[: codes.shape[1]]]
    if not all(native.serves(table, torch.float32) and table.is_contiguous() for table in tables):
        return None
    return summed_rows(codes, tables, [(len(table),) for table in tables])


def joined(owner: Quantizer, codes: Int[Tensor, "*shape codes"], kept: Ready) -> Float[Tensor, "*shape dim"] | None:
    """Vectors of the codes of one stage of pieces from plain tables; None where they, or gradients, need the plain way."""
    if owner.training or torch.is_grad_enabled() or not takes_fast_paths(codes):
        return None
    found = kept.codebooks.of(owner, lambda: _all_codebooks([owner]))
    if found is None:
        return None
    weights = [book.weight for book in found.different]
    if not PieceTables.fit(weights) or not all(map(can_be_watched, weights)):  # on the CPU, too
        return None
    tables = kept.pieces.of(weights, lambda: PieceTables(_float_tables(found)[0]))
    return tables.decode(codes.reshape(-1, codes.shape[-1])).view(*codes.shape[:-1], owner.dim)


def waits(module: nn.Module) -> bool:
    """Whether a codebook in it waits for its first batch."""
    return any(isinstance(part, Codebook) and part.waits() for part in module.modules())
