"""Files that appear under their names when they are complete, or not at all: the one way in which vqkit writes a file.

A file is written beside its place under a short temporary name, flushed to disk, closed, and only then renamed. Whatever ends the writing
(an exception, the end of the process, SIGTERM, SIGHUP) removes the temporary file; only SIGKILL and a power cut cannot, and
`remove_unfinished` clears up after a process that died so.
"""

import errno
import os
import secrets
import signal
import stat
import threading
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

__all__ = ["NewFile", "check_not_source", "remove_unfinished", "write_whole"]

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_NO_HARD_LINKS = {
    getattr(errno, name)
    for name in ("EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV", "EINVAL")
    if hasattr(errno, name)
}
_NO_SYNC = {getattr(errno, name) for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS") if hasattr(errno, name)}


class NewFile:
    """A file to be written, which gets its name from `commit`; use it in a ``with``, whose end commits and whose exceptions discard.

    Write to ``file``, or give ``temporary`` to a library that wants a path. A link to a file stays a link: the file that it names is
    replaced. A file that is replaced hands its permissions on; a new one gets those that the umask leaves.

    Args:
        path: path at which the file appears.
        overwrite: replace a file that exists. Without it `commit` refuses, also if the file appeared meanwhile.
        make_folders: make the folders that are missing.
        devices: write to a device or a named pipe that lies there, instead of refusing it; the bytes go to it at once.

    Attributes:
        path: the path that was given.
        temporary: path of the bytes until then, in the same folder and with a short name; a device's own path.
        file: open for writing in binary.
        is_device: whether the path is a device or pipe, so that there is no temporary file.

    Raises:
        FileNotFoundError: the folder does not exist.
        FileExistsError: the file exists, and ``overwrite`` is False.
        ValueError: there is something that is no regular file, or a link to nothing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with NewFile(folder / "a.txt") as new:
        ...     _ = new.file.write(b"done")
        ...     (folder / "a.txt").exists()
        False
        >>> (folder / "a.txt").read_bytes(), len(list(folder.iterdir()))
        (b'done', 1)
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool = True, make_folders: bool = False, devices: bool = False
    ) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._place = _place(self.path)
        self.is_device = devices and _is_device(self._place)
        if self.is_device:
            self.temporary = self._place
            self.file: BinaryIO = open(self._place, "wb")  # noqa: SIM115  # closed by commit and discard
            self._removal = weakref.finalize(self, partial(_close, self.file))
            return
        before = _permissions(self._place)
        if not overwrite and before is not None:
            raise _exists(self.path)
        folder = self._place.parent
        if make_folders:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise FileNotFoundError(f"cannot write {self.path}: the folder {self.path.parent} does not exist")
        self.temporary, handle = _created(folder, self.path, 0o666 if before is None else before)
        self._permissions = stat.S_IMODE(os.fstat(handle).st_mode) if before is None else before
        self.file = os.fdopen(handle, "wb")
        _watch(str(self.temporary))
        self._removal = weakref.finalize(self, partial(_remove, self.file, str(self.temporary), os.getpid()))

    def commit(self) -> None:
        """Flush the file to disk, close it, and give it its name.

        Raises:
            FileExistsError: the file exists, and ``overwrite`` is False.
            OSError: the disk is full, or fails otherwise; nothing is left behind.
        """
        try:
            self.file.flush()
            if self.is_device:
                self.file.close()
            else:
                self._sync()
                self._rename()
        except OSError as error:
            self.discard()
            if isinstance(error, FileExistsError):
                raise _exists(self.path) from None
            raise _about(error, self.path) from None
        except BaseException:
            self.discard()
            raise
        self._removal.detach()
        _unwatch(str(self.temporary))

    def discard(self) -> None:
        """Leave nothing behind; after `commit` this does nothing."""
        self._removal()

    def _sync(self) -> None:
        ours = os.fstat(self.file.fileno())
        _sync(self.file.fileno())
        self.file.close()
        if not os.path.samestat(ours, os.stat(self.temporary)):  # a library put another file into its place
            with self.temporary.open("rb+") as file:
                _sync(file.fileno())

    def _rename(self) -> None:
        os.chmod(self.temporary, self._permissions)  # the umask took some of an old file's from the new one
        if self._overwrite:
            os.replace(self.temporary, self._place)
        else:
            _rename_to_new(self.temporary, self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def write_whole(path: str | Path, content: bytes, *, overwrite: bool = True) -> Path:
    """Write a file atomically, so that nobody ever sees half of it; missing folders are made.

    Args:
        path: path of the file.
        content: all bytes of the file.
        overwrite: whether a file that exists is replaced, as in `NewFile`.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_whole(folder / "plots" / "a.txt", b"done").read_bytes()
        b'done'
    """
    with NewFile(path, overwrite=overwrite, make_folders=True) as new:
        new.file.write(content)
    return Path(path)


def check_not_source(target: str | Path, source: str | Path) -> None:
    """See that a target is not its own source, by whatever name or link: to write it would be the end of what it is made from.

    Raises:
        ValueError: it is.
    """
    with suppress(OSError):  # one of them does not exist
        if os.path.samefile(target, source):
            which = "the source itself" if str(target) == str(source) else f"the same file as the source {source}"
            raise ValueError(f"{target} is {which}, which would be lost")


def remove_unfinished(folder: str | Path, pid: int) -> None:
    """Remove what a process that no longer lives was writing in a folder.

    Args:
        folder: may be missing.
        pid: identifier of a process that has ended, on this machine, and whose end the caller has seen.
    """
    for path in Path(folder).glob(f"{_prefix(pid)}*.tmp"):
        path.unlink(missing_ok=True)


# --- places and names


def _place(path: Path) -> Path:
    """Return the final path of the file: the target of a symbolic link, or the path itself."""
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if not place.exists():
        raise ValueError(f"cannot write {path}: it is a link to {place}, which does not exist")
    return place


def _is_device(place: Path) -> bool:
    return place.exists() and not place.is_file() and not place.is_dir()


def _permissions(place: Path) -> int | None:
    """Permissions of the file that is there; None if there is none."""
    try:
        mode = os.stat(place).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"cannot write {place}: it is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}")
    return stat.S_IMODE(mode) & 0o777


def _prefix(pid: int) -> str:
    return f".vqkit-{pid:x}-"  # hidden, so that folders pass over it; short, where the target's name may have the longest length


def _created(folder: Path, path: Path, permissions: int) -> tuple[Path, int]:
    """A new file with the permissions that the umask leaves, and its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        temporary = folder / f"{_prefix(os.getpid())}{secrets.token_hex(3)}.tmp"
        try:
            return temporary, os.open(temporary, flags, permissions | stat.S_IWUSR)
        except FileExistsError:
            continue
        except OSError as error:
            raise _about(error, path) from None


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _about(error: OSError, path: Path) -> OSError:
    """The same error, about the file that the caller knows."""
    return error if error.errno is None else OSError(error.errno, os.strerror(error.errno), str(path))


# --- the last steps


def _sync(handle: int) -> None:
    """Wait for the disk: some file systems say only now that it is full."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _rename_to_new(temporary: Path, place: Path) -> None:
    """Rename, but never onto a file that exists, whoever made it and when."""
    if os.name == "nt":
        os.rename(temporary, place)  # refuses there what exists
        return
    try:
        os.link(temporary, place)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL))  # the name is ours from here on
        try:
            os.replace(temporary, place)
        except BaseException:
            os.unlink(place)
            raise
    else:
        os.unlink(temporary)


# --- endings that no exception announces


_unfinished: dict[str, int] = {}  # temporary files, and the processes that write them


def _close(file: BinaryIO) -> None:
    with suppress(OSError):
        file.close()


def _remove(file: BinaryIO, temporary: str, pid: int) -> None:
    if os.getpid() != pid:  # a forked copy of the process has a copy of the object, not of the file
        return
    _close(file)  # what is still in its buffer may not fit
    with suppress(OSError):
        os.unlink(temporary)
    _unwatch(temporary)


def _watch(temporary: str) -> None:
    _unfinished[temporary] = os.getpid()
    if threading.current_thread() is threading.main_thread():  # only that may ask for signals
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _remove_and_die)


def _unwatch(temporary: str) -> None:
    _unfinished.pop(temporary, None)
    if not _unfinished and threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is _remove_and_die:
                signal.signal(number, signal.SIG_DFL)


def _remove_and_die(number: int, _: object) -> None:
    """Remove this process's temporary files, then let the signal take its default action."""
    for temporary, pid in list(_unfinished.items()):
        if pid == os.getpid():
            with suppress(OSError):
                os.unlink(temporary)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
