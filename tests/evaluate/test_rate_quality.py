from dataclasses import replace

import pytest
import torch

from vqkit.data import sample_folder
from vqkit.evaluate.codecs import MP3, Opus, Original
from vqkit.evaluate.excerpts import Sound, choose_excerpts, load_excerpt, source_clips
from vqkit.evaluate.rate_quality import judge
from vqkit.metrics import LSD, PESQ

SYSTEMS = {"speech": [Original(16000), Opus(8), Opus(24)], "music": [MP3(16)]}


@pytest.fixture(scope="module")
def sounds():
    return [
        load_excerpt(choose_excerpts(source_clips(sample_folder(), "test", kind), 1, 2.5)[0], kind, 16000)
        for kind in ("speech", "music")
    ]


@pytest.fixture(scope="module")
def judged(sounds):
    return judge(sounds, SYSTEMS, thorough=False, keep_wavs=True)


def test_every_sound_meets_the_systems_of_its_kind(sounds, judged):
    assert [(one.sound, one.system) for one in judged] == [
        *((sounds[0].name, system.name) for system in SYSTEMS["speech"]),
        (sounds[1].name, "MP3 16 kbps"),
    ]
    assert "pesq" in judged[0].values
    assert "pesq" not in judged[3].values
    assert judged[0].seconds == sounds[0].wav.shape[1] / 16000


def test_values_are_those_of_the_metrics_on_the_decoded_sound(sounds, judged):
    coded = Opus(8).code(sounds[0].wav, 16000)
    assert torch.equal(judged[1].wav, coded.wav)
    assert (judged[1].packet_bytes, judged[1].file_bytes) == (coded.packet_bytes, coded.file_bytes)
    for metric in (PESQ(16000), LSD()):
        metric.update(coded.wav[None], sounds[0].wav[None])
        assert judged[1].values[metric.name] == float(metric.compute())


def test_the_original_is_at_the_ends_of_the_scales(judged):
    values = judged[0].values
    assert values["pesq"] == pytest.approx(4.64, abs=0.01)
    assert values["stoi"] == pytest.approx(1, abs=1e-4)
    assert (values["mel_distance"], values["lsd"], values["si_sdr"], values["kld_vqkit_sounds"]) == (0, 0, 100, 0)


def test_processes_give_the_same(sounds, judged):
    again = judge(sounds, SYSTEMS, thorough=False, keep_wavs=True, jobs=2)
    for one, other in zip(judged, again, strict=True):
        assert torch.equal(one.wav, other.wav)
        assert replace(one, wav=None, values={}) == replace(other, wav=None, values={})
        assert one.values == pytest.approx(other.values, rel=1e-4, abs=1e-6)


def test_what_a_metric_cannot_score_is_none():
    click = torch.zeros(1, 3200)  # too short for STOI, too silent for PESQ
    click[0, 1600] = 0.5
    (one,) = judge([Sound("click", click, 16000, "speech")], {"speech": [MP3(32)]}, thorough=False)
    assert one.values["stoi"] is None
    assert one.values["lsd"] is not None
    assert one.wav is None


def test_progress_is_told(sounds):
    told = []
    judge(sounds[1:], SYSTEMS, thorough=False, progress=lambda sound, found: told.append((sound.name, len(found))))
    assert told == [(sounds[1].name, 1)]


@pytest.mark.parametrize(
    ("systems", "jobs", "message"),
    [
        ({"speech": [Opus(8)]}, 1, "there are sounds of kind music, systems only for speech"),
        ({"speech": [Opus(8), Opus(8, "voip")], "music": [Opus(8)]}, 1, "systems must have different .* Opus 8 kbps"),
        (SYSTEMS, 0, "jobs must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named(sounds, systems, jobs, message):
    with pytest.raises(ValueError, match=message):
        judge(sounds, systems, jobs=jobs)


def test_sounds_need_different_names(sounds):
    with pytest.raises(ValueError, match="sounds must have different names"):
        judge([sounds[0], sounds[0]], SYSTEMS)
