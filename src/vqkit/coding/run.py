"""Run of a command's jobs, with a line about each outcome."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TextIO

from vqkit.coding.jobs import PIPE, UNKNOWN, Job, checked_jobs
from vqkit.coding.kind import Kind
from vqkit.coding.progress import ProgressLine
from vqkit.coding.rate import Rate
from vqkit.coding.total import Total
from vqkit.coding.workers import Board, Outcome, Work, run_jobs
from vqkit.data.folders import unknown_files
from vqkit.terminal import printable

__all__ = ["Manner", "run"]


@dataclass(frozen=True)
class Manner:
    """Options of a run: processes, existing targets, and output.

    Attributes:
        processes: number of processes at once.
        force: overwrite targets that exist.
        skip: leave out files whose targets exist.
        quiet: print only warnings and errors.
        json: one JSON object a file, and for a folder one of the total.
        folder: a folder was named: a bad file is reported, and the others go on.
    """

    processes: int
    force: bool
    skip: bool
    quiet: bool
    json: bool
    folder: bool


def run(
    jobs: Sequence[Job], load: Callable[[], dict[Kind, Any]], work: Work, how: Manner, rate: Rate | None = None
) -> int:
    """Do the jobs and print a line for each, and for a folder the total.

    Args:
        jobs: jobs of `find_jobs`.
        load: loads a model for each kind of content.
        work: does one job.
        how: options of the run; see `Manner`.
        rate: a rate that the models must be able to keep to, found before anything begins.

    Returns:
        0, or 1 if a file was damaged or, in a folder, could not be done.

    Raises:
        ValueError: the only job cannot be done.
    """
    if jobs[0].target == PIPE and (sys.stdout is None or sys.stdout.isatty()):
        closed = "standard output is closed" if sys.stdout is None else "the file would go to the terminal"
        raise ValueError(f"{closed}: redirect standard output, or name a target")
    jobs = checked_jobs(jobs, overwrite=how.force, skip=how.skip, folder=how.folder)
    todo = [job for job in jobs if job.is_open]
    settled = [Outcome(job, None, job.fault) for job in jobs if not job.is_open]
    for outcome in settled:
        if not how.folder and outcome.error:
            raise _failed(outcome, how)
    # also where only other processes need them: what is wrong with them or the rate is said once
    models = load() if todo else {}
    if rate is not None:
        for kind, model in models.items():
            kind.check(model, rate)
    board, total = Board(len(todo)), Total()
    with ProgressLine(board, [_size(job) for job in todo], not how.quiet) as progress:

        def say(outcome: Outcome) -> None:
            total.add(outcome)
            for text, file in _lines(outcome, how):
                progress.print(text, file)

        for outcome in settled:
            say(outcome)
        if unknown := [job.source for job in jobs if job.passed_over == UNKNOWN]:
            progress.print(f"vqkit: passed over {printable(unknown_files(unknown))}", sys.stderr)
        for outcome in run_jobs(todo, models, work, board, load, how.processes, progress.show):
            if how.skip and outcome.appeared:  # another run was quicker
                outcome = replace(outcome, job=replace(outcome.job, exists=True), error="")
            if outcome.error and not how.folder:
                raise _failed(outcome, how)
            say(outcome)
    if how.folder and how.json:
        print(
            json.dumps({"source": "", "target": "", "notes": [], "warnings": [], "total": total.record()}), flush=True
        )
    elif how.folder and not how.quiet:
        print(total, flush=True)
    if total.failed:
        there = sum(outcome.error.endswith("; -f overwrites it") for outcome in settled)
        hint = f"; {there} of them exist already, and --skip-existing leaves these out" if there else ""
        print(f"vqkit: {total.failed} of {total.found} files failed{hint}", file=sys.stderr)
    return 1 if total.failed or total.damaged else 0


def _size(job: Job) -> float:
    with suppress(OSError):  # it may be gone, which is found out when it is read
        return 1.0 if job.source == PIPE else os.stat(job.source).st_size
    return 1.0


def _failed(outcome: Outcome, how: Manner) -> ValueError:
    """The error that ends a run of one file, which a program that reads lines is told as well."""
    if how.json:
        print(json.dumps(_record(outcome)), file=sys.stderr if outcome.job.target == PIPE else sys.stdout, flush=True)
    return ValueError(_error(outcome))


def _error(outcome: Outcome) -> str:
    """Return the error in one line that names the file."""
    source = "standard input" if outcome.job.source == PIPE else outcome.job.source
    named = outcome.job.source in outcome.error or (outcome.job.target and outcome.job.target in outcome.error)
    return outcome.error if named and outcome.job.source != PIPE else f"{source}: {outcome.error}"


def _lines(outcome: Outcome, how: Manner) -> Iterator[tuple[str, TextIO | None]]:
    job, coded = outcome.job, outcome.coded
    results = sys.stderr if job.target == PIPE else sys.stdout
    if how.json:
        yield json.dumps(_record(outcome)), results
    elif coded is not None and not how.quiet:
        up_to = "up to " * (coded.variable_stages and coded.stages > 1)  # every frame has one at least
        stages = f"{up_to}{coded.stages} stage{'s' * (coded.stages != 1)}"
        text = "; ".join([f"{job.source} → {job.target}: {coded.sizes()}, {stages}", *coded.notes])
        yield printable(text), results
    elif job.exists and not how.folder and not how.quiet:
        yield printable(f"{job.target} exists: skipped"), results
    if job.passed_over and job.passed_over != UNKNOWN:  # these are told together
        yield f"vqkit: {printable(job.source)} is passed over: it is {printable(job.passed_over)}", sys.stderr
    if outcome.error:
        yield f"vqkit: {printable(_error(outcome))}", sys.stderr
    for warning in coded.warnings if coded is not None else ():
        yield printable(f"vqkit: warning: {job.source}: {warning}"), sys.stderr


def _record(outcome: Outcome) -> dict[str, object]:
    job, coded = outcome.job, outcome.coded
    if job.passed_over:
        return {"source": job.source, "passed_over": job.passed_over}
    names = {"source": job.source, "target": job.target}
    if job.exists:
        return {**names, "skipped": True}
    if coded is None:
        return {**names, "error": outcome.error}
    return {
        **names,
        **coded.record(),
        "stages": coded.stages,
        "notes": list(coded.notes),
        "warnings": list(coded.warnings),
    }
