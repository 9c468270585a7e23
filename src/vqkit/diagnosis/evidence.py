"""What causes are told from: the numbers, the trials, the probes; and what is left to gain."""

import math
from dataclasses import dataclass

from vqkit.diagnosis.finding import Gain
from vqkit.diagnosis.measures import Measures
from vqkit.diagnosis.rate import Rates
from vqkit.diagnosis.trace import BookTrace
from vqkit.diagnosis.trials import Trial, Trials

__all__ = ["NOTHING_LEFT", "Evidence", "best_gain", "decibels_between"]

NOTHING_LEFT = 1e-6
"""Share of the variance below which nothing has to be improved."""


@dataclass(frozen=True)
class Evidence:
    """All that is known.

    Attributes:
        measures: The numbers.
        traces: Traces of the codebooks.
        trials: Changes that were tried.
        rates: Real bytes.
        leaks: What padding changes (`mask_leaks`).
        padding: Codes that serve only padding, by codebook (`padding_codes`).
        ranks: Tensors that differ between ranks (`different_ranks`).
    """

    measures: Measures
    traces: list[BookTrace]
    trials: Trials
    rates: Rates
    leaks: list[str]
    padding: dict[str, int]
    ranks: dict[str, int]


def best_gain(evidence: Evidence, *trials: Trial | None) -> Gain | None:
    """The best of some trials, if it is better than nothing."""
    made = [trial for trial in trials if trial is not None]
    if not made:
        return None
    best = min(made, key=lambda trial: trial.error)
    gain = Gain(best.change, "error", evidence.measures.error, best.error)
    return gain if gain.decibels > 0.05 else None


def decibels_between(before: float, after: float) -> float:
    """10·log10(before / after)."""
    return 10 * math.log10(max(before, 1e-30) / max(after, 1e-30))
