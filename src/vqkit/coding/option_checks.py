"""What ``vqkit encode`` and ``vqkit decode`` refuse before anything is read: options that do not fit each other, or the files."""

import argparse
from pathlib import Path

from vqkit.coding.jobs import PIPE, Job
from vqkit.coding.kind import Kind
from vqkit.coding.kinds import KINDS, SOUND, kind_named
from vqkit.coding.names import VQK
from vqkit.coding.rate import Rate

__all__ = [
    "WRITTEN",
    "check_kinds",
    "check_megapixels",
    "check_rate",
    "check_sound_options",
    "check_target",
    "shown_source",
]

WRITTEN = tuple(suffix for kind in KINDS for suffix in kind.written)
"""Suffixes of the files that decoding writes."""


def check_megapixels(asked: argparse.Namespace) -> None:
    """Refuse a limit of pixels that nothing keeps to."""
    if not asked.max_megapixels > 0:
        raise ValueError(f"--max-megapixels is {asked.max_megapixels:g}, it must be more than 0")


def check_target(target: Path, form: str | None) -> None:
    """Refuse a target that decoding cannot write, or of another format than ``--to`` says."""
    suffix = target.suffix.lower()
    if suffix == VQK:
        raise ValueError(f"{target}: decoding makes sound, images or video; `vqkit encode` makes {VQK} files of them")
    if suffix not in WRITTEN:
        raise ValueError(f"cannot write {target}: the suffix is {suffix!r}, allowed are {', '.join(WRITTEN)}")
    if form is not None and suffix != f".{form}":
        raise ValueError(f"--to {form} and the suffix of {target} disagree")


def check_kinds(jobs: list[Job], wished: Kind | None, form: str | None) -> None:
    """Refuse a requested format that is of another kind than the files."""
    kinds = {job.kind for job in jobs if job.kind is not None}
    if wished is not None and kinds and wished not in kinds:
        raise ValueError(f"--to {form} is for {wished.name}, and {jobs[0].source} holds {next(iter(kinds)).name}")
    job = jobs[0]
    if len(jobs) == 1 and job.kind is not None and job.target != PIPE and kind_named(job.target) != job.kind:
        raise ValueError(f"{job.source} holds {job.kind.name}, and {job.target} would be {kind_named(job.target).name}")


def check_rate(rate: Rate, jobs: list[Job]) -> None:
    """Refuse rates that leave some file without one, or that apply to no file."""
    for name in dict.fromkeys(kind.rate for kind in KINDS):
        if getattr(rate, name) is None or not jobs:
            continue
        limited = " and ".join(kind.name for kind in KINDS if kind.rate == name)
        if all(job.kind is None or job.kind.rate != name for job in jobs):
            raise ValueError(f"--{name} is for {limited}, and {shown_source(jobs[0])} is not: {_rates(jobs[0].kind)}")
        for job in jobs:
            if job.kind is not None and getattr(rate, job.kind.rate) is None:
                raise ValueError(
                    f"--{name} is for {limited}, and {shown_source(job)} is not: give --{job.kind.rate}, too, or --stages or --max-bytes"
                )


def check_sound_options(asked: argparse.Namespace, jobs: list[Job]) -> None:
    """Refuse options of sound where there is none."""
    for name in ("strict", "level_rounds", "refine_steps"):
        if getattr(asked, name) not in (None, False) and jobs and all(job.kind not in (None, SOUND) for job in jobs):
            raise ValueError(f"--{name.replace('_', '-')} is for sound, and {shown_source(jobs[0])} is not")


def _rates(kind: Kind | None) -> str:
    return f"give {'--' + kind.rate + ', ' if kind is not None else ''}--stages or --max-bytes"


def shown_source(job: Job) -> str:
    """The source of a job in words."""
    return "standard input" if job.source == PIPE else job.source
