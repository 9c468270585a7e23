"""The script that rebuilds the training data, on packages made here."""

import csv
import gzip
import importlib.util
import io
import json
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit.data import list_clips, list_images, read_audio, write_audio
from vqkit.data.video.whole import read_video

SCRIPT = Path(__file__).parents[1] / "recipes/training_data.py"
sys.path.append(str(SCRIPT.parent))  # as where the script runs, whose other modules lie beside it
spec = importlib.util.spec_from_file_location("training_data", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
packages, pictures = sys.modules["training_packages"], sys.modules["training_pictures"]
small = sys.modules["training_small_images"]
SUFFIXES = {
    "sound": ".flac",
    "midi": ".flac",
    "note": ".flac",
    "score": ".mid",
    "picture": ".jpg",
    "stamp": ".png",
    "video": ".mp4",
    **dict.fromkeys(("digits", "mnist", "emoji"), ".npz"),
}


def test_the_list_can_be_read_and_names_licences():
    rows = script.read_list()
    assert len({row["path"] for row in rows}) == len(rows) > 2000
    for row in rows:
        assert row["licence"]
        assert row["source_package"]
        assert row["split"] in (("in-file",) if row["splits"] else ("train", "valid", "test"))
        assert bool(row["splits"]) == row["path"].endswith(".npz")
        assert set(row["splits"]) <= set("rvt.")
        assert row["path"].endswith(SUFFIXES[row["kind"]])
        assert bool(row["peak"]) == (row["kind"] in ("midi", "note"))
        if row["kind"] in ("sound", "midi", "note", "video"):
            assert float(row["start"]) >= 0 < float(row["duration"])
        assert ".." not in row["path"]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A list of one song of two tracks, and its package, unpacked."""
    rate = 8000
    generator = torch.Generator().manual_seed(0)
    tracks = [0.2 * torch.randn(2, 3 * rate, generator=generator) for _ in range(2)]
    folder = tmp_path / "cache/some-music/usr/share"
    folder.mkdir(parents=True)
    for name, track in zip(("song", "guitar"), tracks, strict=True):
        write_audio(folder / f"{name}.flac", track, rate)
    row = dict.fromkeys(script.read_list()[0], "") | {
        "path": "music/a.flac", "split": "train", "duration": "1.5", "sample_rate": str(rate), "group": "music", "kind": "sound",
        "source_package": "some-music", "source_file": "usr/share/song.flac+usr/share/guitar.flac", "start": "0.5", "gain_db": "-6",
        "channels": "1",
    }  # fmt: skip
    missing = row | {"path": "music/b.flac", "source_file": "usr/share/gone.flac"}
    monkeypatch.setattr(script, "read_list", lambda: [row, missing])
    monkeypatch.setattr(sys, "argv", ["training_data.py", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")])
    return tmp_path / "data", sum(tracks).mean(dim=0)[rate // 2 : 2 * rate] * 10 ** (-6 / 20)


def test_tracks_are_mixed_cut_and_levelled_and_a_file_that_fails_is_named(asked, capsys):
    data, expected = asked
    assert script.main() == 1
    printed = capsys.readouterr()
    assert "1 files" in printed.out
    assert "1 not made, music/b.flac the first" in printed.err
    assert "gone.flac" in printed.err
    (clip,) = list_clips(data)
    torch.testing.assert_close(read_audio(clip.path).samples[0], expected, atol=1e-4, rtol=0)
    with (data / "manifest.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["source_package"] == "some-music"


def test_a_note_is_held_for_a_second():
    midi = script.note(program=34, pitch=28, velocity=100)
    assert midi.startswith(b"MThd")
    assert midi[22:] == bytes([0, 0xC0, 34, 0, 0x90, 28, 100, 0x87, 0x40, 0x80, 28, 0, 0x87, 0x40, 0xFF, 0x2F, 0])


def test_a_stereo_cut_keeps_both_channels(asked):
    data, expected = asked
    row = script.read_list()[0] | {"channels": "2"}
    stereo = script.cut(row, data.parent / "cache")
    assert stereo.shape == (2, len(expected))
    assert not torch.allclose(stereo[0], stereo[1])
    torch.testing.assert_close(stereo.mean(dim=0), expected, atol=1e-4, rtol=0)


@pytest.fixture
def drawings(tmp_path, monkeypatch):
    """A list of a picture and a stamp, and their package."""
    folder = tmp_path / "cache/drawings==1.0/art"
    folder.mkdir(parents=True)
    ramp = np.broadcast_to(np.linspace(0, 255, 2560).astype(np.uint8)[None, :, None], (640, 2560, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(folder / "ramp.png")
    square = np.zeros((600, 900, 4), np.uint8)
    square[100:356, 200:712] = 10, 200, 30, 255  # 256 × 512 pixels that can be seen
    Image.fromarray(square).save(folder / "square.png")
    empty = dict.fromkeys(script.read_list()[0], "") | {
        "source_package": "drawings==1.0",
        "split": "train",
        "licence": "CC0-1.0",
    }
    rows = [
        empty | {"path": "images/photos/train/ramp.jpg", "kind": "picture", "source_file": "art/ramp.png"},
        empty | {"path": "images/stamps/train/square.png", "kind": "stamp", "source_file": "art/square.png"},
    ]
    monkeypatch.setattr(script, "read_list", lambda: rows)
    monkeypatch.setattr(sys, "argv", ["training_data.py", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")])
    return tmp_path / "data"


def test_pictures_keep_their_shape_and_stamps_lose_their_margins(drawings):
    assert script.main() == 0
    ramp = Image.open(drawings / "images/photos/train/ramp.jpg")
    assert ramp.size == (1280, 320)
    assert [layer[1:3] for layer in ramp.layer] == [(1, 1)] * 3  # colours at full resolution
    expected = np.linspace(0, 255, 1280)[None, :, None]
    assert np.abs(np.asarray(ramp, float) - expected).max() < 4
    stamp = np.asarray(Image.open(drawings / "images/stamps/train/square.png"))
    assert stamp.shape == (64, 128, 4)
    assert (stamp == (10, 200, 30, 255)).all()
    assert len(list_images(drawings, split="train")) == 2


def test_only_what_is_in_the_folders_is_made(drawings, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--folders", "images/stamps"])
    assert script.main() == 0
    assert [item.path.name for item in list_images(drawings)] == ["square.png"]
    monkeypatch.setattr(
        sys, "argv", [*sys.argv, "--folders", "images/stamp"]
    )  # no folder, only the start of one's name
    with pytest.raises(SystemExit):
        script.main()
    assert "no file is in images/stamp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "name", "tool"),
    [
        ("some==1.0", "some-1.0-py3-none-any.whl", "pip"),
        ("some==1.0", "some-1.0.tar.gz", "pip"),
        ("some@1.0", "some-1.0.tgz", "npm"),
    ],
)
def test_packages_of_pypi_and_npm_are_unpacked_and_fetched_once(tmp_path, monkeypatch, package, name, tool):
    calls = []
    monkeypatch.setattr(packages.shutil, "which", lambda name: name)

    def run(command, cwd, **_):
        calls.append(command)
        archive = Path(cwd) / name
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr("some/a.txt", "here")
        else:
            with tarfile.open(archive, "w:gz") as file:
                entry = tarfile.TarInfo("some/a.txt")
                entry.size = 4
                file.addfile(entry, io.BytesIO(b"here"))
        return packages.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    for _ in range(2):
        folder = packages.fetch(package, tmp_path / "cache")
    assert folder == tmp_path / "cache" / package
    assert (folder / "some/a.txt").read_text() == "here"
    assert len(calls) == 1
    assert calls[0][-1] == package
    assert tool in calls[0]


def test_a_package_that_cannot_be_fetched_is_named(tmp_path, monkeypatch):
    failed = packages.subprocess.CompletedProcess([], 1, "", "no matching distribution")
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="some==1.0 failed: no matching distribution"):
        packages.fetch("some==1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(packages.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="npm is needed to fetch some@1.0"):
        packages.fetch("some@1.0", tmp_path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg is not installed")
def test_a_video_is_cut_and_scaled(tmp_path, monkeypatch):
    source = tmp_path / "grey.mp4"
    frames = "nullsrc=size=64x48:rate=10:duration=3,geq=lum='50+5*N':cb=128:cr=128"
    pictures.subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", frames, str(source)], check=True)
    (tmp_path / "cut.mp4").write_bytes(pictures.video(source, "1", "0.5", "-vf scale=32:24"))
    cut = read_video(tmp_path / "cut.mp4")
    assert (cut.frames.shape, cut.rate) == ((3, 5, 24, 32), 10)
    luma = [(100 + 5 * place - 16) / 219 for place in range(5)]  # BT.601, 16 to 235
    torch.testing.assert_close(cut.frames.mean(dim=(0, 2, 3)), torch.tensor(luma), atol=0.02, rtol=0)
    monkeypatch.setattr(pictures.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="ffmpeg is needed"):
        pictures.video(source, "1", "0.5", "")


def test_digits_are_split_by_the_letters_of_the_list(tmp_path):
    table = np.concatenate([np.arange(3 * 64).reshape(3, 64) % 17, [[7], [0], [9]]], axis=1)
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
        np.savetxt(file, table, delimiter=",", fmt="%.18e")
    found = np.load(io.BytesIO(small.digits(tmp_path / "digits.csv.gz", "t.r")))
    assert (found["images"] == table[[0, 2], :64].reshape(2, 8, 8)).all()
    assert found["labels"].tolist() == [7, 9]
    assert found["split"].tolist() == ["test", "train"]
    with pytest.raises(ValueError, match="the package has 3 images, the list 2: another version?"):
        small.digits(tmp_path / "digits.csv.gz", "tr")


def test_mnist_is_in_the_order_of_its_digits(tmp_path):
    for digit in range(10):
        (tmp_path / f"{digit}.json").write_text(json.dumps({"data": [digit / 255] * 784}))
    found = np.load(io.BytesIO(small.mnist(tmp_path, "rrrrrvvttt")))
    assert found["labels"].tolist() == found["images"][:, 27, 27].tolist() == list(range(10))
    assert found["images"].dtype == np.uint8
    assert found["split"][5:8].tolist() == ["valid", "valid", "test"]


def test_emoji_of_one_character():
    text = (
        "# group: Smileys & Emotion\n# subgroup: face-smiling\n"
        "1F600                  ; fully-qualified     # 😀 E1.0 grinning face\n"
        "263A FE0F              ; fully-qualified     # ☺️ E0.6 smiling face\n"
        "263A                   ; unqualified         # ☺ E0.6 smiling face\n"
        "1F636 200D 1F32B FE0F  ; fully-qualified     # 😶 E13.1 face in clouds\n"
        "# group: Flags\n# subgroup: flag\n"
        "1F3C1                  ; fully-qualified     # 🏁 E0.6 chequered flag\n"
    )
    found = small.emoji_of_one_character(text)
    assert [row["character"] for row in found] == ["😀", "☺", "🏁"]
    assert [row["name"] for row in found] == ["grinning face", "smiling face", "chequered flag"]
    assert found[1] == {
        "character": "☺",
        "name": "smiling face",
        "group": "Smileys & Emotion",
        "subgroup": "face-smiling",
    }
    assert (found[2]["group"], found[2]["subgroup"]) == ("Flags", "flag")


def test_emoji_are_drawn_in_the_middle_of_their_square(tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text(
        "# group: A\n# subgroup: a\n0041 ; fully-qualified # A E1.0 letter\n"
        "# group: B\n# subgroup: b\n0042 ; fully-qualified # B E1.0 letter\n"
    )

    class Draw:  # every glyph as high and wide as those of the font
        def __init__(self, image):
            self.image = image

        def text(self, place, character, **_):
            self.image.paste((200, 100, 50, 255), (0, 0, 136, 128))

    monkeypatch.setattr(small.ImageFont, "truetype", lambda *_, **__: None)
    monkeypatch.setattr(small.ImageDraw, "Draw", Draw)
    found = np.load(io.BytesIO(small.emoji(tmp_path / "font.ttf", "v.", tmp_path / "list.txt")))
    (image,) = found["images"]
    assert image.shape == (32, 32, 4)
    assert np.abs(image[2:30].astype(int) - (200, 100, 50, 255)).max() <= 15  # Lanczos' filter rings at the edges
    assert (image[0, :, 3] < 30).all()
    assert (image[31, :, 3] < 30).all()
    assert {name: found[name].tolist() for name in ("label_names", "labels", "split", "names", "subgroups")} == {
        "label_names": ["A"], "labels": [0], "split": ["valid"], "names": ["letter"], "subgroups": ["a"],
    }  # fmt: skip
