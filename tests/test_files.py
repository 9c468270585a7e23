import errno
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from vqkit import files
from vqkit.files import NewFile, remove_unfinished, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    with NewFile(path) as new:
        new.file.write(b"new")
        assert names(tmp_path) == [new.temporary.name]
    assert (names(tmp_path), path.read_bytes()) == (["a.txt"], b"new")
    for error in (ValueError, KeyboardInterrupt):
        with suppress(error), NewFile(path) as new:
            new.file.write(b"other")
            raise error
        assert (names(tmp_path), path.read_bytes()) == (["a.txt"], b"new")
    new.discard()
    assert path.read_bytes() == b"new"


def test_write_whole_makes_folders(tmp_path):
    assert write_whole(str(tmp_path / "b/c/d"), b"1").read_bytes() == b"1"
    with pytest.raises(FileExistsError, match=r"b/c/d"):
        write_whole(tmp_path / "b/c/d", b"2", overwrite=False)
    assert (tmp_path / "b/c/d").read_bytes() == b"1"


def test_a_library_may_write_by_path(tmp_path):
    with NewFile(tmp_path / "a.txt") as new:
        new.temporary.write_text("by path")
    assert (tmp_path / "a.txt").read_text() == "by path"
    with NewFile(tmp_path / "a.txt") as new:  # as safetensors does it
        (tmp_path / "other").write_text("renamed")
        (tmp_path / "other").chmod(0o600)
        os.replace(tmp_path / "other", new.temporary)
    assert (tmp_path / "a.txt").read_text() == "renamed"
    assert names(tmp_path) == ["a.txt"]
    (tmp_path / "plain").touch()
    assert mode(tmp_path / "a.txt") == mode(tmp_path / "plain")


@pytest.mark.parametrize("name", ["n" * 251 + ".vqk", "é" * 125 + ".vqk"])
def test_long_names(tmp_path, name):
    """255 bytes are the most that a file's name may have."""
    write_whole(tmp_path / name, b"x")
    assert names(tmp_path) == [name]
    with pytest.raises(OSError, match="File name too long.*nnn"):
        write_whole(tmp_path / ("n" * 256), b"x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("links", [True, False])
def test_without_overwrite_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch, links):
    if not links:  # FAT, some network and user-space file systems
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    path = tmp_path / "a.txt"
    with NewFile(path, overwrite=False) as new:
        new.file.write(b"first")
    assert (names(tmp_path), path.read_bytes()) == (["a.txt"], b"first")
    with pytest.raises(FileExistsError, match=r"a\.txt"):
        NewFile(path, overwrite=False)
    path.unlink()
    new = NewFile(path, overwrite=False)
    new.file.write(b"mine")
    path.write_bytes(b"yours")
    with pytest.raises(FileExistsError, match=r"a\.txt"):
        new.commit()
    assert (names(tmp_path), path.read_bytes()) == (["a.txt"], b"yours")


def test_a_claimed_name_is_given_up_when_the_rename_fails(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match=r"a\.txt"), NewFile(tmp_path / "a.txt", overwrite=False):
        pass
    assert names(tmp_path) == []


def test_permissions(tmp_path):
    path = tmp_path / "a.txt"
    umask = os.umask(0o027)
    try:
        write_whole(path, b"1")
        assert mode(path) == 0o640
        for kept in (0o600, 0o666, 0o444):
            path.chmod(kept)
            with NewFile(path) as new:
                assert mode(new.temporary) | 0o200 == (kept & ~0o027) | 0o200  # nobody reads what was private
            assert mode(path) == kept
    finally:
        os.umask(umask)


def test_a_link_keeps_pointing_to_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/a.txt").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/a.txt")
    with NewFile(tmp_path / "link") as new:
        assert new.temporary.parent.samefile(tmp_path / "there")  # a rename must not cross file systems
        new.file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/a.txt").read_bytes() == b"new"
    with pytest.raises(FileExistsError, match="link"):
        NewFile(tmp_path / "link", overwrite=False)


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (True, False):
        with pytest.raises(ValueError, match="link: it is a link to .*elsewhere, which does not exist"):
            NewFile(tmp_path / "link", overwrite=overwrite)
        with pytest.raises(ValueError, match="loop: it is a link to .*loop, which does not exist"):
            NewFile(tmp_path / "loop", overwrite=overwrite)
        with pytest.raises(ValueError, match="pipe: it is no regular file"):
            NewFile(tmp_path / "pipe", overwrite=overwrite)
        with pytest.raises(ValueError, match="it is a folder"):
            NewFile(tmp_path, overwrite=overwrite)
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        NewFile(tmp_path / "nowhere/a.txt")
    assert names(tmp_path) == ["link", "loop", "pipe"]


