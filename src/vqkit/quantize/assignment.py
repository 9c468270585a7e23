"""Which code a vector gets in training, where it is not simply the nearest: balanced by Sinkhorn's iteration, or drawn.

References:
    Cuturi, "Sinkhorn distances" (2013), arXiv:1306.0895; Zhang et al., "Preventing local pitfalls in vector quantization via optimal
    transport" (OptVQ, 2024), arXiv:2412.15195. Drawn codes: Takida et al., "SQ-VAE" (2022), arXiv:2205.07547, in its simplest form.
"""

import math

import torch
from torch import Tensor

from vqkit.types import Bool, Float, Int

__all__ = ["balanced_codes", "drawn_codes"]


def balanced_codes(
    scores: Float[Tensor, "vectors codes"],
    real: Bool[Tensor, " vectors"] | None,
    temperature: float,
    iterations: int = 5,
) -> Int[Tensor, " vectors"]:
    """Codes of an entropic transport plan in which every vector gives 1/N and every code takes 1/K.

    Args:
        scores: the higher the better, as −‖x − e‖².
        real: vectors that count; the others take part in nothing, and what they get means nothing.
        temperature: temperature of the plan, in units of the mean spread of a vector's scores; small ones give sharp plans.
        iterations: rounds of normalising over codes and vectors.

    Returns:
        The code with the largest share of each vector's mass.
    """
    spread = scores - scores.amax(dim=1, keepdim=True)
    if real is not None:
        spread = torch.where(real[:, None], spread, 0.0)
    count = scores.shape[0] if real is None else real.sum().clamp_min(1)
    scale = (-spread.mean(dim=1)).sum() / count
    plan = spread / (temperature * scale).clamp_min(1e-12)
    silent = None if real is None else torch.where(real, 0.0, -math.inf)[:, None]
    for _ in range(iterations):
        column = (plan if silent is None else plan + silent).logsumexp(dim=0, keepdim=True)
        plan = plan - torch.where(column.isfinite(), column, 0.0)
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
    return plan.argmax(dim=1)


def drawn_codes(
    scores: Float[Tensor, "vectors codes"], temperature: float, uniform: Float[Tensor, "vectors codes"]
) -> Int[Tensor, " vectors"]:
    """A code for every vector, drawn from softmax(scores / temperature) with uniform numbers of [0, 1)."""
    uniform = uniform.clamp_min(torch.finfo(uniform.dtype).tiny)
    return (scores / temperature - (-uniform.log()).log()).argmax(dim=1)  # Gumbel's trick
