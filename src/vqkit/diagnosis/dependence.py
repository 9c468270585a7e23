"""Entropy of codes, and what the codes of one stage say of those of another.

References:
    Miller, "Note on the bias of information estimates" (1955).
"""

import math
from itertools import combinations, pairwise

import torch
from torch import Tensor

from vqkit.quantize import Quantizer

__all__ = ["code_counts", "code_entropy", "stage_dependence"]

_MOST_STAGES = 12  # between which mutual information is estimated
_MOST_PAIRS = 4  # of code positions, for each pair of stages


def code_counts(column: Tensor) -> Tensor:
    """How often each code that occurs does."""
    return torch.unique(column, return_counts=True)[1].double()


def code_entropy(counts: Tensor) -> float:
    """Entropy in bits of codes that occur so often, with the Miller–Madow correction."""
    total = counts.sum()
    p = counts / total
    plain = -(p * p.log2()).sum()
    return float(plain + (len(counts) - 1) / (2 * total * math.log(2)))


def stage_dependence(quantizer: Quantizer, codes: Tensor) -> tuple[tuple[float | None, ...], ...]:
    """Mutual information of stages, see `Measures`."""
    ends = (0, *quantizer.stage_ends)
    stages = [range(start, stop) for start, stop in pairwise(ends)][:_MOST_STAGES]
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0)).to(codes.device)
    table: list[list[float | None]] = [[None] * len(stages) for _ in stages]
    for i, first in enumerate(stages):
        for j, second in enumerate(stages[i:], start=i):
            if i == j:
                pairs = list(combinations(first, 2))
            elif len(first) == len(second):
                pairs = list(zip(first, second, strict=True))
            else:
                pairs = [(a, b) for a in first for b in second]
            step = max(1, len(pairs) // _MOST_PAIRS)
            values = [_information(codes[:, a], codes[:, b], order) for a, b in pairs[::step][:_MOST_PAIRS]]
            if values:
                table[i][j] = table[j][i] = sum(values) / len(values)
    return tuple(map(tuple, table))


def _information(first: Tensor, second: Tensor, order: Tensor) -> float:
    """Mutual information, less that of the same codes in random order: few vectors make everything look dependent."""
    a, b = (torch.unique(column, return_inverse=True)[1] for column in (first, second))
    width = int(b.max()) + 1
    # H(a) + H(b) is the same for both, so the difference of the joint entropies is all there is
    joint, shuffled = code_counts(a * width + b), code_counts(a * width + b[order])
    return max(0.0, _plain_entropy(shuffled) - _plain_entropy(joint))


def _plain_entropy(counts: Tensor) -> float:
    p = counts / counts.sum()
    return float(-(p * p.log2()).sum())
