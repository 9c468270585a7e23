"""A uniform sample of rows from a stream, in constant memory."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vqkit.ranks import gather_ranks
from vqkit.types import Float

__all__ = ["sample_rows"]


def sample_rows(
    chunks: Iterable[Float[Tensor, "rows dim"]], most: int, *, joint: bool = False
) -> Float[Tensor, "kept dim"]:
    """Keep at most ``most`` rows, each row of the stream with equal probability, in their order.

    Every row gets a random key; the largest keys stay (reservoir sampling, Vitter 1985).

    Args:
        chunks: the stream.
        most: rows kept.
        joint: sample from the streams of all ranks, one after the other, and give all of them the same rows; each has to call, with
            another state of the random generator.

    Raises:
        ValueError: the stream holds no row, or with ``joint`` no rank's does.
    """
    kept: Tensor | None = None
    keys = torch.empty(0)
    for chunk in chunks:
        new_keys = torch.rand(chunk.shape[0])
        kept = chunk if kept is None else torch.cat([kept, chunk])
        keys = torch.cat([keys, new_keys])
        if len(keys) > most:
            stay = keys.topk(most).indices.sort().values
            kept, keys = kept[stay.to(kept.device)], keys[stay]
    if joint:
        kept = _over_ranks(torch.empty(0, 0) if kept is None else kept, keys, most)
    if kept is None or kept.shape[0] == 0:
        raise ValueError("no vectors to fit: the tensor or iterator is empty")
    return kept


def _over_ranks(rows: Tensor, keys: Tensor, most: int) -> Tensor:
    """The rows with the largest keys of all ranks."""
    shapes = gather_ranks(torch.tensor(rows.shape, device=rows.device))
    longest, dim = shapes.amax(dim=0).tolist()
    padded = torch.zeros(longest, dim + 1, device=rows.device)
    padded[: len(rows), : rows.shape[1]] = rows
    padded[: len(rows), dim] = keys.to(rows.device)
    lengths = shapes[:, 0].tolist()
    joined = torch.cat([part[:length] for part, length in zip(gather_ranks(padded), lengths, strict=True)])
    stay = joined[:, dim].topk(min(most, len(joined))).indices.sort().values
    return joined[stay, :dim]
