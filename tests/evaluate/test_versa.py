import json
from dataclasses import replace

import pytest
import soundfile
import torch

from vqkit.evaluate.excerpts import Sound
from vqkit.evaluate.rate_quality import Judged
from vqkit.evaluate.versa import read_scores, read_scp, write_for_versa, write_scores, write_scp

SOUNDS = [
    Sound(f"speech/{name} 0.5 s", torch.full((1, 800), level), 16000, "speech")
    for name, level in (("a", 0.1), ("b", 0.2))
]
JUDGED = [
    Judged(
        system, sound.name, "speech", 0.05, 10, 20, {"pesq": 2.5, "f0_correlation": 0.9, "stoi": None}, sound.wav / 2
    )
    for sound in SOUNDS
    for system in ("vqkit 3 kbps", "Opus 8 kbps")
]


def test_a_comparison_becomes_lists_sounds_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = write_for_versa("out", SOUNDS, JUDGED)
    assert files == [tmp_path / "out" / name / "scores.jsonl" for name in ("vqkit_3_kbps", "Opus_8_kbps")]
    original, pred = read_scp("out/original.scp"), read_scp("out/vqkit_3_kbps/pred.scp")
    assert list(original) == list(pred) == ["speech_a_0.5_s", "speech_b_0.5_s"]
    for paths, share in ((original, 1), (pred, 0.5)):
        for sound, path in zip(SOUNDS, paths.values(), strict=True):
            samples, rate = soundfile.read(path)  # a whole path: lists are read elsewhere
            assert (rate, samples.shape) == (16000, (800,))
            assert samples == pytest.approx(share * sound.wav[0].numpy(), abs=1e-4)
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert lines[0] == {"key": "speech_a_0.5_s", "pesq": 2.5, "f0_corr": 0.9, "stoi": None}
    assert read_scores(files[0]) == dict.fromkeys(original, JUDGED[0].values)


def test_scores_of_versa_are_read_in_both_its_forms(tmp_path):
    path = tmp_path / "theirs.txt"
    path.write_text(
        '{"key": "a", "pesq": 1.5, "f0_corr": 0.8, "whisper_hyp_text": "hello", "failed": null}\n'
        "\n"
        "{'key': 'b', 'si_snr': -3.0, 'vad_info': [{'start': 0.1}], 'ok': True}\n"
    )
    assert read_scores(path) == {
        "a": {"pesq": 1.5, "f0_correlation": 0.8, "failed": None},
        "b": {"si_sdr": -3.0},
    }


@pytest.mark.parametrize(
    "line",
    ["[1]", '{"pesq": 1}', '{"key": 3}', "__import__('os').system('true')", "{'key':", '{"key": "a"}\n{"key": "a"}'],
)
def test_what_are_no_scores_is_refused_by_its_line(tmp_path, line):
    path = tmp_path / "scores.txt"
    path.write_text('{"key": "first", "pesq": 1}\n' + line + "\n")
    with pytest.raises(
        ValueError, match=rf"scores.txt, line {2 + line.count(chr(10))}: expected an object with a new key"
    ):
        read_scores(path)


def test_lists_hold_what_versa_can_read(tmp_path):
    with pytest.raises(ValueError, match="a key of a list must have no blanks, got 'a b'"):
        write_scp(tmp_path / "a.scp", {"a b": "x.wav"})
    for path in ("cat x.wav |", "a\nb.wav", " x.wav", ""):
        with pytest.raises(ValueError, match="a list cannot hold the path"):
            write_scp(tmp_path / "a.scp", {"a": path})
    for text in ("a\n", "a x.wav\na y.wav\n", "a cat x.wav |\n"):
        (tmp_path / "b.scp").write_text(text)
        with pytest.raises(ValueError, match=r"b.scp, line \d: expected a new key and a path"):
            read_scp(tmp_path / "b.scp")


def test_names_that_become_one_key_and_lost_waveforms_are_refused(tmp_path):
    twice = [SOUNDS[0], replace(SOUNDS[0], name="speech_a 0.5_s")]
    with pytest.raises(ValueError, match="names must differ in letters, digits"):
        write_for_versa(tmp_path, twice, [])
    with pytest.raises(ValueError, match=r"vqkit 3 kbps on speech/a 0.5 s: no waveform was kept"):
        write_for_versa(tmp_path, SOUNDS, [replace(JUDGED[0], wav=None)])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_scores(tmp_path / "x", {"a": {"pesq": float("nan")}})
