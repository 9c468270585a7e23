"""What can be wrong with codebooks: each rule looks at those that no rule before it has blamed."""

import math
from collections.abc import Iterator

from vqkit.diagnosis.evidence import NOTHING_LEFT, Evidence, best_gain, decibels_between
from vqkit.diagnosis.finding import Cause, Finding, Severity
from vqkit.diagnosis.measures import BookUse
from vqkit.diagnosis.trace import BookTrace

__all__ = ["CODEBOOK_RULES"]

_ENOUGH = 8  # vectors a code, below which the use of codes says little
_NARROW = 0.2  # width of the codes over that of the vectors
_DEAD = 0.1  # share of a codebook
_COPIES = 0.05  # share of a codebook
_DRIFT = 0.1  # share of the error
_SCALE_DB = 1.0  # that rescaling gains
_TAIL = 0.5  # of the variance, in a hundredth of the vectors
_IDLE_DB, _IDLE_LOST_DB = 0.1, 0.5  # what a stage gains, and what it could


def _books(evidence: Evidence, blamed: set[str]) -> Iterator[tuple[BookUse, BookTrace]]:
    for use, trace in zip(evidence.measures.books, evidence.traces, strict=True):
        if use.name not in blamed:
            yield use, trace


def _repeated(trace: BookTrace) -> int:
    return len(trace.table) - len(trace.table.unique(dim=0))


