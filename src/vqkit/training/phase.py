"""A run is a list of phases, one after the other: who learns, how, for how long, and what happens on entry.

"Without the quantizer first", "the adversary from step N", "the decoder alone, codes frozen" and an encoder that waits while a tokenizer
learns are all phases. A phase that has its own `Optimisation` starts a new optimizer and its own schedule; the others go on with the
run's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vqkit.training.optimisation import Optimisation

__all__ = ["EntryAction", "Phase", "Span", "spans"]


class EntryAction(Protocol):
    """What a phase does before its first step or after its last one; its class is named in a recipe."""

    def __call__(self, module: Any) -> None:
        """Act on the module that is trained. Every rank calls it, and must end with the same weights."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of steps.

    Args:
        name: name for logs and messages.
        steps: how many; None takes those that the phases with a number leave: all of them, or its ``share``.
        share: share of the steps that are left, in proportion to the shares of the other phases without a number of steps.
        trains: parts of the module that learn, by the names of its submodules; None lets all learn. Others are frozen: no gradient, no
            moving averages, no revival of codes.
        optimisation: settings of this phase alone, with a new optimizer; None goes on with that of the run.
        on_entry: what happens before the first step.
        on_exit: what happens after the last step.

    Raises:
        ValueError: fewer than 0 steps, a share that is not positive or stands beside a number of steps, or nothing trains.
    """

    name: str
    steps: int | None = None
    share: float | None = None
    trains: tuple[str, ...] | None = None
    optimisation: Optimisation | None = None
    on_entry: tuple[EntryAction, ...] = ()
    on_exit: tuple[EntryAction, ...] = ()

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"phase {self.name!r} has steps={self.steps}, they must be at least 0")
        if self.share is not None and (not self.share > 0 or self.steps is not None):
            raise ValueError(
                f"phase {self.name!r} has share={self.share} and steps={self.steps}: give a positive share, or steps"
            )
        if self.trains is not None and not self.trains:
            raise ValueError(f"phase {self.name!r} trains nothing: name what learns, or leave trains out")


@dataclass(frozen=True)
class Span:
    """Where a phase lies in a run.

    Attributes:
        phase: the phase.
        first: its first step.
        steps: number of steps.
    """

    phase: Any
    first: int
    steps: int


def spans(phases: Sequence[Phase], steps: int) -> list[Span]:
    """Lay phases out over a run.

    Phases that do not fit any more are cut short or left out, so that a run can be tried with few steps.

    Args:
        phases: phases in order.
        steps: number of steps of the run.

    Returns:
        Spans that follow each other from step 0, each of at least one step.

    Raises:
        ValueError: no phase, several without a number of steps or a share, or fewer steps in the phases than in the run.

    Example:
        >>> [(span.phase.name, span.first, span.steps) for span in spans([Phase(name="a", steps=3), Phase(name="b")], 10)]
        [('a', 0, 3), ('b', 3, 7)]
        >>> [span.steps for span in spans([Phase(name=name, share=share) for name, share in (("a", 3), ("b", 1))], 10)]
        [8, 2]
    """
    open_ended = [phase.name for phase in phases if phase.steps is None]
    shares = [phase.share for phase in phases if phase.share is not None]
    if not phases or (len(open_ended) > 1 and len(shares) < len(open_ended)):
        raise ValueError(
            f"only one phase may be without a number of steps, unless all those have shares, got {open_ended or 'no phase'}"
        )
    fixed = sum(phase.steps or 0 for phase in phases)
    if not open_ended and fixed < steps:
        raise ValueError(
            f"the run has {steps} steps, its phases {fixed}: leave the steps of one phase out, or take {fixed}"
        )
    found, first, left, taken = [], 0, max(0, steps - fixed), 0.0
    whole = sum(shares) or 1.0
    for phase in phases:
        if phase.steps is None:
            # rounded ends, not rounded lengths, so that all add up to what is left
            before, taken = taken, taken + (phase.share or whole) / whole
            length = round(taken * left) - round(before * left)
        else:
            length = phase.steps
        length = min(length, steps - first)
        if length:
            found.append(Span(phase, first, length))
        first += length
    return found
