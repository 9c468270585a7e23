"""Which files become which: one file, a pipe, or a folder that is mirrored."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from vqkit.coding.kind import Kind

__all__ = ["PIPE", "Job", "find_jobs"]

PIPE = "-"


@dataclass(frozen=True)
class Job:
    """One file to be made of another.

    Attributes:
        source: ``"-"`` is standard input.
        target: ``"-"`` is standard output.
        kind: of the content, once it is known.
        fault: why it cannot be done, if that is known already.
    """

    source: str
    target: str
    kind: Kind | None = None
    fault: str = ""


def find_jobs(
    source: str, target: str | None, suffixes: Collection[str], suffix: str | Callable[[Path], str]
) -> list[Job]:
    """What to do, sorted by name.

    Args:
        source: a file, ``"-"``, or a folder, of which all files with one of the suffixes are taken; hidden ones are passed over.
        target: file or ``"-"``; for a folder a folder that will have the same tree. Beside the source by default.
        suffixes: of a folder's files, in lower case.
        suffix: of the targets, or what tells it from the source.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: a folder without such files, two files that would become one, or a folder that shall become a file.

    Example:
        >>> find_jobs("-", None, [], ".vqk"), find_jobs(__file__, "out/", [], ".vqk")[0].target.replace(os.sep, "/")
        ([Job(source='-', target='-', kind=None, fault='')], 'out/jobs.vqk')
    """
    path = Path(source)
    suffix_of = suffix if callable(suffix) else lambda _: suffix
    if source == PIPE:
        return [Job(PIPE, PIPE if target is None else target)]
    if path.is_dir():
        return _mirrored(path, path if target is None else Path(target), suffixes, suffix_of)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if target is None:
        return [Job(source, str(path.with_suffix(suffix_of(path))))]
    if target != PIPE and (Path(target).is_dir() or target.endswith(("/", os.sep))):
        return [Job(source, str(Path(target) / path.with_suffix(suffix_of(path)).name))]
    return [Job(source, target)]


def _mirrored(folder: Path, target: Path, suffixes: Collection[str], suffix_of: Callable[[Path], str]) -> list[Job]:
    if str(target) == PIPE or target.is_file():
        raise ValueError(f"{folder} is a folder, so the target must be one, got {target}")
    sources: dict[Path, Path] = {}
    for name in sorted(_names(folder, suffixes)):
        becomes = target / name.with_suffix(suffix_of(folder / name))
        if becomes in sources:
            raise ValueError(f"{sources[becomes]} and {folder / name} would both become {becomes}; give one by itself")
        sources[becomes] = folder / name
    if not sources:
        raise ValueError(f"{folder} holds no files that end in {' '.join(sorted(suffixes))}")
    return [Job(str(path), str(becomes)) for becomes, path in sources.items()]


def _names(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in suffixes:
                yield (Path(parent) / file).relative_to(folder)
