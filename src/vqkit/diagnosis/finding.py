"""What an examination finds: the cause, where, how it shows, and a change to make with the gain that was measured for it."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Cause", "Finding", "Gain", "Severity"]


class Cause(StrEnum):
    """Why a quantizer is worse than it could be."""

    TOO_FEW_VECTORS = "too few vectors"
    DEAD_START = "dead start"
    SCALE = "scale mismatch"
    NO_REVIVAL = "dead codes"
    DRIFT = "drifting codes"
    BALANCE = "unbalanced latent"
    OUTLIERS = "outlying vectors"
    MASK = "leaking mask"
    RANKS = "unsynced ranks"
    IDLE_STAGE = "idle stage"
    SIZES = "codebook sizes"
    SKEW = "skewed codes"


class Severity(StrEnum):
    """A fault is something broken; an advice something that works and could be better."""

    FAULT = "fault"
    ADVICE = "advice"


@dataclass(frozen=True)
class Gain:
    """What a change is worth, measured on vectors that the change was not fitted to.

    Attributes:
        change: What was tried, in a few words.
        what: The quantity, ``"error"`` (share of the vectors' variance that is lost) or ``"bits"`` (a vector, as real bytes).
        before: Its value as it is.
        after: Its value with the change.
    """

    change: str
    what: str
    before: float
    after: float

    @property
    def decibels(self) -> float:
        """10·log10(before / after); inf where nothing is left."""
        if self.after <= 0:
            return math.inf if self.before > 0 else 0.0
        return 10 * math.log10(self.before / self.after) if self.before > 0 else -math.inf

    def __str__(self) -> str:
        if self.what == "error":
            return (
                f"{self.change}: error {self.before:.3g} → {self.after:.3g} of the variance ({self.decibels:+.1f} dB)"
            )
        return f"{self.change}: {self.before:.4g} → {self.after:.4g} {self.what} a vector ({self.after / self.before - 1:+.0%})"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        cause: What is wrong.
        severity: A fault, or an advice.
        where: Parts of the quantizer it concerns; empty where it is all of it.
        evidence: What was measured, a sentence.
        change: What to do, a sentence.
        gain: What the change is worth; None where that cannot be measured on the vectors.
    """

    cause: Cause
    severity: Severity
    where: tuple[str, ...]
    evidence: str
    change: str
    gain: Gain | None = None

    def __str__(self) -> str:
        place = f" ({_listed(self.where)})" if self.where else ""
        gain = f"\n  measured: {self.gain}" if self.gain else ""
        return f"{self.severity}: {self.cause}{place}\n  {self.evidence}\n  change: {self.change}{gain}"

    def record(self) -> dict[str, Any]:
        """The finding as plain values, for JSON."""
        gain = None
        if self.gain is not None:
            decibels = self.gain.decibels
            gain = {**asdict(self.gain), "decibels": decibels if math.isfinite(decibels) else None}
        return {
            "cause": str(self.cause),
            "severity": str(self.severity),
            "where": list(self.where),
            "evidence": self.evidence,
            "change": self.change,
            "gain": gain,
        }


def _listed(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
