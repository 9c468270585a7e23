"""Sampling of codes from their logits: guidance, temperature, top-k, top-p, and a seed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from vqkit.counts import is_whole
from vqkit.types import Float, Int

__all__ = ["Sampler", "Sampling"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of sampling.

    Args:
        temperature: divides the logits; 0 takes the most probable code.
        top_k: keep only so many of the most probable codes; None keeps all.
        top_p: keep only the most probable codes that together have this probability.
        guidance: strength g of classifier-free guidance: logits are u + g · (c − u), of those without (u) and with the condition (c).
            1 is without guidance, 0 without condition.
        seed: seed of the random numbers, in 0 … 2^64 − 1.

    Raises:
        ValueError: an argument out of range.

    References:
        Ho & Salimans, "Classifier-free diffusion guidance" (2022), arXiv:2207.12598, eq. 6.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    guidance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be finite and at least 0, got {self.guidance}")
        if not is_whole(self.seed) or not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed must be an integer in 0 … 2^64 − 1, got {self.seed!r}")


class Sampler:
    """Picks codes; the random numbers are drawn on the CPU, so that a seed means the same on every device.

    Args:
        how: the settings.

    Example:
        >>> Sampler(Sampling(temperature=0))(torch.tensor([[0.0, 2.0, 1.0]]))
        tensor([1])
    """

    def __init__(self, how: Sampling) -> None:
        self.how = how
        self.generator = torch.Generator().manual_seed(int(how.seed))
        self.warpers = LogitsProcessorList()
        if how.temperature not in (0, 1):
            self.warpers.append(TemperatureLogitsWarper(float(how.temperature)))
        if how.top_k is not None:
            self.warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p < 1:
            self.warpers.append(TopPLogitsWarper(how.top_p))

    def __call__(self, logits: Float[Tensor, "rows code_size"]) -> Int[Tensor, " batch"]:
        """Pick one code a row; with guidance the first half of the rows is conditioned, the second is not."""
        logits = logits.float()
        if self.guided:
            conditioned, free = logits.chunk(2)
            logits = free + self.how.guidance * (conditioned - free)
        if self.how.temperature == 0:
            return logits.argmax(dim=-1)
        # the ids so far, which these warpers do not look at
        ids: Any = torch.empty(0, dtype=torch.long)
        logits = self.warpers(ids, logits)
        chances = logits.softmax(dim=-1).cpu()
        return torch.multinomial(chances, 1, generator=self.generator)[:, 0].to(logits.device)

    @property
    def guided(self) -> bool:
        """Whether both the conditioned and the unconditioned logits are needed."""
        return self.how.guidance not in (0.0, 1.0)