def _few(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    # codes that are equal number for number need no vectors to be seen: they are left to a later rule
    few = [
        use
        for use, trace in _books(evidence, blamed)
        if use.vectors < _ENOUGH * use.codes and _repeated(trace) <= _COPIES * use.codes
    ]
    if few:
        worst = min(few, key=lambda use: use.vectors / use.codes)
        yield Finding(
            Cause.TOO_FEW_VECTORS,
            Severity.ADVICE,
            tuple(use.name for use in few),
            f"{worst.vectors} vectors searched {worst.codes} codes; whether codes are in use cannot be told from so few.",
            f"examine at least {_ENOUGH * worst.codes} vectors, and fit to at least as many.",
        )


def _start(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    books = list(_books(evidence, blamed))
    waiting = [use for use, trace in books if trace.book.waits()]
    if waiting:
        yield Finding(
            Cause.DEAD_START,
            Severity.FAULT,
            tuple(use.name for use in waiting),
            f"{len(waiting)} codebooks still wait for the k-means of their first training batch.",
            "train a step, or call fit(vectors).",
            best_gain(evidence, evidence.trials.refit),
        )
    unmoved = []
    for use, trace in books:
        start = trace.at_start()
        unused = use.dead > _DEAD * use.codes and int((trace.dead & start).sum()) > 0.5 * use.dead
        narrow = use.scale < _NARROW and int(start.sum()) > 0.5 * use.codes
        if use not in waiting and (unused or narrow):
            unmoved.append((use, int(start.sum())))
    if unmoved:
        codes, dead = (sum(getattr(use, name) for use, _ in unmoved) for name in ("codes", "dead"))
        at_start = sum(count for _, count in unmoved)
        yield Finding(
            Cause.DEAD_START,
            Severity.FAULT,
            tuple(use.name for use, _ in unmoved),
            f"{at_start} of {codes} codes still lie in ±1/K around 0, where they started and the vectors are not; {dead} are unused.",
            'use init="kmeans" (or call fit before training) and revive="split".',
            best_gain(evidence, evidence.trials.refit, evidence.trials.revival),
        )


def _scale(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    trials, error = evidence.trials, evidence.measures.error
    if trials.rescaled is None or error < NOTHING_LEFT:
        return
    gained = decibels_between(error, trials.rescaled.error)
    possible = decibels_between(error, trials.refit.error) if trials.refit else gained
    if gained < _SCALE_DB or gained < 0.5 * possible:
        return
    if evidence.measures.books and possible < _SCALE_DB:
        return  # codes that a fit puts where they are lie right: a number of its own makes up for the few that there are
    books = [use for use, _ in _books(evidence, blamed)]
    if evidence.measures.books and not books:
        return
    sizes = ", ".join(f"{use.name}: codes {use.scale:.2g} × as wide, {use.offset:.2g} spreads off" for use in books[:2])
    yield Finding(
        Cause.SCALE,
        Severity.FAULT,
        tuple(use.name for use in books),
        f"The vectors are not where the codes are: {trials.rescaled.change} and {gained:.1f} dB are won"
        + (f" ({sizes})." if sizes else "."),
        "normalise the latent before the quantizer (or undo what changed its scale), or refit.",
        best_gain(evidence, trials.rescaled, trials.refit),
    )


def _idle(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    refit = evidence.trials.refit
    stages = evidence.measures.stages
    if refit is None or len(refit.stages) != len(stages) or blamed:
        return
    idle, before, refit_before = [], 1.0, 1.0
    for index, (stage, energy) in enumerate(zip(stages, refit.stages, strict=True)):
        possible = decibels_between(refit_before, energy)
        if before > NOTHING_LEFT and stage.gain_db < _IDLE_DB and index and possible > _IDLE_LOST_DB:
            idle.append(index)
        before, refit_before = stage.energy, energy
    if idle:
        yield Finding(
            Cause.IDLE_STAGE,
            Severity.FAULT,
            tuple(f"stage {index + 1}" for index in idle),
            f"{len(idle)} stages lower the error by less than {_IDLE_DB} dB, and could by more than {_IDLE_LOST_DB}.",
            "refit, or train these stages: with stage dropout the last ones see few vectors.",
            best_gain(evidence, refit),
        )


def _outliers(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    tail = evidence.measures.tail
    books = [use for use, _ in _books(evidence, blamed)]
    if tail < _TAIL or evidence.measures.vectors < 100 or not books:
        return
    yield Finding(
        Cause.OUTLIERS,
        Severity.FAULT,
        tuple(use.name for use in books),
        f"A hundredth of the vectors holds {tail:.0%} of the variance: error, scale and fits are about these few, and the codes for all "
        "others lie close together.",
        "find out where they come from (clicks, wrong units, a layer that overflows); clip or normalise the latent, and refit.",
    )


def _twice(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    found = []
    for use, trace in _books(evidence, blamed):
        again = _repeated(trace)
        if again > _COPIES * use.codes and use.error > NOTHING_LEFT:
            found.append((use, again))
    if found:
        worst, again = max(found, key=lambda pair: pair[1] / pair[0].codes)
        yield Finding(
            Cause.NO_REVIVAL,
            Severity.FAULT,
            tuple(use.name for use, _ in found),
            f"{again} of {worst.codes} codes ({worst.name}) are equal to another code, number for number, which every vector finds first: "
            "no training ends there.",
            "find out what filled the table (a checkpoint that was tiled or read in part); then refit.",
            best_gain(evidence, evidence.trials.revival, evidence.trials.refit),
        )


def _copies(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    copied = [use for use, _ in _books(evidence, blamed) if use.copies > _COPIES * use.codes and use.scale > _NARROW]
    if copied and evidence.measures.error > NOTHING_LEFT:
        worst = max(copied, key=lambda use: use.copies / use.codes)
        yield Finding(
            Cause.TOO_FEW_VECTORS,
            Severity.FAULT,
            tuple(use.name for use in copied),
            f"{worst.copies} of {worst.codes} codes ({worst.name}) are copies of another code with a little noise: k-means had fewer "
            "vectors than codes.",
            f"start from a batch of at least {_ENOUGH * worst.codes} vectors, or choose a smaller codebook.",
            best_gain(evidence, evidence.trials.refit),
        )


def _dead(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    found: dict[str, list[tuple[BookUse, int]]] = {}
    for use, trace in _books(evidence, blamed):
        # of codes that a fair share of the vectors chose some are missing by chance
        by_chance = use.codes * math.exp(-use.vectors / use.codes)
        if use.dead - by_chance > _DEAD * use.codes:
            found.setdefault(trace.book.revive, []).append((use, int(trace.far().sum())))
    for revive, books in found.items():
        dead, codes = sum(use.dead for use, _ in books), sum(use.codes for use, _ in books)
        far = sum(count for _, count in books)
        where = "far from every vector" if far > dead / 2 else "among the vectors, behind other codes"
        change = (
            'use revive="split", or refit'
            if revive in ("none", "restart")
            else "refit, or train on with a larger restart_threshold"
        )
        yield Finding(
            Cause.NO_REVIVAL,
            Severity.FAULT,
            tuple(use.name for use, _ in books),
            f"{dead} of {codes} codes are unused and lie {where}; these codebooks have revive={revive!r}.",
            f"{change}.",
            best_gain(evidence, evidence.trials.revival, evidence.trials.refit),
        )


def _drift(evidence: Evidence, blamed: set[str]) -> Iterator[Finding]:
    drifted = [use for use, _ in _books(evidence, blamed) if use.drift > _DRIFT and use.error > NOTHING_LEFT]
    if drifted:
        worst = max(drifted, key=lambda use: use.drift)
        yield Finding(
            Cause.DRIFT,
            Severity.FAULT,
            tuple(use.name for use in drifted),
            f"Codes do not lie at the mean of the vectors that choose them; moving them there removes {worst.drift:.0%} of the error "
            f"of {worst.name}: the latent moved on and the codes did not follow.",
            "lower decay (or raise the codebook's learning rate), slow the encoder down at the end of training, or refit.",
            best_gain(evidence, evidence.trials.refit),
        )


CODEBOOK_RULES = (_few, _start, _outliers, _scale, _idle, _twice, _copies, _dead, _drift)
"""The rules, in the order in which they are asked for a cause."""
