"""Paired clips: the same from the same seed, and their pictures follow their music."""

import shutil

import numpy as np
import pytest
import torch

from vqkit.cli import main
from vqkit.data import read_audio
from vqkit.data.video import pictures
from vqkit.generate.paired.scene import draw
from vqkit.generate.paired.score import MOODS, compose
from vqkit.generate.paired.synthesis import render
from vqkit.metrics import TwoTower, temporal_alignment


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    assert (
        main(
            [
                "generate",
                "pairs",
                "--out",
                str(folder),
                "--train",
                "2",
                "--valid",
                "0",
                "--test",
                "4",
                "--seconds",
                "4",
                "--quiet",
            ]
        )
        == 0
    )
    return folder


def test_a_score_keeps_its_mood():
    for mood in MOODS:
        score = compose(mood, 12.0, np.random.default_rng(1))
        assert mood.tempo[0] <= score.tempo <= mood.tempo[1]
        assert bool(score.of("drum")) == mood.drums
        tonic = min(note.pitch for note in score.of("bass"))
        allowed = {(tonic + step - first) % 12 for step in mood.scale for first in mood.scale}
        assert {note.pitch % 12 for note in score.of("melody")} <= allowed
        assert all(0 <= note.start < 12 for note in score.notes)
        bars = [note.start for note in score.of("bass")]
        assert bars == pytest.approx([4 * 60 / score.tempo * i for i in range(len(bars))])


def test_a_note_sounds_at_its_pitch():
    mood = MOODS[0]
    score = compose(mood, 4.0, np.random.default_rng(0))
    one = type(score)(mood, score.tempo, 4.0, (type(score.notes[0])(1.0, 1.0, 69, 0.8, "melody"),))
    wave = render(one, 16000, np.random.default_rng(0))
    assert np.abs(wave[:15900]).max() < 1e-3
    spectrum = np.abs(np.fft.rfft(wave[16000:32000]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)


def test_pictures_cut_at_each_bar():
    score = compose(MOODS[2], 12.0, np.random.default_rng(3))
    frames = np.stack(list(draw(score, 32, 10))).astype(float)
    corner = frames[:, 2, -2].mean(axis=-1)
    jumps = np.flatnonzero(np.abs(np.diff(corner)) > 20) + 1
    bars = [int(np.ceil(bar * 4 * score.beat * 10 - 1e-6)) for bar in range(1, len(score.of("bass")))]
    assert jumps.tolist() == [bar for bar in bars if bar < len(frames)]


def test_clips_are_the_same_from_the_same_seed_and_kept(clips, tmp_path):
    names = sorted(path.relative_to(clips).as_posix() for path in clips.rglob("*.mp4"))
    assert names == [
        "test/calm_0000.mp4", "test/happy_0001.mp4", "test/sad_0002.mp4", "test/tense_0003.mp4", "train/calm_0000.mp4",
        "train/happy_0001.mp4",
    ]  # fmt: skip
    shutil.copytree(clips / ".vqkit", tmp_path / ".vqkit")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "calm_0000.mp4").write_bytes(b"mine")
    words = ["--train", "0", "--valid", "0", "--test", "2", "--seconds", "4", "--quiet"]
    assert main(["generate", "pairs", "--out", str(tmp_path), *words]) == 0
    assert (tmp_path / "test" / "calm_0000.mp4").read_bytes() == b"mine"
    same = (clips / "test" / "happy_0001.mp4").read_bytes()
    assert (tmp_path / "test" / "happy_0001.mp4").read_bytes() == same
    assert main(["generate", "pairs", "--out", str(tmp_path), *words, "--seed", "1"]) == 2  # not beside those of seed 0
    assert main(["generate", "pairs", "--out", str(tmp_path / "x"), *words, "--seed", "1"]) == 0
    assert (tmp_path / "x" / "test" / "happy_0001.mp4").read_bytes() != same


def test_sound_is_aligned_with_its_own_pictures(clips):
    paths = sorted((clips / "test").glob("*.mp4"))
    seen = [torch.stack(list(pictures(path, 32, 10))) for path in paths]
    heard = [read_audio(path, 16000, 1).samples[0] for path in paths]
    table = torch.tensor([[temporal_alignment(wav, 16000, video, 10) for video in seen] for wav in heard])
    assert table.diagonal().mean() > table.mean() + 0.2
    assert temporal_alignment(heard[0], 16000, seen[0][:1].expand(40, -1, -1, -1), 10) == 0
    with pytest.raises(ValueError, match="at least 4 pictures"):
        temporal_alignment(heard[0], 16000, seen[0][:3], 10)


def test_alignment_of_clicks_and_flashes_by_hand():
    wav, video = torch.zeros(16000 * 4), torch.zeros(40, 3, 4, 4)
    for second in (1, 2, 3):
        wav[second * 16000 : second * 16000 + 400] = torch.sin(torch.arange(400) * 0.8)
        video[second * 10 :] = second % 2
    assert temporal_alignment(wav, 16000, video, 10) > 0.9
    assert temporal_alignment(wav.roll(8000), 16000, video, 10) < 0.1
    assert (
        temporal_alignment(wav.roll(1600), 16000, video, 10, lag=0)
        < 0.5
        < temporal_alignment(wav.roll(1600), 16000, video, 10, lag=1)
    )


def test_two_towers_learn_which_belong_together():
    torch.manual_seed(0)
    tower = TwoTower(8000, width=16, dim=8)
    optimizer = torch.optim.Adam(tower.parameters(), 5e-3)
    time = torch.arange(4000) / 8000

    def pairs(count):
        value = torch.rand(count)
        wav = 0.3 * torch.sin(2 * torch.pi * (200 + 2000 * value[:, None]) * time)
        return wav, value.view(-1, 1, 1, 1, 1).expand(-1, 3, 3, 32, 32)

    for _ in range(60):
        optimizer.zero_grad()
        tower.loss(*pairs(24)).backward()
        optimizer.step()
    with torch.no_grad():
        wav, video = pairs(32)
        right, wrong = tower.relevance(wav, video), tower.relevance(wav, video.roll(1, 0))
    assert right.mean() > wrong.mean() + 0.3
    assert right.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize(
    ("words", "message"), [(["--seconds", "0.5"], "seconds and rate at least 1"), (["--seed", "-1"], "seed must be")]
)
def test_errors(tmp_path, capsys, words, message):
    assert main(["generate", "pairs", "--out", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
