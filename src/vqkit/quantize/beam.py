"""Beam search through the stages of a residual quantizer, and the choice of a number of stages for each vector.

A greedy search takes the nearest code in every stage and can regret it in the next. A beam keeps the B sets of codes with the least error
‖z − Σ q_i‖² so far; each stage extends every one of them by its codes, or by its B nearest ones, and keeps the best B of all of these.

References:
    Babenko & Lempitsky, "Additive quantization for extreme vector compression" (2014); Gersho & Gray, "Vector quantization and signal
    compression" (1992), chapter 12.5 (M-search) and 9.11 (bit allocation by λ).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer
from vqkit.quantize.search import CHUNK_SCORES
from vqkit.types import Float, Int

__all__ = ["best_prefixes", "cheapest_prefix", "cut_to_stages"]


def best_prefixes(
    stages: Sequence[Quantizer], x: Float[Tensor, "vectors dim"], beam: int
) -> tuple[list[Int[Tensor, "vectors codes"]], Float[Tensor, "vectors stages"]]:
    """Best codes of the first stage, of the first two stages, … of every vector, and their squared errors.

    The best codes of n stages need not begin with those of n − 1 stages: that is what the beam is for.

    Args:
        stages: quantizers of one dim.
        x: float32 vectors.
        beam: sets of codes kept after each stage; 1 is the greedy search.

    Returns:
        A list with codes (vectors, codes of the first n stages) for n = 1, 2, …, and ‖x − Σ‖² (vectors, stages).
    """
    widest = max(max(stage.code_sizes) for stage in stages)
    rows = max(1, CHUNK_SCORES // (beam * max(widest, beam * x.shape[1])))
    if torch.compiler.is_exporting() or x.shape[0] <= rows:  # an exported graph must not depend on the batch size
        found = list(_searched(stages, x, beam))
    else:
        parts = [list(_searched(stages, chunk, beam)) for chunk in x.split(rows)]
        found = [
            (torch.cat([c for c, _ in step]), torch.cat([e for _, e in step])) for step in zip(*parts, strict=True)
        ]
    return [codes for codes, _ in found], torch.stack([error for _, error in found], dim=1)


def _searched(stages: Sequence[Quantizer], x: Tensor, beam: int) -> Iterator[tuple[Tensor, Tensor]]:
    """After each stage the best codes of every vector and their error."""
    residual, prefix = x[:, None], x.new_zeros(x.shape[0], 1, 0, dtype=torch.long)
    row = torch.arange(x.shape[0], device=x.device)[:, None]
    for stage in stages:
        codes, errors = stage._candidates(residual.flatten(0, 1), beam)
        kept, offered = prefix.shape[1], codes.shape[1]
        errors = errors.reshape(x.shape[0], kept * offered)
        best, chosen = errors.topk(min(beam, kept * offered), dim=1, largest=False)
        parent = chosen // offered
        codes = codes.unflatten(0, (x.shape[0], kept))[row, parent, chosen % offered]
        prefix = torch.cat([prefix[row, parent], codes], dim=-1)
        residual = residual[row, parent] - stage._decode(codes, stage.num_stages)
        yield prefix[:, 0], best[:, 0]


def cut_to_stages(
    prefixes: Sequence[Int[Tensor, "vectors codes"]], stages: Int[Tensor, " vectors"]
) -> Int[Tensor, "vectors codes"]:
    """Codes of the first n stages of each vector, n its own number; −1 after them.

    Args:
        prefixes: from `best_prefixes`.
        stages: how many stages each vector keeps, at least 1.
    """
    width = prefixes[-1].shape[1]
    codes = torch.full_like(prefixes[-1], -1)
    for number, prefix in enumerate(prefixes, start=1):
        padded = torch.nn.functional.pad(prefix, (0, width - prefix.shape[1]), value=-1)
        codes = torch.where((stages == number)[:, None], padded, codes)
    return codes


def cheapest_prefix(
    errors: Float[Tensor, "vectors stages"], bits: Sequence[float], rate_weight: float
) -> Int[Tensor, " vectors"]:
    """Number of stages with the least ‖z − ẑ_n‖² + λ·bits_n for every vector; among equals the fewest.

    Args:
        errors: from `best_prefixes`.
        bits: rate of the first stage, of the first two, …
        rate_weight: λ, squared error that one bit is worth.
    """
    cost = errors + rate_weight * torch.tensor(bits, dtype=errors.dtype, device=errors.device)
    return cost.argmin(dim=1) + 1
