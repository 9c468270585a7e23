"""Clips of motion: the same from the same seed, and they move as their class says."""

import numpy as np
import pytest

from vqkit.cli import main
from vqkit.data.video import list_videos, read_frames, video_info
from vqkit.data.video.writer import write_frames
from vqkit.generate.motion import MOTIONS, draw_motion, write_motions


def moving_part(motion: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (rows, columns) and areas of what differs from the ground in most frames, by the median over time."""
    clip = np.stack([*draw_motion(motion, 24, 64, np.random.default_rng(seed))]).astype(int)
    # a circle passes every place but once, a path of a line too: the median frame is the ground with the still shape
    moved = np.abs(clip - np.median(clip, axis=0)).sum(-1) > 60
    centres = np.array([np.argwhere(frame).mean(0) if frame.any() else [np.nan] * 2 for frame in moved])
    return centres, moved.sum((1, 2))


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
def test_a_shape_moves_the_way_that_its_class_says(motion):
    axis, sign = {"left": (1, -1), "right": (1, 1), "up": (0, -1), "down": (0, 1)}[motion]
    for seed in range(4):
        centres, _ = moving_part(motion, seed)
        path = centres[-4:].mean(0) - centres[:4].mean(0)
        assert sign * path[axis] > 8
        assert abs(path[1 - axis]) < 5


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("anticlockwise", -1)])
def test_a_circle_turns_as_on_a_clock(motion, sign):
    for seed in range(4):
        centres, _ = moving_part(motion, seed)
        down, right = (centres - np.nanmean(centres, axis=0)).T
        turned = np.unwrap(np.arctan2(down, right)[~np.isnan(down)])
        assert np.sign(turned[-1] - turned[0]) == sign
        assert abs(turned[-1] - turned[0]) > 4


def test_growing_ends_large_and_shrinking_is_growing_backwards():
    grown = np.stack([*draw_motion("growing", 9, 64, np.random.default_rng(3))])
    shrunk = np.stack([*draw_motion("shrinking", 9, 64, np.random.default_rng(3))])
    assert np.array_equal(grown, shrunk[::-1])
    last_differs = (grown[-1] != grown[0]).any(-1).sum()
    assert last_differs > 100


def test_a_single_frame_of_left_may_be_one_of_right():
    left = np.stack([*draw_motion("left", 9, 32, np.random.default_rng(0))])
    right = np.stack([*draw_motion("right", 9, 32, np.random.default_rng(0))])
    assert np.array_equal(left, right[::-1])


def test_a_folder_has_splits_and_classes_and_goes_on(tmp_path, capsys):
    command = ["generate", "motion", "--out", str(tmp_path), "--train", "8", "--valid", "0", "--test", "8"]
    assert main([*command, "--frames", "8", "--size", "32"]) == 0
    assert "16 clips of 8 kinds of motion, seed 0" in capsys.readouterr().out
    items = list_videos(tmp_path)
    assert sorted({item.label for item in items}) == sorted(MOTIONS)
    assert {item.split for item in items} == {"train", "test"}
    one = tmp_path / "train" / "left" / "0000.mp4"
    before = read_frames(one, 8, 1)
    assert before.shape == (3, 8, 32, 32)
    one.unlink()
    other = tmp_path / "train" / "up" / "0002.mp4"
    stamp = other.stat().st_mtime_ns
    write_motions(tmp_path, train=8, valid=0, test=8, frames=8, size=32)
    assert (read_frames(one, 8, 1) - before).abs().mean() < 0.02  # the same clip; its coding is the encoder's affair
    assert other.stat().st_mtime_ns == stamp


def test_clips_of_other_settings_are_not_mixed_in(tmp_path, capsys):
    command = [
        "generate",
        "motion",
        "--out",
        str(tmp_path),
        "--train",
        "2",
        "--valid",
        "0",
        "--test",
        "0",
        "--size",
        "32",
    ]
    assert main([*command, "--frames", "8"]) == 0
    assert main([*command, "--frames", "8", "--train", "3"]) == 0
    capsys.readouterr()
    for flags, message in (
        (["--frames", "9"], "frames = 8, not 9"),
        (["--frames", "8", "--seed", "7"], "seed = 0, not 7"),
    ):
        assert main([*command, *flags]) == 2
        assert f"{tmp_path} holds clips with {message}; choose another folder" in capsys.readouterr().err
    for damaged in ("{", "[]"):
        (tmp_path / ".vqkit" / "clips.json").write_text(damaged)
        assert main([*command, "--frames", "8"]) == 2
        assert "clips.json is damaged" in capsys.readouterr().err
    (tmp_path / ".vqkit" / "clips.json").unlink()  # as of a version that kept none
    with pytest.warns(UserWarning, match="holds clips, but not the settings they were made with: they stay as they"):
        assert main([*command, "--frames", "8", "--train", "4"]) == 0
    assert not (tmp_path / ".vqkit" / "clips.json").exists()  # what is not known is not written either
    assert f"{tmp_path}: 4 clips of 4 kinds of motion\n" in capsys.readouterr().out
    assert len(list_videos(tmp_path)) == 4


def test_settings_are_those_of_clips_that_there_are(tmp_path, monkeypatch):
    settings = {"train": 1, "valid": 0, "test": 0, "size": 32}
    write_motions(tmp_path, **settings, frames=8)
    (tmp_path / "train" / "left" / "0000.mp4").unlink()
    (clip,) = write_motions(tmp_path, **settings, frames=9)  # the old ones are gone
    with pytest.raises(ValueError, match="frames = 9, not 8"):
        write_motions(tmp_path, **settings, frames=8)
    assert video_info(clip).seconds == pytest.approx(9 / 16)

    def killed(*clip):
        write_frames(*clip)
        raise KeyboardInterrupt

    monkeypatch.setattr("vqkit.generate.motion.write_frames", killed)
    with pytest.raises(KeyboardInterrupt):
        write_motions(tmp_path / "other", **settings, frames=8)
    with pytest.raises(ValueError, match="frames = 8, not 9"):  # known from the first clip on
        write_motions(tmp_path / "other", **settings, frames=9)


def test_what_is_allowed():
    with pytest.raises(ValueError, match="motion must be one of left, right, .* got 'sideways'"):
        next(draw_motion("sideways", 2, 32, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="size even and at least 16, got .* 33"):
        write_motions("nowhere", size=33)
