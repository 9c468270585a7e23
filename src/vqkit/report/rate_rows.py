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
        system: name.
        family: systems of one family are one curve.
        asked_kbps: the rate asked for, in kbit/s.
        kbps: measured, of the codec's packets.
        file_kbps: measured, of the whole files.
        sounds: how many were coded.
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
    """A goal, and whether it is met.

    Attributes:
        kind: kind of the sounds.
        metric: its title.
        system: whose goal it is.
        relation: ``"≥"``, ``">"``, ``"≤"`` or ``"<"``.
        rival: name of the other system, or a number.
        left: mean of the system; None if not measured.
        right: mean of the rival.
        advantage: how much better the system is, sound by sound; positive is better.
        met: None if not measured.
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
