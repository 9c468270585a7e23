"""Content of a report of rate and quality: rows with intervals, and verdicts on goals."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Interval", "RateRow", "Verdict"]


@dataclass(frozen=True)
class Interval:
    """A mean over ``count`` sounds, and the 95 % interval from ``low`` to ``high``."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class RateRow:
    """A codec at a rate, on one kind of sound.

    Attributes:
        kind: kind of the sounds.
        system: name of the system.
        family: systems of one family are one curve.
        asked_kbps: requested rate, in kbit/s.
        kbps: measured rate of the codec's packets, in kbit/s.
        file_kbps: measured rate of the complete files, in kbit/s.
        sounds: number of sounds that were coded.
        metrics: metrics by key; a metric that scored none of the sounds is missing.
    """

    kind: str
    system: str
    family: str
    asked_kbps: float
    kbps: float
    file_kbps: float
    sounds: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True)
class Verdict:
    """Verdict on a goal.

    Attributes:
        kind: kind of the sounds.
        metric: title of the metric.
        system: name of the system with the goal.
        relation: ``"≥"``, ``">"``, ``"≤"`` or ``"<"``.
        rival: name of the other system, or a number.
        left: mean of the system; None if not measured.
        right: mean of the rival.
        advantage: mean difference, sound by sound; positive where the system is better.
        met: whether the goal is met; None if not measured.
    """

    kind: str
    metric: str
    system: str
    relation: str
    rival: str
    left: float | None
    right: float | None
    advantage: Interval | None
    met: bool | None
