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
