"""Item ids for recommenders: a code tuple for every embedding, and no two alike.

References:
    Rajput et al., "Recommender systems with generative retrieval" (2023), arXiv:2305.05065 (semantic ids; a last code counts the items
    that share the others).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer
from vqkit.types import Float, Int

__all__ = ["DistinctCodes", "distinct_codes"]


@dataclass(frozen=True)
class DistinctCodes:
    """Codes that tell items apart.

    Attributes:
        codes: (items, num_codes), or one more code where items that share the rest are counted; all rows differ.
        code_sizes: alphabet of each code.
        collisions: how many items shared their codes with an earlier one before.
        largest_group: the most items that shared one tuple before.
        usage: for each code of the quantizer, the effective share of its alphabet, exp(entropy) / size: 1 where all occur equally often.
    """

    codes: Int[Tensor, "items codes"]
    code_sizes: tuple[int, ...]
    collisions: int
    largest_group: int
    usage: tuple[float, ...]


@torch.no_grad()
def distinct_codes(
    quantizer: Quantizer, vectors: Float[Tensor, "items dim"], *, last: str = "count", batch: int = 65536
) -> DistinctCodes:
    """Codes of the vectors, and one way to tell apart those that share them.

    Args:
        quantizer: any, fitted; for ``last="nearest"`` one whose last stage is a single codebook, as in `RVQ`.
        vectors: one embedding an item.
        last: ``"count"`` appends a code: 0 for the first item of a tuple, 1 for the second, and so on. ``"nearest"`` keeps the length:
            among items that share all stages but the last, the one that is nearest to a code of the last stage takes it, and the others
            take the nearest one that is still free.
        batch: vectors encoded at a time.

    Raises:
        TypeError: the vectors are not floating.
        ValueError: another shape, another ``last``, or with ``"nearest"`` a quantizer without such a stage, or more items with equal
            first stages than the last one has codes.

    Example:
        >>> from vqkit import RVQ
        >>> _ = torch.manual_seed(0)
        >>> items = torch.randn(500, 8)
        >>> quantizer = RVQ(8, 16, 2).fit(items).eval()
        >>> found = distinct_codes(quantizer, items)
        >>> found.codes.shape, len(found.codes.unique(dim=0)), found.code_sizes[-1] == found.largest_group
        (torch.Size([500, 3]), 500, True)
    """
    if last not in ("count", "nearest"):
        raise ValueError(f"last must be 'count' or 'nearest', got {last!r}")
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors must be (items, dim), at least one, got shape {tuple(vectors.shape)}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch!r}")
    codes = torch.cat([quantizer.encode(part[None])[0] for part in vectors.split(batch)])
    order, sizes = _place_in_group(codes)
    usage = tuple(
        _effective_share(code, size) for code, size in zip(codes.unbind(1), quantizer.code_sizes, strict=True)
    )
    collisions, largest = int((order > 0).sum()), int(sizes.max())
    if last == "count":
        return DistinctCodes(
            torch.cat([codes, order[:, None]], dim=1), (*quantizer.code_sizes, largest), collisions, largest, usage
        )
    return DistinctCodes(_moved_apart(quantizer, vectors, codes), quantizer.code_sizes, collisions, largest, usage)


def _place_in_group(codes: Tensor) -> tuple[Tensor, Tensor]:
    """For every row how many equal rows come before it, and the size of each group."""
    _, group, sizes = codes.unique(dim=0, return_inverse=True, return_counts=True)
    by_group = group.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    order = torch.empty_like(group)
    order[by_group] = torch.arange(len(group), device=group.device) - starts[group[by_group]]
    return order, sizes


def _effective_share(code: Tensor, size: int) -> float:
    shares = code.bincount(minlength=size).double() / len(code)
    return float((-(torch.special.xlogy(shares, shares)).sum()).exp() / size)


def _moved_apart(quantizer: Quantizer, vectors: Tensor, codes: Tensor) -> Tensor:
    """Codes whose last stage differs among the items that share all others."""
    if quantizer.num_stages < 2 or quantizer.codes_per_stage[-1] != 1:
        raise ValueError(
            "last='nearest' needs at least two stages, the last of one code, as in RVQ(dim, size, stages); "
            f"this quantizer has {list(quantizer.codes_per_stage)} codes a stage"
        )
    size = quantizer.code_sizes[-1]
    _, group, sizes = codes[:, :-1].unique(dim=0, return_inverse=True, return_counts=True)
    if int(sizes.max()) > size:
        raise ValueError(
            f"{int(sizes.max())} items share all codes but the last, which has only {size} values: "
            "take more stages, larger codebooks, or last='count'"
        )
    found = codes.clone()
    for crowded in (sizes > 1).nonzero().flatten().tolist():
        items = (group == crowded).nonzero().flatten()
        if len(codes[items, -1].unique()) == len(items):
            continue
        found[items, -1] = _assigned(_costs(quantizer, vectors[items], codes[items], size))
    return found


def _costs(quantizer: Quantizer, vectors: Tensor, codes: Tensor, size: int) -> Tensor:
    """Squared error of each item with every code of the last stage, all other codes kept."""
    tried = codes[:, None].repeat(1, size, 1)
    tried[..., -1] = torch.arange(size, device=codes.device)
    return (quantizer.decode(tried).float() - vectors.float()[:, None]).square().sum(dim=-1)


def _assigned(costs: Float[Tensor, "items codes"]) -> Int[Tensor, " items"]:
    """A code for every item, no code twice: again and again the cheapest pair of what is left."""
    costs = costs.clone()
    chosen = torch.empty(len(costs), dtype=torch.long, device=costs.device)
    for _ in range(len(costs)):
        item, code = divmod(int(costs.argmin()), costs.shape[1])
        chosen[item] = code
        costs[item], costs[:, code] = torch.inf, torch.inf
    return chosen
