"""Scores of a classifier: average precision, accuracy, top-1 and top-5, each with an interval.

Metrics
    mAP: macro mean over the classes that have a test item of the average precision. Accuracy (top-1): the class with the highest score is
    right. Top-5: it is among the five highest.

Intervals
    Accuracy and top-5 are shares of the items: Wilson's interval. mAP is none: the deviation over resampled items, since the mean over
    them is biased (an item that is drawn twice helps its class). Where resampled items all give one mAP, as they do if every item is
    right, that says nothing of items not seen, and the interval is that of a share.

References:
    BRIDLE, section 4.4; Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 12; Wilson, "Probable inference, the law
    of succession, and statistical inference" (1927).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

from vqkit.types import Float

__all__ = ["Result", "Score", "measure", "scores_of"]

_RESAMPLES = 200
_SHARES = ("accuracy", "top-5")
_Z = 1.96  # standard deviations of the normal distribution that hold 95 %


@dataclass(frozen=True)
class Score:
    """A metric of the test items.

    Attributes:
        value: share in 0 … 1.
        low: lower end of the 95 % interval.
        high: its upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class Result:
    """Result of a probe or a fine-tuning.

    Attributes:
        method: method, "probe" or "finetune".
        scores: scores of the test items, by metric.
        epoch: epoch that was chosen on the validation split; a mean over folds.
        valid: value on that split of the metric that chose the epoch.
        items: numbers of items of training, validation and test.
        classes: names of the classes.
        folds: number of folds; 0 without cross-validation.
        notes: what was left out of the data.
        skipped: path → reason of the items that could not be read.
        chosen_on: items that the epoch was chosen on, "valid" or "test".
    """

    method: str
    scores: dict[str, Score]
    epoch: float
    valid: float
    items: dict[str, int]
    classes: tuple[str, ...]
    folds: int = 0
    notes: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    chosen_on: str = "valid"

    def to_json(self) -> str:
        """The result as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def lines(self) -> list[str]:
        """The result for a terminal."""
        counts = ", ".join(f"{count} {split}" for split, count in self.items.items())
        folds = f", {self.folds} folds" if self.folds else ""
        items = (
            "validation" if self.chosen_on == "valid" else "the test items, as in the published code: too high scores"
        )
        found = [f"{len(self.classes)} classes, {counts}{folds}; epoch {self.epoch:g} chosen on {items}"]
        return found + [f"{name:>9}  {score}" for name, score in self.scores.items()]


def measure(
    scores: Float[Tensor, "items classes"], targets: Float[Tensor, "items classes"], precision: bool = True
) -> dict[str, float]:
    """Compute all metrics of some items.

    Args:
        scores: score of each class, higher where it is likelier.
        targets: 1 where an item is of a class.
        precision: whether mAP, which takes longest, is wanted where there is another metric.

    Example:
        >>> measure(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.eye(2))
        {'mAP': 1.0, 'accuracy': 1.0}
    """
    single = bool((targets.sum(1) == 1).all())
    present = targets.sum(0) > 0
    chosen, wanted = scores[:, present], targets[:, present].long()
    found: dict[str, float] = {}
    if precision or not single:
        several = chosen.shape[1] > 1
        mean = multilabel_average_precision(chosen, wanted, chosen.shape[1], average="macro") if several else 1.0
        found["mAP"] = float(mean)
    if single:
        found["accuracy"] = _top(scores, targets, 1)
        if targets.shape[1] > 5:
            found["top-5"] = _top(scores, targets, 5)
    return found


def _top(scores: Tensor, targets: Tensor, count: int) -> float:
    return float(targets.gather(1, scores.topk(count, dim=1).indices).amax(1).mean())


def scores_of(
    scores: Float[Tensor, "items classes"],
    targets: Float[Tensor, "items classes"],
    seed: int = 0,
    measured: Callable[[Tensor, Tensor], dict[str, float]] = measure,
) -> dict[str, Score]:
    """Compute all metrics of the test items, with intervals.

    Args:
        scores: score of each class, higher where it is likelier.
        targets: 1 where an item is of a class.
        seed: seed of the resampling.
        measured: computes the metrics of scores and targets.
    """
    generator = torch.Generator().manual_seed(seed)
    whole, samples = measured(scores, targets), list[dict[str, Any]]()
    for _ in range(_RESAMPLES):
        drawn = torch.randint(len(scores), (len(scores),), generator=generator)
        samples.append(measured(scores[drawn], targets[drawn]))
    found = {}
    for name, value in whole.items():
        deviation = float(torch.tensor([sample[name] for sample in samples if name in sample]).std())
        # a sum of float32 may differ in its last digits where the items do not
        if name in _SHARES or not deviation > 1e-6:
            found[name] = Score(value, *_wilson(value, len(scores)))
        else:
            found[name] = Score(value, max(0.0, value - _Z * deviation), min(1.0, value + _Z * deviation))
    return found


def _wilson(share: float, items: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of independent items, which is of some width for none and for all of them, too."""
    middle = (share + _Z**2 / (2 * items)) / (1 + _Z**2 / items)
    half = _Z / (1 + _Z**2 / items) * (share * (1 - share) / items + _Z**2 / (4 * items**2)) ** 0.5
    # rounding must not put the share itself outside
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
