import os

import pytest

from vqkit.data.folders import class_of, split_of, walk


@pytest.mark.parametrize(
    ("name", "split", "label"),
    [
        ("x.png", "", ""),
        ("train/x.png", "train", ""),
        ("cat/x.png", "", "cat"),
        ("Train/cat/x.png", "train", "cat"),
        ("cat/validation/x.png", "valid", "cat"),
        ("photos/train/birds/test/x.png", "test", "birds"),
        ("test.png", "", ""),
    ],
)
def test_what_names_say(name, split, label):
    assert (split_of(name), class_of(name)) == (split, label)


def test_hidden_and_other_files_are_passed_over(tmp_path):
    for name in ("a/x.png", "a/y.PNG", "a/.z.png", ".b/x.png", "a/x.txt", "x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(walk(tmp_path, frozenset({".png"}))) == ["a/x.png", "a/y.PNG"]


def test_what_is_nothing_we_know_is_counted_in_one_warning(tmp_path):
    for name in "abcdef":
        (tmp_path / name).touch()
    kinds = {"a": True, "b": False}
    with pytest.warns(UserWarning, match="passed over") as warned:
        assert list(walk(tmp_path, frozenset(), lambda path: kinds.get(path.name))) == ["a"]
    found = [str(warning.message) for warning in warned]
    assert found == [f"passed over 5 files that are neither sound nor images: b, c, d, … in {tmp_path}"]


def test_what_cannot_be_read_is_passed_over_with_a_warning(tmp_path, monkeypatch):
    for name in ("a/x.png", "shut/y.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "a/pipe.png")  # to open it would wait for ever
    os.mkfifo(tmp_path / "a/pipe.txt")  # nothing that was looked for
    (tmp_path / "a/gone.png").symlink_to("nowhere.png")
    (tmp_path / "a/link.png").symlink_to("x.png")
    (tmp_path / "a/up").symlink_to("..")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match="passed over") as warned:
        assert sorted(walk(tmp_path, frozenset({".png"}))) == ["a/link.png", "a/x.png"]
    assert sorted(str(warning.message).removeprefix(f"passed over {tmp_path}/") for warning in warned) == [
        "a/gone.png: it is a link to nowhere.png, which does not exist",
        "a/pipe.png: it is a named pipe, not a file",
        "a/up: it is a link to a folder, which is not followed",
        "shut: it is not readable: Permission denied",
    ]
