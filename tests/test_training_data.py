"""The script that rebuilds the training recordings, on packages made here."""

import csv
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from vqkit.data import list_clips, read_audio, write_audio

SCRIPT = Path(__file__).parents[1] / "recipes/training_data.py"
spec = importlib.util.spec_from_file_location("training_data", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_the_list_can_be_read_and_names_licences():
    rows = script.read_list()
    assert len({row["path"] for row in rows}) == len(rows) > 2000
    for row in rows:
        assert row["licence"]
        assert row["source_package"]
        assert row["split"] in ("train", "valid", "test")
        assert row["kind"] in ("sound", "midi", "note")
        assert (row["kind"] == "sound") != bool(row["peak"])
        assert float(row["start"]) >= 0 < float(row["duration"])
        assert row["path"].endswith(".flac")
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
