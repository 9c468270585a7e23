import os
import socket
from pathlib import Path

import pytest

from vqkit.coding.jobs import UNKNOWN, checked_jobs, find_jobs
from vqkit.coding.kinds import SOUND, kind_of_file
from vqkit.coding.names import encoded_names

SOUND_SUFFIXES = SOUND.read


def found(*args, suffixes=SOUND_SUFFIXES):
    jobs = find_jobs(*args, suffixes, encoded_names)
    return [(Path(job.source).as_posix(), Path(job.target).as_posix()) for job in jobs]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("in/b/x.wav", "in/a.FLAC", "in/film.mp4", "in/notes.txt", "in/.hidden/x.wav", "in/.x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_mirrored(tree):
    names = [("a.FLAC", "a.vqk"), ("b/x.wav", "b/x.vqk"), ("film.mp4", "film.vqk")]
    assert found("in", "out") == [(f"in/{source}", f"out/{target}") for source, target in names]
    assert found("in", None) == [(f"in/{source}", f"in/{target}") for source, target in names]


def test_files_and_pipes(tree):
    assert found("in/a.FLAC", None) == [("in/a.FLAC", "in/a.vqk")]
    assert found("in/a.FLAC", "x.vqk") == [("in/a.FLAC", "x.vqk")]
    assert found("in/a.FLAC", "in") == [("in/a.FLAC", "in/a.vqk")]
    assert found("in/a.FLAC", "new/") == [("in/a.FLAC", "new/a.vqk")]
    assert found("in/a.FLAC", "-") == [("in/a.FLAC", "-")]
    assert found("-", None) == [("-", "-")]
    assert found("-", "x.vqk") == [("-", "x.vqk")]


def test_what_cannot_be(tree):
    with pytest.raises(FileNotFoundError, match="no such file or folder: nowhere"):
        find_jobs("nowhere", None, SOUND_SUFFIXES, encoded_names)
    with pytest.raises(ValueError, match="in holds no files that end in .vqk"):
        find_jobs("in", "out", [".vqk"], encoded_names)
    for target in ("-", "in/a.FLAC", "/dev/null"):
        with pytest.raises(ValueError, match=f"in is a folder, so the target must be one, got {target}"):
            find_jobs("in", target, SOUND_SUFFIXES, encoded_names)
    (tree / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link is a link to nowhere, which does not exist"):
        find_jobs("link", None, SOUND_SUFFIXES, encoded_names)
    (tree / "only").mkdir()
    (tree / "only/link").symlink_to("..")
    with pytest.raises(ValueError, match="that end in .vqk; only/link is a link to a folder, which is not followed"):
        find_jobs("only", "out", [".vqk"], encoded_names)


def test_a_folders_files_are_told_by_their_content(tree):
    Path("in/b/noname").write_bytes(b"fLaC")
    Path("in/done.vqk").touch()
    Path("in/shut.wav").touch()

    def kind_of(path):
        if path.name == "shut.wav":
            raise PermissionError(13, "Permission denied")
        return kind_of_file(path)

    jobs = find_jobs("in", "out", [], encoded_names, kind_of)
    assert [(job.source, job.kind, job.fault, job.passed_over) for job in jobs] == [
        ("in/a.FLAC", SOUND, "", ""),
        ("in/b/noname", SOUND, "", ""),
        ("in/b/x.wav", SOUND, "", ""),
        ("in/film.mp4", SOUND, "", ""),
        ("in/notes.txt", None, "", UNKNOWN),
        ("in/shut.wav", None, "in/shut.wav is not readable: Permission denied", ""),
    ]
    assert jobs[1].target == "out/b/noname.vqk"


def test_names_that_clash_keep_their_suffixes(tree):
    (tree / "in/a.wav").touch()
    (tree / "in/a.flac.mp3").touch()  # would take the name that a.flac makes way to, were it not for the case
    (tree / "in/a.FLAC.mp3").touch()
    pairs = dict(found("in", "out"))
    assert pairs["in/a.FLAC"] == "out/a.FLAC.vqk"
    assert pairs["in/a.wav"] == "out/a.wav.vqk"
    assert pairs["in/a.FLAC.mp3"] == "out/a.FLAC.mp3.vqk"
    assert pairs["in/a.flac.mp3"] == "out/a.flac.vqk"
    assert pairs["in/b/x.wav"] == "out/b/x.vqk"
    assert len(set(pairs.values())) == len(pairs) == 6


def test_what_is_no_file_is_named(tree, monkeypatch):
    os.mkfifo("in/pipe.wav")
    os.mkfifo("in/b/pipe")
    socket.socket(socket.AF_UNIX).bind("in/socket.mp3")
    Path("in/null.wav").symlink_to("/dev/null")
    Path("in/gone.wav").symlink_to("nowhere")
    Path("in/round.wav").symlink_to("round.wav")
    Path("in/b/up").symlink_to("..")
    Path("in/link.wav").symlink_to("film.mp4")
    (tree / "in/shut").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    jobs = find_jobs("in", "out", SOUND_SUFFIXES, encoded_names)
    said = {job.source: job.fault or job.passed_over for job in jobs if not job.is_open}
    assert said == {
        "in/pipe.wav": "in/pipe.wav is a named pipe, not a file",
        "in/socket.mp3": "in/socket.mp3 is a socket, not a file",
        "in/null.wav": "in/null.wav is a device, not a file",
        "in/gone.wav": "in/gone.wav is a link to nowhere, which does not exist",
        "in/round.wav": "in/round.wav is not readable: Too many levels of symbolic links",
        "in/shut": "in/shut is not readable: Permission denied",
        "in/b/pipe": "a named pipe, not a file",
        "in/b/up": "a link to a folder, which is not followed",
    }
    assert {job.source for job in jobs if job.passed_over} == {"in/b/pipe", "in/b/up"}
    assert [job.source for job in jobs if job.is_open] == ["in/a.FLAC", "in/b/x.wav", "in/film.mp4", "in/link.wav"]
    assert [job.source for job in jobs] == sorted((job.source for job in jobs), key=Path)


def test_targets_are_looked_at_before_anything_begins(tree):
    jobs = find_jobs("in", "out", SOUND_SUFFIXES, encoded_names)
    (tree / "out/b/x.vqk").mkdir(parents=True)
    (tree / "out/film.vqk").touch()

    def faults(**options):
        checked = checked_jobs(jobs, **{"overwrite": False, "skip": False, "folder": True} | options)
        return [job.fault or job.exists for job in checked]

    folder = "cannot write out/b/x.vqk: it is a folder"
    assert faults() == [False, folder, "out/film.vqk exists; -f overwrites it"]
    assert faults(overwrite=True) == [False, folder, False]
    assert faults(skip=True) == [False, folder, True]
    pipe = find_jobs("in/a.FLAC", "pipe", SOUND_SUFFIXES, encoded_names)
    os.mkfifo("pipe")
    assert checked_jobs(pipe, overwrite=False, skip=False, folder=False)[0].is_open  # it was named
