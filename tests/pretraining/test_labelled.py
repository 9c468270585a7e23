"""What has a label, and which items train, choose and test."""

import shutil

import pytest
import torch

from vqkit.data import write_audio
from vqkit.pretraining import list_labelled


def manifest(folder, rows, columns="path,split,label"):
    (folder / "manifest.csv").write_text("\n".join([columns, *rows]) + "\n")


def sounds_in(folder, names):
    for name in names:
        write_audio(folder / name, torch.randn(1, 4000) / 10, 8000)


def test_class_folders_are_dealt_out_class_by_class(sounds):
    with pytest.warns(UserWarning, match="t") as caught:
        data = list_labelled(sounds, "audio")
    assert "there is no test split: 6 items of train were taken for it, by hash of their names" in str(
        caught[0].message
    )
    assert data.classes == ("beep", "hiss", "hum")
    assert {split: len(data.places(split)) for split in ("train", "valid", "test")} == {
        "train": 15,
        "valid": 3,
        "test": 6,
    }
    for split, count in (("train", 5), ("valid", 1), ("test", 2)):
        assert data.targets[data.places(split)].sum(0).tolist() == [count] * 3
    assert not data.multiple


def test_an_item_stays_in_its_split_when_others_come(sounds, tmp_path):
    with pytest.warns(UserWarning, match="there is no"):
        before = list_labelled(sounds, "audio")
    more = shutil.copytree(sounds, tmp_path / "more")
    sounds_in(more, ["hum/8.wav", "hum/9.wav"])
    with pytest.warns(UserWarning, match="there is no"):
        after = list_labelled(more, "audio")
    new = dict(zip(after.names, after.splits, strict=True))
    other = [name for name in before.names if not name.startswith("hum")]
    old = dict(zip(before.names, before.splits, strict=True))
    assert all(new[name] == old[name] for name in other)


def test_what_cannot_be_used_is_named_once_and_the_rest_is_kept(tmp_path):
    sounds_in(tmp_path, [f"{index}.wav" for index in range(9)])
    rows = [f"{index}.wav,{split},{label}" for index, (split, label) in enumerate(
        [("train", "a"), ("train", "a"), ("valid", "a"), ("train", "b"), ("valid", "b"), ("test", "b"), ("train", "lonely"), ("test", ""),
         ("test", "a")]
    )]  # fmt: skip
    manifest(tmp_path, rows)
    with pytest.warns(UserWarning, match="t") as caught:
        data = list_labelled(tmp_path, "audio")
    texts = [str(warning.message) for warning in caught]
    assert any("left out 1 item (7.wav) without a label" in text for text in texts)
    assert any(
        "left out 1 class (lonely) with a single item: it cannot be both learned and tested" in text for text in texts
    )
    assert data.names == ("0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav", "8.wav")
    assert data.splits == ("train", "train", "valid", "train", "valid", "test", "test")


def test_a_class_that_is_only_tested_is_left_out(tmp_path):
    sounds_in(tmp_path, [f"{index}.wav" for index in range(8)])
    rows = [
        "0.wav,train,a",
        "1.wav,train,b",
        "2.wav,valid,a",
        "3.wav,test,a",
        "4.wav,test,b",
        "5.wav,test,c",
        "6.wav,valid,c",
        "7.wav,test,a",
    ]
    manifest(tmp_path, rows)
    with pytest.warns(UserWarning, match=r"left out 1 class \(c\) without an item to train on"):
        data = list_labelled(tmp_path, "audio")
    assert data.classes == ("a", "b")
    assert len(data.items) == len(data.targets) == len(data.splits) == 6


def test_several_labels_columns_and_values(tmp_path):
    sounds_in(tmp_path, [f"{index}.wav" for index in range(6)])
    rows = [f"{index}.wav,{split},{kind},{place}" for index, (split, kind, place) in enumerate(
        [("train", "dog;rain", "in"), ("train", "rain", "in"), ("valid", "dog", "in"), ("test", "dog; rain", "in"), ("test", "rain", "out"),
         ("train", "dog", "out")]
    )]  # fmt: skip
    manifest(tmp_path, rows, "path,split,kind,place")
    data = list_labelled(tmp_path, "audio", label="kind")
    assert data.multiple
    assert data.classes == ("dog", "rain")
    assert data.targets.tolist() == [[1, 1], [0, 1], [1, 0], [1, 1], [0, 1], [1, 0]]
    assert len(list_labelled(tmp_path, "audio", label="kind", where="place=in").items) == 4
    with pytest.raises(ValueError, match="none of the 6 items has a label; the manifest has kind, place"):
        list_labelled(tmp_path, "audio")
    with pytest.raises(ValueError, match="has no audio of place 'up'; there is in, out"):
        list_labelled(tmp_path, "audio", where="place=up")
    with pytest.raises(ValueError, match="where must be column=value, got 'place'"):
        list_labelled(tmp_path, "audio", where="place")


def test_folds(sounds, tmp_path):
    data = list_labelled(sounds, "audio", folds=4)
    assert sorted(data.folds) == sorted([0, 1, 2, 3] * 6)
    for fold in range(4):
        own = [index for index, number in enumerate(data.folds) if number == fold]
        assert data.targets[own].sum(0).tolist() == [2, 2, 2]
    sounds_in(tmp_path, [f"{index}.wav" for index in range(4)])
    manifest(
        tmp_path, [f"{index}.wav,,{'ab'[index % 2]},{1 + index // 2}" for index in range(4)], "path,split,label,fold"
    )
    assert list_labelled(tmp_path, "audio", folds=2).folds == (0, 0, 1, 1)
    with pytest.raises(ValueError, match="the manifest has 2 folds \\(1, 2\\), not 3"):
        list_labelled(tmp_path, "audio", folds=3)
    with pytest.raises(ValueError, match="folds must be at most the number of items, 24, got 25"):
        list_labelled(sounds, "audio", folds=25)
    with pytest.raises(ValueError, match="folds must be 0 or at least 2, got 1"):
        list_labelled(tmp_path, "audio", folds=1)
