"""A forward of residual stages that are plain codebooks: few passes over the vectors, and no graph of them.

Stage s leaves r_{s+1} = r_s − q_s. Both losses are means of ‖r_{s+1}‖², the output is Σ q_s with the gradient of x, and every residual has
the gradient of x, too. So all gradients are known in the forward, with n_s elements in the mean of a stage:

    ∂/∂x    Σ_s w_s·mean ‖r_{s+1}‖²  =  Σ_s 2·w_s/n_s·r_{s+1}
    ∂/∂e_j  Σ_s v_s·mean ‖r_{s+1}‖²  =  −Σ_s 2·v_s/n_s·Σ r_{s+1} over the vectors with code j in stage s

`plain_step` is the plain twin, in which autograd records every stage; it also serves stages that are more than codebooks.

References:
    IVQ eqs 4–6.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.inputs import zeroed
from vqkit.quantize.leaves import Leaf, keeps_vectors
from vqkit.quantize.native_step import native_step
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Bool, Float, Int

__all__ = ["joint_step", "plain_step"]


def plain_step(
    stages: Sequence[Quantizer],
    x: Float[Tensor, "*shape dim"],
    mask: Bool[Tensor, "*shape"] | None,
    codes: Sequence[Int[Tensor, "*shape codes"]] | None,
    real: Sequence[Bool[Tensor, "*shape"] | None],
    weights: Float[Tensor, " stages"] | None,
) -> Step:
    """The stages' own steps, one after the other; the arguments are those of `joint_step`."""
    passes = all(stage.straight_through for stage in stages)
    residual, total = x, torch.zeros_like(x)
    found: list[Tensor] = []
    terms: dict[str, Tensor] = {}
    for index, stage in enumerate(stages):
        part = residual if real[index] is mask else zeroed(residual, real[index])
        if codes is None:
            z_q, stage_codes, losses = stage._quantize(part, real[index])
        else:
            z_q, stage_codes, losses = stage._quantize_to(part, real[index], codes[index])
        residual = residual - (z_q.detach() if passes else z_q)
        total = total + z_q
        found.append(stage_codes)
        for name, value in losses.items():
            value = value if weights is None else value * weights[index]
            terms[name] = terms.get(name, 0) + value / len(stages)
    if passes:
        total = straight_through(x if mask is None else zeroed(x, mask), total)
    return total, torch.cat(found, dim=-1), terms


def joint_step(
    stages: list[list[Leaf]],
    x: Float[Tensor, "*shape dim"],
    mask: Bool[Tensor, "*shape"] | None,
    codes: Sequence[Int[Tensor, "*shape codes"]] | None,
    real: Sequence[Bool[Tensor, "*shape"] | None],
    weights: Float[Tensor, " stages"] | None,
) -> Step:
    """What the stages' own steps add up to, with the same gradients; codebooks learn as they do there.

    Args:
        stages: from `plain_leaves`.
        x: what the first stage sees, 0 where masked.
        mask: True where there is a vector; None is everywhere.
        codes: chosen codes of each stage; None searches.
        real: the mask of each stage, which dropped stages narrow.
        weights: factor of each stage's losses; None is 1.
    """
    wanted = torch.is_grad_enabled()
    with torch.no_grad():
        pulled = wanted and x.requires_grad
        # in the same layout whether it is compiled or not: a first forward, which starts the codebooks, is not, and its recomputation is
        rows = x.contiguous()
        parts = (
            None
            if mask is not None or any(own is not None for own in real)
            else _compiled_parts(stages, rows, codes, pulled)
        )
        if parts is None:
            parts = _parts(stages, rows, codes, real, weights, pulled)
    tables, slopes = list(parts.slopes), list(parts.slopes.values())
    z_q, commitment, codebook = _Known.apply(x, mask, parts, slopes, *tables)
    found = {"commitment": commitment, "codebook": codebook}
    books = [leaves[0].quantizer for leaves in stages]
    losses = {name: found[name] for name in found if any(getattr(book, f"{name}_weight") for book in books)}
    return z_q, parts.codes, losses


class _Parts(NamedTuple):
    total: Tensor  # Σ q_s
    codes: Tensor  # of all stages, −1 where masked
    commitment: Tensor
    codebook: Tensor
    pull: Tensor | None  # gradient of the commitment in x
    slopes: dict[Tensor, Tensor]  # by table: the gradient of the codebook loss in it


def _parts(
    stages: list[list[Leaf]],
    x: Tensor,
    codes: Sequence[Tensor] | None,
    real: Sequence[Tensor | None],
    weights: Tensor | None,
    pulled: bool,
) -> _Parts:
    residual, total = x, torch.zeros_like(x)
    pull = torch.zeros_like(x) if pulled else None
    commitment, codebook = x.new_zeros(()), x.new_zeros(())
    slopes: dict[Tensor, Tensor] = {}
    found = []
    # fresh memory costs as much as what is computed in it: so residuals take the place of those before, unless a codebook keeps them
    kept = any(keeps_vectors(leaf.quantizer) for leaves in stages for leaf in leaves)
    for index, (leaves, mask) in enumerate(zip(stages, real, strict=True)):
        seen = zeroed(residual, mask)
        q, chosen = _looked_up(leaves, seen, None if codes is None else codes[index].clamp_min(0), mask)
        q = zeroed(q, mask)
        total += q
        if mask is not None:
            residual, left = residual - q, seen - q
        else:
            residual = left = residual - q if kept or index == 0 else residual.sub_(q)
        count = torch.tensor(left.numel(), device=x.device) if mask is None else mask.sum() * left.shape[-1]
        share = (1.0 if weights is None else weights[index]) / (len(stages) * count.clamp_min(1))
        mean, book = torch.linalg.vector_norm(left, dim=-1).square_().sum() * share, leaves[0].quantizer
        commitment += book.commitment_weight * mean
        codebook += book.codebook_weight * mean
        if pull is not None and book.commitment_weight:
            pull.addcmul_(left, 2 * book.commitment_weight * share)
        if book.codebook_weight:
            _add_slopes(slopes, leaves, left * (-2 * book.codebook_weight * share), chosen)
        found.append(chosen if mask is None else torch.where(mask[..., None], chosen, -1))
    return _Parts(total, torch.cat(found, dim=-1), commitment, codebook, pull, slopes)


