import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.metrics import KLD, SoundClassifier
from vqkit.metrics.sound_classifier import SHIPPED_WEIGHTS

CARD = (SHIPPED_WEIGHTS.parent / "MODEL_CARD.md").read_text("utf-8")


def test_hears_speech_and_music_in_the_clips_that_ship():
    right = []
    for clip in list_clips(sample_folder(), split="test"):
        wave = read_audio(clip.path, channels=1)
        classifier = SoundClassifier(wave.sample_rate)
        best = classifier.classes[int(classifier(wave.samples.double()).argmax())]
        right.append(best.partition("/")[0] == clip.group)
    assert len(right) > 3
    assert sum(right) >= 0.8 * len(right)


def test_posterior_of_any_length_rate_and_number_of_channels(speech):
    for sample_rate in (8000, 16000, 22050, 48000):
        classifier = SoundClassifier(sample_rate)
        for samples in (classifier.min_samples, sample_rate, 3 * sample_rate + 1):
            wave = torch.randn(2, samples, dtype=torch.float64)
            posterior = classifier(wave)
            assert posterior.shape == (len(classifier.classes),)
            assert posterior.sum().item() == pytest.approx(1, abs=1e-5)
            one, other = classifier(wave[:1]), classifier(wave[1:])
            torch.testing.assert_close(posterior, (one + other) / 2, atol=1e-5, rtol=0)


def test_the_rate_the_clip_comes_at_hardly_matters(speech):
    import soxr

    upsampled = torch.from_numpy(soxr.resample(speech[0].double().numpy(), 16000, 24000))[None]
    gap = SoundClassifier(24000)(upsampled) - SoundClassifier(16000)(speech.double())
    assert gap.abs().max() < 0.02


def test_autocast_of_the_caller_changes_nothing(speech):
    classifier = SoundClassifier(16000)
    with torch.autocast("cpu", torch.bfloat16):
        inside = classifier(speech.double())
    assert inside.equal(classifier(speech.double()))


def test_settings_name_the_weights():
    classifier = SoundClassifier(24000)
    settings = classifier.settings
    assert json.loads(json.dumps(settings)) == settings
    assert settings["sha256"] == hashlib.sha256(SHIPPED_WEIGHTS.read_bytes()).hexdigest()
    assert (settings["sample_rate"], settings["model_rate"], settings["window_seconds"]) == (24000, 16000, 1.024)
    assert KLD(sample_rate=24000).protocol["settings"]["sha256"] == settings["sha256"]
    assert KLD(sample_rate=24000).protocol["metric"] == "kld_vqkit_sounds"


def test_the_card_is_that_of_the_weights_and_both_ship():
    assert SHIPPED_WEIGHTS.stat().st_size < 500_000
    assert hashlib.sha256(SHIPPED_WEIGHTS.read_bytes()).hexdigest() in CARD
    assert ", ".join(SoundClassifier(16000).classes) in CARD
    for words in ("CC-BY-SA-3.0", "GPL-2.0", "Kenta Cho", "cannot be compared", "recipes/sound_classifier.py --data"):
        assert words in CARD
    with safe_open(SHIPPED_WEIGHTS, "pt") as file:
        assert all(torch.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118
    root = Path(__file__).parents[2]
    assert tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"] == {
        "packages": ["src/vqkit"]
    }
    assert SHIPPED_WEIGHTS.is_relative_to(root / "src" / "vqkit")


def test_refuses_wrong_rates_and_missing_weights(tmp_path):
    with pytest.raises(TypeError, match=r"sample_rate must be an int in Hz, got 24000\.0"):
        SoundClassifier(24000.0)
    with pytest.raises(ValueError, match=r"sample_rate must be positive \(Hz\), got 0"):
        SoundClassifier(0)
    with pytest.raises(FileNotFoundError, match="nothing"):
        SoundClassifier(16000, tmp_path / "nothing.safetensors")


def test_refuses_a_file_that_is_no_classifier(tmp_path, bounded):
    state = load_file(SHIPPED_WEIGHTS)
    with safe_open(SHIPPED_WEIGHTS, "pt") as file:
        described = file.metadata()
    classes = json.loads(described["classes"])
    path = tmp_path / "own.safetensors"
    name = next(key for key, value in state.items() if value.is_floating_point())
    for change, metadata, message in [
        ({}, {}, r"own\.safetensors names no classes"),
        ({}, {"classes": "[" * 9999}, r"own\.safetensors names no classes"),
        ({}, {"classes": json.dumps([*classes, "one more"])}, r"own\.safetensors do not fit its config: .* has shape"),
        ({}, {"classes": json.dumps([0] * 5_000_000)}, r"it needs more than|do not fit its config"),
        ({name: torch.full_like(state[name], torch.nan)}, described, f"own.safetensors: {name} holds NaN or Inf"),
    ]:
        save_file({**state, **change}, path, metadata=metadata)
        with bounded(), pytest.raises(ValueError, match=message):
            SoundClassifier(16000, path)
    save_file(state, path, metadata=described)
    assert SoundClassifier(16000, path).classes == tuple(classes)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"own\.safetensors is not a whole safetensors file"):
        SoundClassifier(16000, path.rename(tmp_path / "cut-own.safetensors"))
