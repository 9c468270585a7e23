import struct

import pytest
import torch

from vqkit.data import AUDIO_SUFFIXES, list_clips, sample_folder, write_audio


def sounds(folder, *names, seconds=0.1):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(folder / name, torch.zeros(1, round(16000 * seconds)), 16000)


def test_the_shipped_samples():
    clips = list_clips(sample_folder())
    names = [clip.name for clip in clips]
    assert names == sorted(names)
    assert len(set(names)) == len(names) > 40
    assert {clip.split for clip in clips} == {"train", "valid", "test"}
    assert {clip.group for clip in clips} == {"music", "speech"}
    assert all(clip.path == sample_folder() / clip.name and clip.path.is_file() for clip in clips)
    assert all(clip.seconds > 0.3 and clip.sample_rate in (16000, 24000, 48000) for clip in clips)
    assert all(clip.labels["licence"] and "path" not in clip.labels and "split" not in clip.labels for clip in clips)
    assert clips == list_clips(sample_folder() / "manifest.csv")


def test_filters():
    everything = list_clips(sample_folder())
    chosen = list_clips(sample_folder(), split="test", group="speech")
    assert chosen == [clip for clip in everything if clip.split == "test" and clip.group == "speech"]
    with pytest.raises(ValueError, match="has no audio of split 'tset'; there is 'test', 'train', 'valid'"):
        list_clips(sample_folder(), split="tset")
    with pytest.raises(ValueError, match="has no audio of group 'video'; there is 'music', 'speech'"):
        list_clips(sample_folder(), group="video")


def test_a_folder_without_manifest_is_walked(tmp_path):
    folder = tmp_path / "test"  # a split's name above the source says nothing
    sounds(folder, "b/train/x.wav", "b/Validation/y.flac", "a.ogg", "test/train/deep/z.WAV", ".hidden/h.wav", ".h.wav")
    (folder / "notes.txt").write_text("x")
    with pytest.warns(
        UserWarning, match=f"^passed over 1 file that is neither sound nor an image: notes.txt in {folder}$"
    ):
        clips = list_clips(folder)
    (folder / "notes.txt").unlink()
    assert [(clip.name, clip.split) for clip in clips] == [
        ("a.ogg", ""),
        ("b/Validation/y.flac", "valid"),
        ("b/train/x.wav", "train"),
        ("test/train/deep/z.WAV", "train"),
    ]
    assert [(clip.seconds, clip.sample_rate) for clip in clips] == [(0.1, 16000)] * 4
    assert [clip.name for clip in list_clips(folder, split="valid")] == ["b/Validation/y.flac"]


def test_content_tells_sound_without_its_suffix(tmp_path):
    sounds(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "b.wav").rename(tmp_path / "b.png")
    (tmp_path / "c.wav").rename(tmp_path / "c")
    (tmp_path / "picture.wav").write_bytes(b"GIF89a")
    (tmp_path / "film").write_bytes(b"\x1a\x45\xdf\xa3")
    (tmp_path / "film.mp4").touch()
    (tmp_path / "done.vqk").touch()
    with pytest.warns(UserWarning, match="^passed over 1 image and 2 films in"):
        clips = list_clips(tmp_path)
    assert [(clip.name, clip.seconds) for clip in clips] == [("a.wav", 0.1), ("b.png", 0.1), ("c", 0.1)]
    for name in ("picture.wav", "film.mp4"):
        (tmp_path / name).unlink()
    (tmp_path / "film").rename(tmp_path / "film.mka")  # a container of films that holds sound alone
    with pytest.warns(UserWarning, match=r"skipped 1 of 4 clips: .*film\.mka"):
        assert [clip.name for clip in list_clips(tmp_path)] == ["a.wav", "b.png", "c"]
    (tmp_path / "picture.wav").write_bytes(b"GIF89a")
    (tmp_path / "manifest.csv").write_text("path,split\nc,x\na.wav,x\npicture.wav,x\n")
    with pytest.warns(UserWarning, match=r"skipped 1 of 3 clips: .*picture\.wav"):
        assert [clip.name for clip in list_clips(tmp_path)] == ["a.wav", "c"]


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    sounds(tmp_path, "train/a.wav", "valid/b.wav")
    no_decoder = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 40000, 5, 36)  # integers of 36 bits
    no_decoder = b"WAVEfmt " + no_decoder + b"data" + struct.pack("<I", 500) + bytes(500)
    for name, content in (
        ("c.mp3", b"broken"),
        ("d.wav", b"RIFF" + struct.pack("<I", 540) + no_decoder),
        ("e.wav", b""),
    ):
        (tmp_path / "train" / name).write_bytes(content)
    text = r"skipped 3 of 4 clips: .*c\.mp3 \(is not audio .*d\.wav \(holds sound of a codec that FFmpeg has no decoder for\); .*e\.wav"
    with pytest.warns(UserWarning, match=text) as caught:
        assert [clip.name for clip in list_clips(tmp_path, "train")] == ["train/a.wav"]
    assert caught[0].filename == __file__
    assert [clip.name for clip in list_clips(tmp_path, "valid")] == ["valid/b.wav"]  # the others are not opened
    (tmp_path / "manifest.csv").write_text("path,split\ntrain/c.mp3,train\ntrain/a.wav,valid\n")
    assert [clip.name for clip in list_clips(tmp_path, "valid")] == ["train/a.wav"]
    with pytest.raises(ValueError, match=r"no clip can be used, skipped 1 of 1 clips: .*c\.mp3"):
        list_clips(tmp_path, "train")
    (tmp_path / "manifest.csv").write_text("path,split,duration,sample_rate\ntrain/c.mp3,train,2,8000\n")
    assert list_clips(tmp_path)[0].seconds == 2  # as the manifest says; who reads it finds out


def test_one_file(tmp_path):
    sounds(tmp_path, "train/x.wav")
    (clip,) = list_clips(tmp_path / "train/x.wav")
    assert (clip.name, clip.split, clip.seconds, clip.sample_rate) == ("x.wav", "", 0.1, 16000)
    (tmp_path / "x.wav").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"x\.wav is not audio"):
        list_clips(tmp_path / "x.wav")


def test_a_manifest_without_durations_asks_the_headers(tmp_path):
    sounds(tmp_path, "x.wav", "y.wav", seconds=0.25)
    (tmp_path / "list.csv").write_text("path,split,duration,mood\ny.wav,a,,sad\nx.wav,b,7,glad\n")
    clips = list_clips(tmp_path / "list.csv")
    assert [(c.name, c.split, c.group, c.seconds, c.sample_rate, c.labels) for c in clips] == [
        ("x.wav", "b", "", 7.0, 16000, {"mood": "glad"}),
        ("y.wav", "a", "", 0.25, 16000, {"mood": "sad"}),
    ]


def test_nothing_to_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        list_clips(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no audio files \(.*\.flac.*\.wav"):
        list_clips(tmp_path)
    assert ".mp4" not in AUDIO_SUFFIXES
    (tmp_path / "manifest.csv").write_text("path,split\npicture.png,train\n")
    with pytest.raises(ValueError, match="holds no audio files"):
        list_clips(tmp_path)
