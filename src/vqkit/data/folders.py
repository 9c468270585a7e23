"""Data sets kept as folders: the files, and what their folders' names say."""

import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vqkit.data.content import content_of_file
from vqkit.modality import MODALITIES, Modality, modality_of_content

SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Entry:
    """Entry of a folder.

    Attributes:
        path: path of the entry.
        problem: why the entry cannot be read as a file, in words that continue "it is"; "" for a file.
        is_folder: whether it is a folder that cannot be read, or a link to one; readable folders have entries for their contents.
        is_link: whether it is a link to a folder, which is not followed: it may lead back to itself, or out of the named folder.
    """

    path: Path
    problem: str = ""
    is_folder: bool = False
    is_link: bool = False


def entries(folder: Path) -> Iterator[Entry]:
    """Yield all entries under a folder but hidden ones. Nothing is opened: a named pipe in it would wait for ever."""
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            path = Path(parent) / name
            if path.is_symlink():
                folders.remove(name)
                yield Entry(path, "a link to a folder, which is not followed", is_folder=True, is_link=True)
        for name in sorted(files):
            if not name.startswith("."):
                path = Path(parent) / name
                yield Entry(path, no_file(path))
    for error in unreadable:
        yield Entry(Path(error.filename), f"not readable: {error.strerror}", is_folder=True)


def no_file(path: Path) -> str:
    """Return why a path is no regular file, in words that continue "it is"; "" for a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return dangling(path)
    except OSError as error:
        return f"not readable: {error.strerror}"
    return "" if stat.S_ISREG(mode) else sort_of(mode)


def sort_of(mode: int) -> str:
    """Describe an entry that is no regular file by its mode, as an object for "it is"."""
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe, not a file"
    return "a socket, not a file" if stat.S_ISSOCK(mode) else "a device, not a file"


def dangling(path: Path) -> str:
    """Describe a path at which nothing lies: a broken link, or gone."""
    try:
        return f"a link to {os.readlink(path)}, which does not exist"
    except OSError:
        return "gone"


def walk(folder: Path, suffixes: frozenset[str], wanted: Callable[[Path], bool | None] | None = None) -> Iterator[str]:
    """Yield the names of the files under a folder that are of one modality; hidden files and folders are passed over.

    What cannot be read (a link to nothing or to a folder, a named pipe, a folder without permission) is passed over with a warning. So
    are files of other modalities and those that are nothing we know, counted in one warning.

    Args:
        folder: folder to search.
        suffixes: suffixes of the modality, in lower case.
        wanted: whether a file is of the modality, by its content; None where it is unknown. By its suffix alone by default.
    """
    left_out: list[str] = []
    for entry in entries(folder):
        named = entry.path.suffix.lower() in suffixes
        if entry.problem:
            if named or entry.is_folder:
                warnings.warn(f"passed over {entry.path}: it is {entry.problem}", stacklevel=3)
            continue
        name = entry.path.relative_to(folder).as_posix()
        if named if wanted is None else wanted(entry.path):
            yield name
        elif wanted is not None:
            left_out.append(name)
    if left_out and (what := described(folder, left_out)):
        warnings.warn(f"passed over {what} in {folder}", stacklevel=3)


def described(folder: Path, names: Sequence[str]) -> str:
    """Describe what was left out of a folder: files of each modality, counted, and those of unknown content; not ``.vqk`` files.

    Args:
        folder: the folder.
        names: paths within it.
    """
    found: Counter[Modality] = Counter()
    unknown = []
    for name in names:
        content: str = ""
        with suppress(OSError):
            content = content_of_file(folder / name)
        if modality := modality_of_content(content):
            found[modality] += 1
        elif content != "vqk":
            unknown.append(name)
    parts = [modality.count(found[modality]) for modality in MODALITIES if found[modality]]
    return " and ".join([*parts, *([unknown_files(unknown)] if unknown else [])])


def unknown_files(names: Sequence[str]) -> str:
    """Describe files of unknown content: their number, and the names of the first ones.

    Example:
        >>> unknown_files(["notes.txt"]), unknown_files(list("abcd"))
        ('1 file that is neither sound nor an image: notes.txt', '4 files that are neither sound nor images: a, b, c, …')
    """
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    if len(names) == 1:
        return f"1 file that is neither sound nor an image: {shown}"
    return f"{len(names)} files that are neither sound nor images: {shown}"


def split_of(name: str) -> str:
    """Return the split that the innermost folder of a known name stands for, or ""."""
    parts = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    return next((SPLITS[part] for part in reversed(parts) if part in SPLITS), "")


def class_of(name: str) -> str:
    """The innermost folder that is no split, or ""."""
    parts = PurePosixPath(name).parts[:-1]
    return next((part for part in reversed(parts) if part.lower() not in SPLITS), "")
