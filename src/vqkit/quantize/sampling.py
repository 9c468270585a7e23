"""Samples of streams in constant memory: rows, each as likely as any other, or the first whole tensors."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vqkit.ranks import gather_ranks
from vqkit.types import Float

__all__ = ["first_fields", "sample_rows"]


def sample_rows(
    chunks: Iterable[Float[Tensor, "rows dim"]], most: int, *, joint: bool = False
) -> Float[Tensor, "kept dim"]:
    """Keep at most ``most`` rows, each row of the stream with equal probability, in their order.

    Every row gets a random key; the largest keys stay, of equal ones the earlier (reservoir sampling, Vitter 1985). What cannot stay is
    dropped at once and the rest merged only now and then, so that nearly every chunk of a long stream costs as much as its keys.

    Args:
        chunks: the stream.
        most: rows kept.
        joint: sample from the streams of all ranks, one after the other, and give all of them the same rows; each has to call, with
            another state of the random generator.

    Raises:
        ValueError: the stream holds no row, or with ``joint`` no rank's does.
    """
    rows: list[Tensor] = []
    keys: list[Tensor] = []
    held, least = 0, -1.0  # a row with a key no larger than the least one of the last merge can never be kept
    for chunk in chunks:
        new_keys = torch.rand(chunk.shape[0])
        stay = (new_keys > least).nonzero().flatten()
        if len(stay) == 0 and rows:
            continue
        rows.append(chunk[stay.to(chunk.device)])  # a copy: whoever made the chunk may use its memory again
        keys.append(new_keys[stay])
        held += len(stay)
        if held > most + max(most // 4, 1024):
            rows, keys = _largest(rows, keys, most)
            held, least = len(keys[0]), float(keys[0].min())
    kept, kept_keys = (part[0] for part in _largest(rows, keys, most)) if rows else (None, torch.empty(0))
    if joint:
        kept = _over_ranks(torch.empty(0, 0) if kept is None else kept, kept_keys, most)
    if kept is None or kept.shape[0] == 0:
        raise ValueError("no vectors to fit: the tensor or iterator is empty")
    return kept


def _largest(rows: list[Tensor], keys: list[Tensor], most: int) -> tuple[list[Tensor], list[Tensor]]:
    """The rows of the largest keys, in their order, as one tensor each."""
    row, key = torch.cat(rows), torch.cat(keys)
    if len(key) > most:
        stay = key.sort(descending=True, stable=True).indices[:most].sort().values
        row, key = row[stay.to(row.device)], key[stay]
    return [row], [key]


def _over_ranks(rows: Tensor, keys: Tensor, most: int) -> Tensor:
    """The rows with the largest keys of all ranks."""
    shapes = gather_ranks(torch.tensor(rows.shape, device=rows.device))
    longest, dim = shapes.amax(dim=0).tolist()
    padded = torch.zeros(longest, dim + 1, dtype=rows.dtype, device=rows.device)
    padded[: len(rows), : rows.shape[1]] = rows
    padded[: len(rows), dim] = keys.to(rows.device)
    lengths = shapes[:, 0].tolist()
    joined = torch.cat([part[:length] for part, length in zip(gather_ranks(padded), lengths, strict=True)])
    stay = joined[:, dim].topk(min(most, len(joined))).indices.sort().values
    return joined[stay, :dim]


def first_fields(tensors: Iterable[Tensor], grid_dims: int, vectors: int) -> list[Tensor]:
    """The first whole tensors (items, *spatial, dim) that together hold so many vectors; bare vectors are fields of one position.

    Raises:
        ValueError: there are none.
    """
    fields: list[Tensor] = []
    for x in tensors:
        fields.append(x if x.ndim == grid_dims + 2 else x.reshape(-1, *[1] * grid_dims, x.shape[-1]))
        if sum(field[..., 0].numel() for field in fields) >= vectors:
            break
    if not fields:
        raise ValueError("no vectors to fit: the tensor or iterator is empty")
    return fields
