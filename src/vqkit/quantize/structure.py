"""The losses that hold IVQ's codebooks in shape: one hexagram looks alike in every stage, and related hexagrams are related vectors.

They act on composed codebooks: for every hexagram the concatenated codes of its pieces, one (hexagrams, dim) matrix a stage. So every
code gets a gradient at every step, whether an input chose it or not.

References:
    IVQ eq. 9 (hierarchy) and eqs 10–12 (zong, cuo, cuozong); van den Oord et al. (2018), arXiv:1807.03748 (InfoNCE).
"""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import hexagrams
from vqkit.types import Float

__all__ = ["flip", "hierarchy_loss", "paper_contrast", "relation_losses", "similarity_contrast"]


def similarity_contrast(
    a: Float[Tensor, "hexagrams dim"], b: Float[Tensor, "hexagrams dim"], temperature: float
) -> Tensor:
    """InfoNCE of matching rows on cosines, symmetric: −mean_i log softmax_j(cos(a_i, b_j)/τ)_i."""
    scores = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / temperature
    target = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def paper_contrast(a: Float[Tensor, "hexagrams dim"], b: Float[Tensor, "hexagrams dim"], temperature: float) -> Tensor:
    """IVQ eq. 9 as printed, −Σ_i s_ii / Σ_j s_ij; unbounded, since the denominator crosses zero. ``temperature`` has no part."""
    scores = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    total = scores.sum(dim=1)
    guarded = torch.where(total.abs() < 1e-6, torch.where(total < 0, -1e-6, 1e-6), total)
    return -(scores.diagonal() / guarded).sum()


CONTRASTS = {"infonce": similarity_contrast, "paper": paper_contrast}


def hierarchy_loss(stages: list[Float[Tensor, "hexagrams dim"]], contrast: str, temperature: float) -> Tensor:
    """Mean over pairs of stages of the contrast between their composed codebooks (eq. 9)."""
    pairs = [CONTRASTS[contrast](a, b, temperature) for a, b in combinations(stages, 2)]
    return torch.stack(pairs).mean() if pairs else stages[0].sum() * 0


def flip(vectors: Float[Tensor, "hexagrams dim"], lines: int, how: str) -> Float[Tensor, "hexagrams dim"]:
    """Reverse the order of the L blocks of dim/L elements (``"lines"``), or of all elements (``"elements"``)."""
    if how == "elements":
        return vectors.flip(-1)
    return vectors.unflatten(-1, (lines, -1)).flip(-2).flatten(start_dim=-2)


def relation_losses(
    compose: list[Float[Tensor, "hexagrams dim"]],
    related: dict[str, list[Float[Tensor, "hexagrams dim"]]],
    lines: int,
    how: str,
    contrast: str,
    temperature: float,
) -> dict[str, Tensor]:
    """Eqs 10–12, each a mean over stages.

    Args:
        compose: composed codes c^i of each stage.
        related: for ``zong``, ``cuo``, ``cuozong`` the composed codes of the related hexagrams.
        lines: L.
        how: see `flip`.
        contrast: ``"infonce"`` or ``"paper"``. The cuo term is the mean cosine of the pairs with ``"infonce"``, for −InfoNCE has no
            lower bound; with ``"paper"`` it is −eq. 9.
        temperature: τ of InfoNCE.
    """
    match = CONTRASTS[contrast]
    terms: dict[str, list[Tensor]] = {"zong": [], "cuo": [], "cuozong": []}
    for stage, code in enumerate(compose):
        opposite = related["cuo"][stage]
        terms["zong"].append(match(flip(code, lines, how), related["zong"][stage], temperature))
        cosine = F.cosine_similarity(code, opposite, dim=-1).mean()
        terms["cuo"].append(cosine if contrast == "infonce" else -match(code, opposite, temperature))
        terms["cuozong"].append(match(code, related["cuozong"][stage], temperature))
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def related_indices(index: Tensor, lines: int) -> dict[str, Tensor]:
    """The zong, cuo and cuozong partners of hexagrams."""
    return {
        "zong": hexagrams.zong(index, lines),
        "cuo": hexagrams.cuo(index, lines),
        "cuozong": hexagrams.cuozong(index, lines),
    }