@pytest.mark.parametrize("step", ["fsync", "close", "chmod", "replace"])
def test_a_disk_that_is_full_at_the_last_step_is_an_error_about_the_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "the temporary name")

    new = NewFile(path)
    new.file.write(b"new")
    if step == "close":
        new.file.flush()
        handle = new.file
        new.file = type("File", (), {"flush": handle.flush, "fileno": handle.fileno, "close": full})()
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: '.*a\.txt'"):
        new.commit()
    assert (names(tmp_path), path.read_bytes()) == (["a.txt"], b"old")


def test_a_file_system_that_cannot_sync(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    assert write_whole(tmp_path / "a.txt", b"1").read_bytes() == b"1"


LIMITED = """
    import resource, sys
    from vqkit.files import write_whole
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        write_whole(sys.argv[1], bytes(int(sys.argv[2])))
    except OSError as error:
        print(error)
"""


def script(text, *words):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text), *map(str, words)], stdout=subprocess.PIPE, text=True
    )


def test_a_limit_that_the_last_bytes_exceed(tmp_path):
    """Bytes that lie in a buffer until the file is closed, and that the system then refuses."""
    process = script(LIMITED, tmp_path / "a.txt", 5001)
    assert process.communicate()[0] == f"[Errno 27] File too large: '{tmp_path / 'a.txt'}'\n"
    assert names(tmp_path) == []


WAITING = """
    import os, signal, sys, time
    from vqkit.files import NewFile
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which tests may run, leaves it ignored
    one, other = NewFile(sys.argv[1]), NewFile(sys.argv[2])
    if os.fork() == 0:  # a copy of the process does not own the files
        del one
        sys.exit()
    os.wait()
    print(len(os.listdir(os.path.dirname(sys.argv[1]))), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_process_that_is_ended(tmp_path, number):
    process = script(WAITING, tmp_path / "a.txt", tmp_path / "b.txt")
    assert process.stdout.readline() == "2\n"
    process.send_signal(number)
    assert process.wait(10) == -number
    if number == signal.SIGKILL:
        assert len(names(tmp_path)) == 2
        remove_unfinished(tmp_path, process.pid + 1)
        assert len(names(tmp_path)) == 2
        remove_unfinished(tmp_path, process.pid)
    assert names(tmp_path) == []
    remove_unfinished(tmp_path / "nowhere", 1)


def test_the_end_of_a_program_removes_what_was_given_up(tmp_path):
    code = """
        import sys
        from vqkit.files import NewFile
        kept = NewFile(sys.argv[1])
        kept.file.write(b"1")
    """
    assert script(code, tmp_path / "a.txt").wait() == 0
    assert names(tmp_path) == []


def test_signals_are_left_alone(tmp_path):
    """Only while a file is open, and only where nobody else asked for the signal."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        one, other = NewFile(tmp_path / "a"), NewFile(tmp_path / "b")
        assert signal.getsignal(signal.SIGTERM) is files._remove_and_die
        one.discard()
        assert signal.getsignal(signal.SIGTERM) is files._remove_and_die
        other.commit()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        NewFile(tmp_path / "c").discard()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_device_or_a_pipe_is_written_through_where_that_is_asked_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with NewFile(tmp_path / "pipe", devices=True) as new:
        assert new.is_device
        new.file.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert names(tmp_path) == ["pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with NewFile(tmp_path / "a.txt", devices=True) as new:
        assert not new.is_device
    new = NewFile("/dev/full", devices=True)
    new.file.write(b"1")
    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: '/dev/full'"):
        new.commit()
    with pytest.raises(ValueError, match="it is a folder"):
        NewFile(tmp_path, devices=True)


def test_nothing_else_renames_files():
    """Ten implementations, each with its own gaps, once did."""
    source = Path(files.__file__).parent
    second = re.compile(r"os\.(replace|rename|link)\b|mkstemp|NamedTemporaryFile")
    assert [path.name for path in source.rglob("*.py") if second.search(path.read_text())] == ["files.py"]
