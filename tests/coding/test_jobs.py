from pathlib import Path

import pytest

from vqkit.coding.jobs import find_jobs
from vqkit.coding.kinds import SOUND

SOUND_SUFFIXES = SOUND.read


def found(*args, suffixes=SOUND_SUFFIXES, suffix=".vqk"):
    return [(Path(job.source).as_posix(), Path(job.target).as_posix()) for job in find_jobs(*args, suffixes, suffix)]


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
        find_jobs("nowhere", None, SOUND_SUFFIXES, ".vqk")
    with pytest.raises(ValueError, match="in holds no files that end in .vqk"):
        find_jobs("in", "out", [".vqk"], ".wav")
    for target in ("-", "in/a.FLAC"):
        with pytest.raises(ValueError, match=f"in is a folder, so the target must be one, got {target}"):
            find_jobs("in", target, SOUND_SUFFIXES, ".vqk")
    (tree / "in/a.wav").touch()
    with pytest.raises(ValueError, match="in/a.FLAC and in/a.wav would both become out/a.vqk"):
        find_jobs("in", "out", SOUND_SUFFIXES, ".vqk")
