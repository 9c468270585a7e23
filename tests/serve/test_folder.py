"""The private folder: its quota, its age, its public names, and what killed servers left."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from vqkit.serve.folder import FolderFull, PrivateFolder, private_folder

MB = 1 << 20
HASH = "ab" * 32
FULL = "^the page's disk quota of 4 MB is used up; try again in a few minutes$"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder() -> Iterator[PrivateFolder]:
    with private_folder(4 * MB) as opened:
        yield opened


def put(folder: PrivateFolder, name: str, size: int, age: float) -> Path:
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    for changed in (path, path.parent):
        os.utime(changed, (time.time() - age,) * 2)
    return path


def test_it_is_private_and_goes(temporary: Path) -> None:
    with private_folder(MB) as folder:
        assert folder.path.parent == temporary.resolve()
        assert folder.path.stat().st_mode & 0o777 == 0o700
        put(folder, f"{HASH}/a.wav", 10, 0)
    assert list(temporary.iterdir()) == []


def test_the_oldest_files_go_for_new_ones(folder: PrivateFolder) -> None:
    oldest, old, young = (
        put(folder, f"{letter * 64}/a", MB, age) for letter, age in (("a", 300), ("b", 200), ("c", 1))
    )
    with folder.room(int(1.5 * MB)):
        assert [path.exists() for path in (oldest, old, young)] == [False, True, True]
        with folder.room(MB):  # the two are there at the same time
            assert [path.exists() for path in (oldest, old, young)] == [False, False, True]
        with (
            pytest.raises(FolderFull, match=FULL),
            folder.room(2 * MB),
        ):
            pass
    with folder.room(2 * MB):  # nothing is on its way any more
        assert young.exists()


def test_nothing_is_removed_for_what_does_not_fit_anyway(folder: PrivateFolder) -> None:
    old = put(folder, f"{HASH}/a", MB, 300)
    with pytest.raises(FolderFull), folder.room(5 * MB):
        pass
    assert old.exists()


def test_many_small_files_are_no_way_around_the_quota(folder: PrivateFolder) -> None:
    for number in range(600):
        put(folder, f"{number:064}/a", 0, 1)
    with pytest.raises(FolderFull), folder.room(1):
        pass


def test_unfinished_uploads_and_results_count_and_age_as_well(folder: PrivateFolder) -> None:
    unfinished, result = folder.path / "tmpabc", put(folder, "results/x/sound.wav", MB, 300)
    unfinished.write_bytes(bytes(MB))
    os.utime(unfinished, (time.time() - 300,) * 2)
    with folder.room(int(3.5 * MB)):
        assert not unfinished.exists()
        assert not result.exists()


def test_old_files_go_in_time(folder: PrivateFolder) -> None:
    old, young = put(folder, f"{HASH}/a", 10, 4000), put(folder, f"{'c' * 64}/a", 10, 3000)
    folder.remove_old()
    assert [old.exists(), old.parent.exists(), young.exists()] == [False, False, True]
    with folder.result(10) as kept:
        pass
    assert kept.is_dir()


def test_a_job_that_fails_leaves_no_files(folder: PrivateFolder) -> None:
    def job() -> None:
        with folder.result(10) as kept:
            (kept / "a.wav").write_bytes(b"half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        job()
    assert list((folder.path / "results").iterdir()) == []


def test_public_names(folder: PrivateFolder) -> None:
    path = put(folder, f"{HASH}/a b.wav", 10, 0)
    name = f"vqkit-files/{HASH}/a b.wav"
    assert folder.upload(name) == folder.file(name) == path
    put(folder, "vibe_edit_history/a", 10, 0)  # gradio makes it
    assert folder.upload("vqkit-files/vibe_edit_history/a") is None
    result = put(folder, "results/x/sound.wav", 10, 0)
    assert folder.file("vqkit-files/results/x/sound.wav") == result
    assert folder.upload("vqkit-files/results/x/sound.wav") is None
    assert (
        folder.published(f'"{path}" and {result}'.encode()) == f'"{name}" and vqkit-files/results/x/sound.wav'.encode()
    )


def test_names_of_other_files_are_none(folder: PrivateFolder, temporary: Path) -> None:
    secret = temporary / "secret"
    secret.write_text("x")
    path = put(folder, f"{HASH}/a", 10, 0)
    (path.parent / "link").symlink_to(secret)
    (folder.path / ("c" * 64)).symlink_to(temporary)
    os.mkfifo(path.parent / "pipe")
    for name in (
        str(path), str(secret), "/etc/passwd", "etc/passwd", f"vqkit-files/{HASH}", f"vqkit-files/{HASH}/", f"vqkit-files/{HASH}/link",
        f"vqkit-files/{HASH}/pipe", f"vqkit-files/{'c' * 64}/secret", "vqkit-files/../secret", "vqkit-files/x/../../secret",
        f"vqkit-files/{HASH}/../../secret", f"vqkit-files//{HASH}/a", f"vqkit-files/./{HASH}/a", "vqkit-files/owner.lock", "vqkit-files",
        f"VQKIT-FILES/{HASH}/a", f"vqkit-files/{HASH}/a\0", f"vqkit-files/{HASH}/{'x' * 5000}", f"vqkit-files\\{HASH}\\a",
        f"file:vqkit-files/{HASH}/a", f"http://vqkit-files/{HASH}/a", "",
    ):  # fmt: skip
        assert folder.file(name) is None, name
        assert folder.upload(name) is None, name


def test_a_folder_of_a_strange_name_is_not_told_either(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = temporary / "dönnées 100%"
    strange.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    with private_folder(MB) as folder:
        path = folder.path / HASH / "a"
        for spelt in (str(path), json.dumps(str(path)), quote(str(path))):
            assert folder.published(spelt.encode()).strip(b'"') == f"vqkit-files/{HASH}/a".encode()


def _killed_server(temporary: Path) -> Path:
    """The folder of a process that was killed in its ``with``."""
    child = os.fork()
    if child == 0:
        with private_folder(MB) as folder:
            (folder.path / "tmpabc").write_bytes(b"secret")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (found,) = temporary.glob("vqkit-serve-*")
    return found


def test_folders_of_killed_servers_go_at_the_next_start(temporary: Path) -> None:
    left = _killed_server(temporary)
    assert (left / "tmpabc").exists()
    with private_folder(MB):
        assert not left.exists()


def test_folders_of_others_stay(temporary: Path) -> None:
    left = _killed_server(temporary)
    kept = [temporary / f"vqkit-serve-{name}" for name in ("open", "foreign", "unlocked")]
    for path in kept:
        shutil.copytree(left, path)
        path.chmod(0o700)
    kept[0].chmod(0o755)  # not as this program makes them
    os.chown(kept[1], 12345, -1) if os.getuid() == 0 else kept[1].chmod(0o711)
    (kept[2] / "owner.lock").unlink()  # perhaps of a server that is just about to lock it
    link, file = temporary / "vqkit-serve-link", temporary / "vqkit-serve-file"
    link.symlink_to(kept[0])
    file.touch()
    with private_folder(MB) as running, private_folder(MB):  # of a server that lives, here in this very process
        assert running.path.exists()
        assert (running.path / "owner.lock").exists()
        assert all(path.exists() for path in (*kept, link, file))
        assert not left.exists()
