"""Means over the values of single sounds, and to verdicts on goals, both with bootstrap intervals over the sounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vqkit.evaluate.codecs.coded import System
from vqkit.evaluate.rate_quality import Judged
from vqkit.report.rate_rows import Interval, RateRow, Verdict
from vqkit.report.results import Protocol

__all__ = ["Goal", "mean_interval", "rate_rows", "verdict"]

_RESAMPLES, _SEED, _PERCENT = 10000, 0, (2.5, 97.5)


@dataclass(frozen=True)
class Goal:
    """Goal of a system: to be as good as a number or another system.

    Args:
        kind: kind of the sounds.
        metric: key of the metric.
        system: name of the system with the goal.
        rival: name of another system, or a value of the metric.
        strictly: whether the system must be better; otherwise it is enough to be as good.
    """

    kind: str
    metric: str
    system: str
    rival: str | float
    strictly: bool = False


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean, and its 95 % interval by the bootstrap: percentiles of the means of 10,000 draws with replacement, always the same draws.

    Args:
        values: one a sound.

    Returns:
        The interval; its ends are the mean for a single value.

    Raises:
        ValueError: no values.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0, 4.0])
        >>> found.mean, found.count, 1.0 < found.low < 2.0 < 3.0 < found.high < 4.0
        (2.5, 4, True)
    """
    if not values:
        raise ValueError("values is empty, a mean needs at least one")
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(_SEED).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), _PERCENT)
    return Interval(float(array.mean()), float(low), float(high), len(array))


def rate_rows(judged: Sequence[Judged], systems: Mapping[str, Sequence[System]]) -> list[RateRow]:
    """Compute a row for each kind and system: its measured rate and the means of its values.

    Args:
        judged: judgements from `vqkit.evaluate.rate_quality.judge`.
        systems: the codecs that were judged.

    Returns:
        Kinds and systems in the order of ``systems``; those that judged nothing are left out. Rates are all bits over all seconds.
    """
    rows = []
    for kind, members in systems.items():
        for system in members:
            own = [result for result in judged if (result.kind, result.system) == (kind, system.name)]
            if not own:
                continue
            seconds = sum(result.seconds for result in own)
            metrics: dict[str, Interval] = {}
            for key in own[0].values:
                known = [value for result in own if (value := result.values[key]) is not None]
                if known:
                    metrics[key] = mean_interval(known)
            rows.append(
                RateRow(
                    kind=kind,
                    system=system.name,
                    family=system.family,
                    asked_kbps=system.kbps,
                    kbps=8 * sum(result.packet_bytes for result in own) / seconds / 1000,
                    file_kbps=8 * sum(result.file_bytes for result in own) / seconds / 1000,
                    sounds=len(own),
                    metrics=metrics,
                )
            )
    return rows


def verdict(goal: Goal, judged: Sequence[Judged], protocols: Mapping[str, Protocol]) -> Verdict:
    """Decide whether a goal is met, on the sounds that both sides have a value for.

    Args:
        goal: goal to check.
        judged: judgements from `vqkit.evaluate.rate_quality.judge`.
        protocols: protocols of the metrics for the goal's kind; they say which direction is better.

    Returns:
        Both sides' means, and the advantage, positive where the system is better: the mean of the differences sound by sound, with its
        interval. Means that were not measured are None, and so is ``met``.

    Raises:
        ValueError: the metric is not among the protocols, or has no direction.
    """
    protocol = protocols.get(goal.metric)
    if protocol is None or protocol.better is None:
        raise ValueError(f"no goal can be set for {goal.metric!r}; metrics with a direction: {', '.join(protocols)}")
    sign = 1 if protocol.better == "higher" else -1
    own = _values(goal, goal.system, judged)
    if isinstance(goal.rival, str):
        others = _values(goal, goal.rival, judged)
        shared = [name for name in own if name in others]
        rivals = [others[name] for name in shared]
    else:
        shared = list(own)
        rivals = [goal.rival] * len(shared)
    text = goal.rival if isinstance(goal.rival, str) else f"{goal.rival:g}"
    relation = {(1, True): ">", (1, False): "≥", (-1, True): "<", (-1, False): "≤"}[sign, goal.strictly]
    if not shared:
        return Verdict(goal.kind, protocol.name, goal.system, relation, text, None, None, None, None)
    left, right = (float(np.mean(side)) for side in ([own[name] for name in shared], rivals))
    advantage = mean_interval([sign * (own[name] - rival) for name, rival in zip(shared, rivals, strict=True)])
    met = advantage.mean > 0 if goal.strictly else advantage.mean >= 0
    return Verdict(goal.kind, protocol.name, goal.system, relation, text, left, right, advantage, met)


def _values(goal: Goal, system: str, judged: Sequence[Judged]) -> dict[str, float]:
    """Value by sound."""
    found = {}
    for result in judged:
        if (result.kind, result.system) == (goal.kind, system):
            value = result.values.get(goal.metric)
            if value is not None:
                found[result.sound] = value
    return found
