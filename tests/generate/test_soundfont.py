"""Music with the instruments of a soundfont: the notes as MIDI, and FluidSynth, where it is installed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vqkit.cli import main
from vqkit.data import read_audio
from vqkit.generate.paired.score import MOODS, Note, Score, compose
from vqkit.generate.paired.soundfont import midi_file, render_with_soundfont

SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
installed = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.is_file(),
    reason="needs Debian's fluidsynth and timgm6mb-soundfont",
)


def read_midi(data):
    """Notes as (start, end, channel, pitch, velocity) in seconds, and programs by channel: an independent reader of one track."""
    assert data[:14] == b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 1, 224])
    assert data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
    place, tick, started, notes, programs = 22, 0, {}, [], {}
    while place < len(data):
        step = 0
        while True:
            byte, place = data[place], place + 1
            step = step << 7 | byte & 127
            if byte < 128:
                break
        tick += step
        kind, channel = data[place] & 0xF0, data[place] & 15
        if kind == 0xC0:
            programs[channel] = data[place + 1]
            place += 2
        elif kind == 0xF0:
            assert data[place:] == b"\xff\x2f\x00"
            place = len(data)
        else:
            pitch, velocity = data[place + 1 : place + 3]
            if kind == 0x90:
                assert velocity > 0
                started.setdefault((channel, pitch), []).append((tick, velocity))
            else:
                start, loud = started[channel, pitch].pop(0)
                notes.append((start / 960, tick / 960, channel, pitch, loud))
            place += 3
    assert not any(started.values())
    return notes, programs


def test_a_midi_file_has_the_notes_of_the_score():
    score = compose(MOODS[1], 6.0, np.random.default_rng(0))
    notes, programs = read_midi(midi_file(score))
    assert programs == {0: 33, 1: 0, 2: 73}
    channels = {"bass": 0, "chord": 1, "melody": 2, "drum": 9}
    expected = sorted((n.start, channels[n.voice], n.pitch, round(127 * n.loudness)) for n in score.notes)
    found = sorted((start, channel, pitch, loud) for start, _, channel, pitch, loud in notes)
    assert [note[1:] for note in found] == [note[1:] for note in expected]
    assert [note[0] for note in found] == pytest.approx([note[0] for note in expected], abs=1 / 960)
    assert all(end > start for start, end, *_ in notes)


@installed
def test_a_note_of_a_soundfont_sounds_at_its_time_and_pitch():
    mood = MOODS[0]
    score = Score(mood, 60, 3.0, (Note(1.0, 1.5, 69, 0.8, "melody"),))
    wave = render_with_soundfont(score, SOUNDFONT, 16000)
    assert wave.shape == (48000,)
    assert np.abs(wave).max() == pytest.approx(0.9)
    assert np.abs(wave[:15900]).max() < 0.01
    spectrum = np.abs(np.fft.rfft(wave[17000:33000]))
    assert spectrum.argmax() == pytest.approx(440, abs=3)
    assert np.array_equal(wave, render_with_soundfont(score, SOUNDFONT, 16000))


@installed
def test_the_command_takes_a_soundfont(tmp_path):
    words = ["generate", "pairs", "--train", "1", "--valid", "0", "--test", "0", "--seconds", "2", "--quiet"]
    for name, more in (("plain", []), ("font", ["--soundfont", str(SOUNDFONT)])):
        assert main([*words, "--out", str(tmp_path / name), *more]) == 0
    plain, font = (
        read_audio(tmp_path / name / "train" / "calm_0000.mp4", 16000, 1).samples[0] for name in ("plain", "font")
    )
    assert font.abs().max() > 0.3
    length = min(len(plain), len(font))
    assert np.corrcoef(plain[:length], font[:length])[0, 1] < 0.9  # other instruments


def test_what_is_missing_is_named_in_a_line(tmp_path, monkeypatch, capsys):
    words = ["generate", "pairs", "--out", str(tmp_path / "x"), "--train", "1", "--soundfont", str(tmp_path / "a.sf2")]
    monkeypatch.setenv("PATH", "")
    assert main(words) == 2
    assert (
        "a soundfont needs FluidSynth, which is not installed: Debian's package fluidsynth" in capsys.readouterr().err
    )
    program = tmp_path / "fluidsynth"
    program.write_text("#!/bin/sh\necho 'no instruments' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert main(words) == 2
    assert "no such soundfont" in capsys.readouterr().err
    (tmp_path / "a.sf2").write_bytes(b"")
    assert main(words) == 2
    assert "a.sf2: no instruments" in capsys.readouterr().err
    assert not list((tmp_path / "x").rglob("*.mp4"))
