"""A uniform sample of rows from a stream, in constant memory."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["sample_rows"]


def sample_rows(chunks: Iterable[Float[Tensor, "rows dim"]], most: int) -> Float[Tensor, "kept dim"]:
    """Keep at most ``most`` rows, each row of the stream with equal probability, in their order.

    Every row gets a random key; the largest keys stay (reservoir sampling, Vitter 1985).

    Raises:
        ValueError: the stream holds no row.
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
    if kept is None or kept.shape[0] == 0:
        raise ValueError("no vectors to fit: the tensor or iterator is empty")
    return kept
