"""A flat folder is a data set: every command splits it alike, and says so in one line."""

import warnings

import pytest
import soundfile
import torch

from vqkit.compare.dataset import Dataset
from vqkit.data import SplitError, hashed_splits, list_clips, list_images, list_items, write_image
from vqkit.modality import VIDEO, modality_named
from vqkit.models.prior_split import prior_split
from vqkit.training.data.audio import AudioDataModule
from vqkit.training.data.image import ImageDataModule

SPLITS = ("train", "valid", "test")


def names(items):
    return [item.name for item in items]


@pytest.fixture
def sounds(tmp_path):
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", torch.zeros(8000).numpy(), 8000)
    return tmp_path


@pytest.fixture
def pictures(tmp_path):
    for number in range(12):
        write_image(tmp_path / f"{number}.png", torch.rand(3, 4, 4))
    return tmp_path


def test_every_name_keeps_its_split_when_others_come():
    first = hashed_splits(f"{number}.wav" for number in range(200))
    more = hashed_splits(f"{number}.wav" for number in range(400))
    assert all(more[name] == split for name, split in first.items())
    shares = [list(more.values()).count(split) / 400 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.05)
    assert (
        hashed_splits(["e\u0301.wav", "x", "y"])["e\u0301.wav"] == hashed_splits(["\u00e9.wav", "x", "y"])["\u00e9.wav"]
    )


@pytest.mark.parametrize("count", range(3, 30))
def test_no_split_is_empty(count):
    assert set(hashed_splits(map(str, range(count))).values()) == set(SPLITS)


def test_two_names_are_one_to_fit_and_one_to_measure():
    assert sorted(hashed_splits(["a", "b"]).values()) in (["train", "valid"], ["test", "train"])
    assert hashed_splits(["a"]) in ({"a": "train"}, {"a": "valid"}, {"a": "test"})


def test_every_command_splits_sound_alike(sounds):
    with pytest.warns(
        UserWarning, match=r"has no splits, so the hash of each file's name decides: \d+ train, \d valid"
    ):
        by_split = {split: names(list_clips(sounds, split)) for split in SPLITS}
    assert sorted(name for found in by_split.values() for name in found) == sorted(
        f"{number}.wav" for number in range(12)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, compared = AudioDataModule(str(sounds)), Dataset(str(sounds))
        assert names(module.clips("train")) == names(compared.clips(training=True)) == by_split["train"]
        assert names(module.clips("valid")) == by_split["valid"]
        assert sorted(names(compared.clips(training=False))) == by_split["test"]
        assert tuple(map(names, prior_split(list_clips(sounds), sounds, "clips"))) == (
            by_split["train"],
            by_split["valid"],
        )
    assert len(list_clips(sounds)) == 12
    assert names(AudioDataModule(str(sounds), train_split=None).clips(None)) == names(list_clips(sounds))


def test_every_command_splits_images_alike(pictures):
    with pytest.warns(UserWarning, match="has no splits, so the hash"):
        by_split = {split: names(list_images(pictures, split)) for split in SPLITS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, compared = ImageDataModule(str(pictures), size=4), Dataset(str(pictures))
        assert names(module.items("train")) == names(compared.images(training=True)) == by_split["train"]
        assert names(module.items("valid")) == by_split["valid"]
        assert sorted(names(compared.images(training=False))) == by_split["test"]
        assert prior_split(list_images(pictures), pictures, "images")[1] == [
            item for item in list_images(pictures) if item.name in by_split["valid"]
        ]


def test_it_is_said_once(sounds):
    module = AudioDataModule(str(sounds))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for split in ("train", "valid"):
            module.clips(split)
    assert len(caught) == 1


def test_what_names_splits_is_not_split(sounds):
    (sounds / "train").mkdir()
    (sounds / "0.wav").rename(sounds / "train/0.wav")
    with pytest.raises(SplitError, match="has no audio of split 'valid'; there is 'train'"):
        list_clips(sounds, "valid")
    with pytest.raises(
        ValueError, match=r"'train': --data.train_split and --data.valid_split name others; null trains"
    ):
        AudioDataModule(str(sounds)).clips("valid")
    with pytest.raises(ValueError, match=r"there is 'train': --data.split or --data.test_source names another"):
        Dataset(str(sounds)).clips(training=False)


def test_too_few_to_split(tmp_path):
    for number in range(2):
        write_image(tmp_path / f"{number}.png", torch.rand(3, 4, 4))
    with pytest.raises(
        ValueError, match="has 2 items of images and no splits; three are needed.*: --data.train_split and"
    ):
        ImageDataModule(str(tmp_path), size=4).items("train")


def test_clips_that_are_too_short_are_counted(sounds):
    for name in ("a", "b", "c"):
        soundfile.write(sounds / f"{name}.wav", torch.zeros(100).numpy(), 8000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for training in (True, False):
            Dataset(str(sounds), min_seconds=0.5).clips(training)
    found = [str(warning.message) for warning in caught]
    counted = [line for line in found if "left out" in line]
    assert sum(int(line.split()[2]) for line in counted) <= 3
    assert counted
    assert all("shorter than the 0.5 s of --data.min_seconds" in line for line in counted)
    with pytest.raises(ValueError, match=r"at least 9 s in .*: --data.min_seconds takes shorter ones"):
        Dataset(str(sounds / "0.wav"), split="", min_seconds=9).clips(training=False)


def test_every_command_splits_videos_alike(tmp_path):
    for number in range(12):
        (tmp_path / f"{number}.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.warns(UserWarning, match="has no splits, so the hash"):
        by_split = {split: names(list_items(tmp_path, VIDEO, split)) for split in SPLITS}
    assert {name: split for split, found in by_split.items() for name in found} == hashed_splits(
        f"{number}.mp4" for number in range(12)
    )
    with pytest.raises(ValueError, match="modality must be one of 'audio', 'image', 'video', got 'smell'"):
        modality_named("smell")
