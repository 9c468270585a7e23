"""The vectors of an examination: those that changes are fitted to, and others that they are judged by."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from vqkit.quantize import Quantizer
from vqkit.quantize.inputs import checked_vectors
from vqkit.types import Bool, Float

__all__ = ["Sample", "split_vectors"]

_BLOCK = 64  # consecutive vectors that stay together: contexts of an entropy coder look at neighbours
_MASKED = 4096  # vectors at masked positions that are looked at


@dataclass(frozen=True)
class Sample:
    """Vectors in two halves.

    Attributes:
        learn: Fields (items, *spatial, dim) that changes are fitted to; single vectors are (1, vectors, dim).
        judge: Fields that everything is measured on.
        masks: For each field of ``judge`` where its vectors are real; None where all are.
        masked: Vectors (vectors, dim) at masked positions.
        apart: Whether the two halves hold different vectors.
    """

    learn: list[Tensor]
    judge: list[Tensor]
    masks: list[Tensor | None]
    masked: Float[Tensor, "vectors dim"]
    apart: bool = True

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.judge[0].shape[-1]

    @property
    def count(self) -> int:
        """Real vectors in both halves."""
        judged = sum(len(rows) for rows in self.judged_rows())
        return judged + (sum(field[..., 0].numel() for field in self.learn) if self.apart else 0)

    def judged_rows(self) -> list[Float[Tensor, "vectors dim"]]:
        """The real vectors that are judged, field by field."""
        return [_rows(field, mask) for field, mask in zip(self.judge, self.masks, strict=True)]


def split_vectors(
    quantizer: Quantizer,
    vectors: Tensor | Iterable[Tensor],
    mask: Tensor | None,
    max_vectors: int,
) -> Sample:
    """Take vectors as `Quantizer.fit` does, and deal them out in blocks.

    Args:
        quantizer: Says the dim, and whether neighbours matter, so that fields have to stay whole.
        vectors: (…, dim), or an iterable of such tensors, of which the first ``max_vectors`` are taken.
        mask: True = real; only with one tensor.
        max_vectors: Most vectors in both halves together.

    Raises:
        TypeError: A mask with several tensors.
        ValueError: No vectors, a wrong dim, NaN or Inf.
    """
    if isinstance(vectors, Tensor):
        tensors: Iterable[Tensor] = [vectors]
    elif mask is not None:
        raise TypeError("mask needs one tensor of vectors, got an iterable of several")
    else:
        tensors = vectors
    fields: list[Tensor] = []
    count = 0
    for z in tensors:
        fields.append(checked_vectors(z, mask, quantizer.dim, finite=True))
        count += fields[-1][..., 0].numel()
        if count >= max_vectors:
            break
    masked = vectors[~mask].float()[:_MASKED] if mask is not None and isinstance(vectors, Tensor) else None
    if not count or (mask is not None and not mask.any()):
        raise ValueError("no vectors to examine: the tensor or iterator is empty, or all of it is masked")
    empty = fields[0].new_zeros(0, quantizer.dim)
    masked = empty if masked is None else masked
    if quantizer.needs_grid:
        return _fields(quantizer, fields, mask, masked)
    rows = torch.cat([_rows(field, mask) for field in fields])
    return _single(rows, masked, max_vectors)


def _single(rows: Tensor, masked: Tensor, max_vectors: int) -> Sample:
    """Single vectors: blocks from all over the stream, every other one to be judged."""
    size = max(1, min(_BLOCK, len(rows) // 16))
    blocks = rows.split(size)
    wanted = max(2, max_vectors // size)
    if len(blocks) > wanted:
        places = torch.linspace(0, len(blocks) - 1, wanted).round().long().tolist()
        blocks = [blocks[place] for place in places]
    learn, judge = list(blocks[::2]), list(blocks[1::2])
    if not judge:  # one vector
        return Sample([rows[None]], [rows[None]], [None], masked, apart=False)
    return Sample([torch.cat(learn)[None]], [torch.cat(judge)[None]], [None], masked)


def _fields(quantizer: Quantizer, fields: list[Tensor], mask: Tensor | None, masked: Tensor) -> Sample:
    """Whole items, since parts of the quantizer look at neighbours; fits get those without a masked position."""
    dims = quantizer._grid_dims
    items: list[tuple[Tensor, Tensor | None]] = []
    for field in fields:
        if field.ndim == dims + 2:
            marks = [None] * len(field) if mask is None else list(mask)
        else:  # single vectors are fields of one position
            field = _rows(field, mask).reshape(-1, *[1] * dims, field.shape[-1])
            marks = [None] * len(field)
        items += [(item, mark) for item, mark in zip_longest(field, marks)]
    judge, learn = (items[1::2], items[::2]) if len(items) > 1 else (items, items)
    whole = [item for item, mark in learn if mark is None or mark.all()]
    kept = [(item, mark) for item, mark in judge if mark is None or mark.any()]
    if not whole or not kept:
        raise ValueError("this quantizer looks at neighbours: at least one item of each half must be without padding")
    return Sample(
        _stacked(whole),
        [item[None] for item, _ in kept],
        [None if mark is None or mark.all() else mark[None] for _, mark in kept],
        masked,
        apart=len(items) > 1,
    )


def _stacked(items: list[Tensor]) -> list[Tensor]:
    return [torch.stack(items)] if len({item.shape for item in items}) == 1 else [item[None] for item in items]


def _rows(field: Tensor, mask: Bool[Tensor, "*shape"] | None) -> Tensor:
    return field.reshape(-1, field.shape[-1]) if mask is None else field[mask]