def _compiled_parts(stages: list[list[Leaf]], x: Tensor, codes: Sequence[Tensor] | None, pulled: bool) -> _Parts | None:
    """`_parts` of vectors that all count, by the compiled library; None where it does not fit."""
    share = 1 / (len(stages) * max(x.numel(), 1))
    books = [leaves[0].quantizer for leaves in stages]
    pulls = [2 * book.commitment_weight * share if pulled else 0.0 for book in books]
    found = native_step(stages, x, codes, pulls, [book.codebook_weight > 0 for book in books])
    if found is None or codes is None:
        return None
    slopes: dict[Tensor, Tensor] = {}
    for leaves, book, own in zip(stages, books, found.slopes, strict=True):
        for leaf, slope in zip(leaves, own, strict=True):
            if slope is not None:
                table = leaf.quantizer.codebook.weight
                slopes.setdefault(table, torch.zeros_like(slope)).add_(slope, alpha=-2 * book.codebook_weight * share)
    commitment, codebook = (
        found.squares @ x.new_tensor([getattr(book, f"{name}_weight") * share for book in books])
        for name in ("commitment", "codebook")
    )
    return _Parts(found.total, torch.cat(list(codes), dim=-1), commitment, codebook, found.pull, slopes)


def _cut(leaves: list[Leaf], x: Tensor, codes: Tensor | None) -> Iterator[tuple[Leaf, Tensor, Tensor | None]]:
    """Every codebook with the pieces that it serves, as (pieces, piece dim), and their codes."""
    runs = x.split([leaf.quantizer.dim * leaf.repeats for leaf in leaves], dim=-1)
    widths = [leaf.repeats for leaf in leaves]
    parts = [None] * len(leaves) if codes is None else [part.reshape(-1) for part in codes.split(widths, dim=-1)]
    for leaf, run, part in zip(leaves, runs, parts, strict=True):
        yield leaf, run.reshape(-1, leaf.quantizer.dim), part


def _looked_up(leaves: list[Leaf], seen: Tensor, codes: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The vectors of a stage's codes, and the codes; the codebooks learn from what the stage sees."""
    vectors, found = [], []
    for leaf, pieces, chosen in _cut(leaves, seen, codes):
        real = None if mask is None else mask[..., None].expand(*mask.shape, leaf.repeats).reshape(-1)
        batch = leaf.quantizer._started(pieces, real)
        own = leaf.quantizer._assigned(pieces, real, None) if chosen is None else chosen
        leaf.quantizer._learn(batch, own, seen.shape[0])
        vectors.append(leaf.quantizer.codebook.rows(own).view(*seen.shape[:-1], leaf.quantizer.dim * leaf.repeats))
        found.append(own.view(*seen.shape[:-1], leaf.repeats))
    return (vectors[0], found[0]) if len(leaves) == 1 else (torch.cat(vectors, dim=-1), torch.cat(found, dim=-1))


def _add_slopes(slopes: dict[Tensor, Tensor], leaves: list[Leaf], slope: Tensor, codes: Tensor) -> None:
    for leaf, rows, own in _cut(leaves, slope, codes):
        book = leaf.quantizer.codebook
        if own is not None and book.weight.requires_grad and not book._frozen:
            slopes.setdefault(book.weight, rows.new_zeros(book.weight.shape)).index_add_(0, own, rows)


class _Known(torch.autograd.Function):
    """Output and losses with the gradients that `_parts` found."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, parts: _Parts, slopes: list[Tensor], *tables: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(mask, parts.pull, *slopes)
        ctx.ends = (
            x,
            *tables,
        )  # not saved: their values are not read, and may be written to before the backward, as revival does
        return parts.total, parts.commitment, parts.codebook

    @staticmethod
    def backward(ctx: Any, of_z_q: Tensor, of_commitment: Tensor, of_codebook: Tensor) -> tuple[Tensor | None, ...]:
        mask, pull, *slopes = ctx.saved_tensors
        with torch.no_grad():
            grad = zeroed(of_z_q, mask)
            if pull is not None:
                grad = torch.addcmul(grad, pull, of_commitment)
            pairs = zip(slopes, ctx.ends[1:], strict=True)
            grads = [grad, *((slope * of_codebook).to(table.dtype) for slope, table in pairs)]
        if torch.is_grad_enabled():  # with create_graph=True
            grads = _Once.apply(grads, of_z_q, of_commitment, of_codebook, *ctx.ends)
        return grads[0], None, None, None, *grads[1:]


class _Once(torch.autograd.Function):
    """Gradients that have no derivative: `_Known` does not keep what it would take."""

    @staticmethod
    def forward(ctx: Any, grads: list[Tensor], *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(grad.clone() for grad in grads)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "second derivatives through residual stages need the plain forward: call the quantizer inside "
            "`with vqkit.quantize.search.plain_paths():`"
        )
