"""Do what a command was asked for, and say what became of it."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from vqkit.coding.jobs import PIPE, Job
from vqkit.coding.kind import Kind
from vqkit.coding.progress import ProgressLine
from vqkit.coding.rate import Rate
from vqkit.coding.workers import Board, Outcome, Work, run_jobs

__all__ = ["Manner", "run"]


@dataclass(frozen=True)
class Manner:
    """How to go about it.

    Attributes:
        processes: at once.
        force: overwrite targets that exist.
        quiet: print only warnings and errors.
        json: one JSON object a file.
        folder: a folder was named: a bad file is reported, and the others go on.
    """

    processes: int
    force: bool
    quiet: bool
    json: bool
    folder: bool


def run(
    jobs: Sequence[Job], load: Callable[[], dict[Kind, Any]], work: Work, how: Manner, rate: Rate | None = None
) -> int:
    """Do the jobs and print a line for each.

    Args:
        jobs: of `find_jobs`.
        load: makes a model for each kind of content.
        work: does one job.
        how: see `Manner`.
        rate: that the models must be able to keep to, found before anything begins.

    Returns:
        0, or 1 if a file was damaged or, in a folder, could not be done.

    Raises:
        ValueError: the only job cannot be done.
    """
    if jobs[0].target == PIPE and sys.stdout.isatty():
        raise ValueError("the file would go to the terminal: redirect standard output, or name a target")
    faults = {job: fault for job in jobs if (fault := _fault(job, how.force))}
    free = [job for job in jobs if job not in faults]
    refused = [Outcome(job, None, fault) for job, fault in faults.items()]
    if refused and not how.folder:
        raise ValueError(_error(refused[0]))
    models = load()  # also where only other processes need them: what is wrong with them or the rate is said once
    if rate is not None:
        for kind, model in models.items():
            kind.check(model, rate)
    board = Board(len(free))
    failed = damaged = 0
    with ProgressLine(board, [_size(job) for job in free], not how.quiet and sys.stderr.isatty()) as progress:
        outcomes = run_jobs(free, models, work, board, load, how.processes, progress.show)
        for outcome in chain(refused, outcomes):
            if outcome.coded is None and not how.folder:
                raise ValueError(_error(outcome))
            for text, file in _lines(outcome, how):
                progress.print(text, file)
            failed += outcome.coded is None
            damaged += outcome.coded is not None and bool(outcome.coded.warnings)
    if failed:
        print(f"vqkit: {failed} of {len(jobs)} files failed", file=sys.stderr)
    return 1 if failed or damaged else 0


def _fault(job: Job, force: bool) -> str:
    exists = not force and job.target != PIPE and Path(job.target).is_file()
    return job.fault or (f"{job.target} exists; -f overwrites it" if exists else "")


def _size(job: Job) -> float:
    return 1.0 if job.source == PIPE else Path(job.source).stat().st_size


def _error(outcome: Outcome) -> str:
    """One line that names the file."""
    source = "standard input" if outcome.job.source == PIPE else outcome.job.source
    named = outcome.job.source in outcome.error or outcome.job.target in outcome.error
    return outcome.error if named and outcome.job.source != PIPE else f"{source}: {outcome.error}"


def _lines(outcome: Outcome, how: Manner) -> Iterator[tuple[str, TextIO]]:
    job, coded = outcome.job, outcome.coded
    results = sys.stderr if job.target == PIPE else sys.stdout
    if how.json:
        yield json.dumps(_record(outcome)), results
    elif coded is not None and not how.quiet:
        stages = f"{coded.stages} stage{'s' * (coded.stages != 1)}"
        yield "; ".join([f"{job.source} → {job.target}: {coded.sizes()}, {stages}", *coded.notes]), results
    if coded is None:
        yield f"vqkit: {_error(outcome)}", sys.stderr
    else:
        for warning in coded.warnings:
            yield f"vqkit: warning: {job.source}: {warning}", sys.stderr


def _record(outcome: Outcome) -> dict[str, object]:
    names = {"source": outcome.job.source, "target": outcome.job.target}
    coded = outcome.coded
    if coded is None:
        return {**names, "error": outcome.error}
    return {
        **names,
        **coded.record(),
        "stages": coded.stages,
        "notes": list(coded.notes),
        "warnings": list(coded.warnings),
    }
