"""The private folder of a running page: within a quota, emptied as it ages, removed with its server or by the next one.

    vqkit-serve-…/  owner.lock          locked as long as the server lives
                    <hash>/<name>       an upload, where gradio puts it
                    results/<…>/<name>  what a job made
                    tmp…                an upload on its way

Outside this machine a file is called ``vqkit-files/<hash>/<name>``: where the folder lies is nobody's business.
"""

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

try:
    import fcntl as _fcntl
except ImportError:  # not on Windows: there a killed server's folder is left to the system
    _locking: Any = None
else:
    _locking = _fcntl

__all__ = ["PUBLIC", "FolderFull", "PrivateFolder", "private_folder"]

PUBLIC = "vqkit-files"
"""First part of the public names of files, under which clients know them."""

_PREFIX = "vqkit-serve-"
_OWNER = "owner.lock"
_RESULTS = "results"
_UPLOAD = re.compile(r"[0-9a-f]{64}")
_BLOCK = 4096  # what the smallest file, and a folder, takes of a disk
_SECURE_SECONDS = 60.0  # how long no file is removed for the sake of another
_KEEP_SECONDS, _LOOK_SECONDS = 3600.0, 300.0  # how old files may get, and how often that is looked after


class FolderFull(Exception):
    """Error where there is no room for another file; the message is a line for the sender of the file."""


@dataclass(frozen=True)
class _Entry:
    path: Path
    changed: float  # seconds since 1970
    bytes: int


class PrivateFolder:
    """Files of visitors, and no more of them than a quota.

    Args:
        path: The folder, without links in its path.
        most_bytes: Size of all files.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path, self._most = path, most_bytes
        self._lock = threading.Lock()
        self._coming = 0
        (path / _RESULTS).mkdir(exist_ok=True)
        spellings = (str(path).encode(), json.dumps(str(path))[1:-1].encode(), quote(str(path)).encode())
        self._own = sorted(set(spellings), key=len, reverse=True)

    def published(self, text: bytes) -> bytes:
        """A text for a client: this folder's files have their public names."""
        for own in self._own:
            text = text.replace(own, PUBLIC.encode())
        return text

    def file(self, name: str) -> Path | None:
        """Return the path of the file with a public name, None if there is none in this folder."""
        parts = name.split("/")
        if parts[0] != PUBLIC or len(parts) < 3 or any(part in ("", ".", "..") or "\0" in part for part in parts):
            return None
        path = self.path.joinpath(*parts[1:])
        try:
            return path if path.is_file() and path.resolve() == path else None
        except (OSError, ValueError):  # a name that no file can have
            return None

    def upload(self, name: str) -> Path | None:
        """The file of a public name, if it was uploaded; None otherwise."""
        path = self.file(name)
        return path if path and path.parent.parent == self.path and _UPLOAD.fullmatch(path.parent.name) else None

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep room for a file that is written in this ``with``; older ones may have to go for it, the oldest first.

        Args:
            size: Size in bytes.

        Raises:
            FolderFull: There is no room even so.
        """
        size += 2 * _BLOCK
        with self._lock:
            self._make_room(size)
            self._coming += size
        try:
            yield
        finally:
            with self._lock:
                self._coming -= size

    @contextmanager
    def result(self, size: int) -> Iterator[Path]:
        """Yield an empty folder for the files of a job, which stays if nothing fails.

        Args:
            size: Size of all its files, in bytes.

        Raises:
            FolderFull: There is no room.
        """
        with self.room(size):
            path = Path(tempfile.mkdtemp(dir=self.path / _RESULTS))
            try:
                yield path
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise

    def remove_old(self, seconds: float = _KEEP_SECONDS) -> None:
        """Remove what has not changed for so long."""
        limit = time.time() - seconds
        with self._lock:
            for entry in self._entries():
                if entry.changed < limit:
                    _remove(entry.path)

    def _make_room(self, size: int) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry.changed)
        used, secure = sum(entry.bytes for entry in entries) + self._coming, time.time() - _SECURE_SECONDS
        removable = [entry for entry in entries if entry.changed < secure]
        if used + size - sum(entry.bytes for entry in removable) > self._most:
            raise FolderFull(
                f"the page's disk quota of {self._most / 2**20:g} MB is used up; try again in a few minutes"
            )
        for entry in removable:
            if used + size <= self._most:
                break
            _remove(entry.path)
            used -= entry.bytes

    def _entries(self) -> Iterator[_Entry]:
        for folder in (self.path, self.path / _RESULTS):
            for path in folder.iterdir():
                if path.name not in (_OWNER, _RESULTS):
                    with suppress(OSError):  # it went meanwhile
                        yield _measured(path)


@contextmanager
def private_folder(most_bytes: int) -> Iterator[PrivateFolder]:
    """A new folder that only this user can read, gone when the ``with`` ends.

    Folders of servers of the same user that were killed go at once.

    Args:
        most_bytes: Size of all files in it.
    """
    _remove_abandoned()
    path = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    stop = threading.Event()
    try:
        with _owned(path):
            folder = PrivateFolder(path, most_bytes)
            ageing = threading.Thread(target=_look_after, args=(folder, stop), daemon=True)
            ageing.start()
            yield folder
            stop.set()
            ageing.join()
    finally:
        stop.set()
        shutil.rmtree(path, ignore_errors=True)


def _look_after(folder: PrivateFolder, stop: threading.Event) -> None:
    while not stop.wait(_LOOK_SECONDS):
        with suppress(OSError):
            folder.remove_old()


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Hold the lock that says that this folder's server lives: it goes with the process, however that ends."""
    hidden = path / f".{_OWNER}"
    with hidden.open("w") as file:
        if _locking:
            _locking.flock(file, _locking.LOCK_EX)
        hidden.rename(path / _OWNER)  # there is no moment at which it is there and free
        yield


def _remove_abandoned() -> None:
    if not _locking:
        return
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # not ours, or of a server that lives
            found = path.lstat()
            if path.is_symlink() or not path.is_dir() or found.st_uid != os.getuid() or found.st_mode & 0o077:
                continue
            descriptor = os.open(path / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                _locking.flock(descriptor, _locking.LOCK_EX | _locking.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _measured(path: Path) -> _Entry:
    found = path.lstat()
    changed, size = found.st_mtime, _BLOCK
    if path.is_dir() and not path.is_symlink():
        for file in path.iterdir():
            inner = file.lstat()
            changed, size = max(changed, inner.st_mtime), size + _on_disk(inner.st_size)
    else:
        size = _on_disk(found.st_size)
    return _Entry(path, changed, size)


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK + _BLOCK


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
