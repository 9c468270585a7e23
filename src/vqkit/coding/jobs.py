"""Jobs of a run: the pairs of source and target for a file, a pipe, or a folder that is mirrored."""

import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqkit.coding.kind import Kind
from vqkit.coding.names import VQK, distinct_names
from vqkit.data.folders import dangling, entries, sort_of

__all__ = ["PIPE", "UNKNOWN", "Job", "checked_jobs", "find_jobs"]

PIPE = "-"
UNKNOWN = "neither sound nor an image"  # why a file is passed over that is nothing we know


@dataclass(frozen=True)
class Job:
    """Conversion of one file into another.

    Attributes:
        source: ``"-"`` is standard input.
        target: ``"-"`` is standard output.
        kind: kind of the content, once it is known.
        fault: reason why the job cannot be done, if that is known already.
        passed_over: reason why an entry of a folder is passed over, such as one that is no file; "" for a job to be done.
        exists: the target is there already and stays.
    """

    source: str
    target: str
    kind: Kind | None = None
    fault: str = ""
    passed_over: str = ""
    exists: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the job is still to be done."""
        return not (self.fault or self.passed_over or self.exists)


def find_jobs(
    source: str,
    target: str | None,
    suffixes: Collection[str],
    names: Callable[[Path], Sequence[str]],
    kind_of: Callable[[Path], Kind | None] | None = None,
) -> list[Job]:
    """List the jobs of a source, sorted by name.

    Args:
        source: a file, ``"-"``, or a folder, of which all files with one of the suffixes are taken. Hidden ones are passed over; so are
            links to folders and what is no file, which have jobs that say so.
        target: file or ``"-"``; for a folder a folder that will have the same tree. Beside the source by default.
        suffixes: suffixes of a folder's files, in lower case.
        names: names that the target of a source may get, the best first, of which the last is no other source's.
        kind_of: tells a folder's files by their content; then the suffixes do not matter, and what is nothing we know has a job that
            says so. ``.vqk`` files are passed over.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: a folder without such files, or a folder that shall become a file.

    Example:
        >>> from vqkit.coding.names import encoded_names
        >>> job = find_jobs(__file__, "out/", [], encoded_names)[0]
        >>> Path(job.source).name, Path(job.target).as_posix()
        ('jobs.py', 'out/jobs.vqk')
    """
    path = Path(source)
    if source == PIPE:
        return [Job(PIPE, PIPE if target is None else target)]
    if path.is_dir():
        return _mirrored(path, path if target is None else Path(target), suffixes, names, kind_of)
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{source} is {dangling(path)}")
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if target is None:
        return [Job(source, str(path.with_name(names(path)[0])))]
    if target != PIPE and (Path(target).is_dir() or target.endswith(("/", os.sep))):
        return [Job(source, str(Path(target) / names(path)[0]))]
    return [Job(source, target)]


def checked_jobs(jobs: Sequence[Job], *, overwrite: bool, skip: bool, folder: bool) -> list[Job]:
    """Return the jobs with all that can be known about their targets before anything begins.

    Args:
        jobs: jobs of `find_jobs`.
        overwrite: replace targets that exist.
        skip: leave out jobs whose targets exist; otherwise that is a fault.
        folder: the jobs are of a folder, where a target is never a device.
    """
    sources: dict[tuple[int, int], str] = {}
    for job in jobs:
        if job.source != PIPE and (found := _state(job.source)) is not None:
            sources[found.st_dev, found.st_ino] = job.source
    return [_checked(job, sources, overwrite, skip, folder) if job.is_open else job for job in jobs]


def _checked(job: Job, sources: dict[tuple[int, int], str], overwrite: bool, skip: bool, folder: bool) -> Job:
    if job.target == PIPE:
        return job
    try:
        found = os.stat(job.target)
    except FileNotFoundError:
        link = Path(job.target)
        return replace(job, fault=f"{job.target} is {dangling(link)}") if link.is_symlink() else job
    except OSError as error:
        return replace(job, fault=str(error))
    mode = found.st_mode
    if (lost := sources.get((found.st_dev, found.st_ino))) is not None and stat.S_ISREG(mode):
        which = "the source itself" if lost == job.target else f"the same file as the source {lost}"
        return replace(job, fault=f"{job.target} is {which}, which would be lost")
    if stat.S_ISDIR(mode):
        return replace(job, fault=f"cannot write {job.target}: it is a folder")
    if not stat.S_ISREG(mode):
        return replace(job, fault=f"cannot write {job.target}: it is {sort_of(mode)}") if folder else job
    if skip:
        return replace(job, exists=True)
    return job if overwrite else replace(job, fault=f"{job.target} exists; -f overwrites it")


def _mirrored(
    folder: Path,
    target: Path,
    suffixes: Collection[str],
    names: Callable[[Path], Sequence[str]],
    kind_of: Callable[[Path], Kind | None] | None,
) -> list[Job]:
    if str(target) == PIPE or (target.exists() and not target.is_dir()):
        raise ValueError(f"{folder} is a folder, so the target must be one, got {target}")
    files, others = _walk(folder, suffixes, kind_of)
    beside = distinct_names({path: names(path) for path in files})
    jobs = [Job(str(path), str(target / becomes.relative_to(folder)), files[path]) for path, becomes in beside.items()]
    if not any(job.fault for job in others) and not jobs:
        passed = f"; {others[0].source} is {others[0].passed_over}" if others else ""
        raise ValueError(f"{folder} holds no files that end in {' '.join(sorted(suffixes))}{passed}")
    return sorted([*jobs, *others], key=lambda job: Path(job.source))


def _walk(
    folder: Path, suffixes: Collection[str], kind_of: Callable[[Path], Kind | None] | None
) -> tuple[dict[Path, Kind | None], list[Job]]:
    """Walk a folder; return its files with their kinds, if requested, and the entries that are named instead of being done."""
    files: dict[Path, Kind | None] = {}
    others: list[Job] = []
    for entry in entries(folder):
        wanted = entry.path.suffix.lower() in suffixes or entry.is_folder
        if entry.problem and wanted and not entry.is_link:
            others.append(Job(str(entry.path), "", fault=f"{entry.path} is {entry.problem}"))
        elif entry.problem:
            others.append(Job(str(entry.path), "", passed_over=entry.problem))
        elif kind_of is None:
            files |= {entry.path: None} if wanted else {}
        elif entry.path.suffix.lower() != VQK:
            try:
                kind = kind_of(entry.path)
            except OSError as error:
                others.append(Job(str(entry.path), "", fault=f"{entry.path} is not readable: {error.strerror}"))
                continue
            if kind is None:
                others.append(Job(str(entry.path), "", passed_over=UNKNOWN))
            else:
                files[entry.path] = kind
    return dict(sorted(files.items())), others


def _state(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
