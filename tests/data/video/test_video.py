"""Frames of videos: which ones, how large, which way up, and what becomes of broken files."""

import numpy as np
import pytest
import torch

from vqkit.data.video import VideoClips, list_videos, middle_clip, read_frames


def numbers(clip):
    """Which frames they are, by their brightness."""
    return [round((255 * float(frame) - 40) / 8) for frame in clip[:, :, :, -8:].mean((0, 2, 3))]


def test_frames_at_a_stride(video, tmp_path):
    path = video(tmp_path / "a.mp4")
    assert numbers(read_frames(path, 5, 1, position=0)) == [0, 1, 2, 3, 4]
    assert numbers(read_frames(path, 5, 3, position=0)) == [0, 3, 6, 9, 12]
    assert numbers(read_frames(path, 5, 3, position=1)) == [7, 10, 13, 16, 19]
    assert numbers(read_frames(path, 4, 10, position=0.5)) == [0, 10, 19, 19]  # beyond the end the last frame stays
    clip = read_frames(path, 3, 1)
    assert clip.shape == (3, 3, 48, 64)
    assert clip.dtype == torch.float32
    assert 0 <= clip.min() < clip.max() <= 1


def test_sizes(video, tmp_path):
    path = video(tmp_path / "a.mp4")
    assert read_frames(path, 2, short_side=24).shape == (3, 2, 24, 32)
    middle = middle_clip(path, 2, 1, (16, 16))
    assert middle.shape == (3, 2, 16, 16)
    assert middle[..., 0].mean() < middle[..., -1].mean()  # not mirrored


def test_a_variable_frame_rate_is_read_by_time(video, tmp_path):
    # ten frames in the first second, then one a second
    times = [index / 10 for index in range(10)] + [1.0 + index for index in range(10)]
    path = video(tmp_path / "a.mkv", times=times)
    # frame 0 of a clip at 0 s; the average rate says how far a stride reaches
    rate = 20 / 10.1
    chosen = numbers(read_frames(path, 6, 2, position=0))
    shown = [max(i for i, time in enumerate(times) if time <= k * 2 / 10 + 1e-3) for k in range(6)]
    slow = [max(i for i, time in enumerate(times) if time <= k * 2 / rate + 1e-3) for k in range(6)]
    assert chosen in (shown, slow)  # containers state the nominal or the average rate
    assert chosen[1] - chosen[0] != chosen[-1] - chosen[-2] or chosen == shown


def turned(path, degrees):
    """The file with the rotation in its header: the matrix of the track."""
    matrices = {
        0: (1, 0, 0, 1),
        90: (0, 1, -1, 0),
        180: (-1, 0, 0, -1),
        270: (0, -1, 1, 0),
    }
    data = path.read_bytes()
    track = data.index(b"tkhd")
    a, b, c, d = matrices[degrees]
    words = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    place = track + 4 + 40
    whole = np.array([word & 0xFFFFFFFF for word in words], dtype=">u4").tobytes()
    other = path.with_name(f"{degrees}.mp4")
    other.write_bytes(data[:place] + whole + data[place + 36 :])
    return other


def test_frames_are_upright(video, tmp_path):
    path = video(tmp_path / "a.mp4")
    plain = read_frames(path, 1)[:, 0].mean(0)
    found = {degrees: read_frames(turned(path, degrees), 1)[:, 0].mean(0) for degrees in (0, 90, 180, 270)}
    assert found[0].shape == found[180].shape == (48, 64)
    assert found[90].shape == found[270].shape == (64, 48)
    for degrees, image in found.items():
        # the header says by how much a player turns the picture clockwise
        expected = torch.rot90(plain, -degrees // 90)
        torch.testing.assert_close(image, expected, atol=0.02, rtol=0)


def test_broken_files_are_named_counted_and_replaced(video, tmp_path):
    video(tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    items = list_videos(tmp_path)
    assert [item.name for item in items] == ["bad.mp4", "good.mp4"]
    clips = VideoClips(items, frames=2, stride=1, size=(16, 16), length=12, crop="multi-scale")
    with pytest.warns(UserWarning, match=r"skipped .*bad.mp4: is not a video that PyAV can read"):
        found = [clips[index] for index in range(12)]
    assert all(clip.shape == (3, 2, 16, 16) for clip in found)
    assert list(clips.skipped) == [str(tmp_path / "bad.mp4")]
    assert torch.equal(found[3], clips[3])
    only = VideoClips(items[:1], frames=2, stride=1, size=(16, 16))
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"no video can be used, skipped 1 of 1 clips"),
    ):
        only[0]


def test_sound_without_pictures_and_bad_arguments(tmp_path):
    from vqkit.data import write_audio

    write_audio(tmp_path / "a.wav", torch.zeros(1, 8000), 8000)
    with pytest.raises(ValueError, match="has no moving picture that can be decoded"):
        read_frames(tmp_path / "a.wav", 2)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_frames(tmp_path / "b.mp4", 2)
    with pytest.raises(
        ValueError, match="frames, stride and short_side must be positive and position in 0 … 1, got 2, 0"
    ):
        read_frames(tmp_path / "a.wav", 2, 0)


def test_labels_come_from_folders_or_a_manifest(video, tmp_path):
    for name in ("train/walk", "train/run", "test/run"):
        (tmp_path / name).mkdir(parents=True)
        video(tmp_path / name / "1.mp4", count=2)
    found = [(item.name, item.split, item.label) for item in list_videos(tmp_path)]
    assert found[0] == ("test/run/1.mp4", "test", "run")
    assert {label for _, _, label in found} == {"walk", "run"}
    (tmp_path / "manifest.csv").write_text("path,split,label,place\ntrain/walk/1.mp4,valid,stroll,park\n")
    (item,) = list_videos(tmp_path)
    assert (item.split, item.label, item.labels["place"]) == ("valid", "stroll", "park")
    with pytest.raises(ValueError, match="has no videos of split 'test'; there is 'valid'"):
        list_videos(tmp_path, "test")
