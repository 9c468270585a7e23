"""The script that makes the weights, on sounds made here."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from vqkit.data import write_audio
from vqkit.metrics import SoundClassifier

RECIPES = Path(__file__).parents[2] / "recipes"
COLUMNS = "path,split,group,subset,label,source_package,licence,attribution"


@pytest.fixture
def sounds(tmp_path):
    """Tones and noises: enough files of two classes, too few of a third."""
    generator = torch.Generator().manual_seed(0)
    time, rows = torch.arange(16000) / 16000, [COLUMNS]
    kinds = {("music", "music24", "techno"): 6, ("events", "drums", "snare"): 6, ("events", "drums", "rim"): 3}
    for (group, subset, label), files in kinds.items():
        for i in range(files + 3):
            split = "train" if i < files else ("valid", "test", "test")[i - files]
            pitch = 300 * (1 + torch.rand(1, generator=generator))
            wave = (
                0.3 * (2 * torch.pi * pitch * time).sin()
                if group == "music"
                else 0.1 * torch.randn(8000, generator=generator)
            )
            write_audio(tmp_path / f"{label}_{i}.flac", wave[None], 16000)
            rows.append(f"{label}_{i}.flac,{split},{group},{subset},{label},package of {label},CC0-1.0,A. N. Other")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def run(sounds, monkeypatch, capsys):
    """Run the script and return what it printed; torch's settings are put back."""
    threads = torch.get_num_threads()

    def run(out, seed):
        flags = ["--data", str(sounds), "--out", str(out), "--seed", str(seed), "--steps", "30", "--batch_size", "8"]
        monkeypatch.setattr(sys, "argv", ["sound_classifier.py", *flags])
        monkeypatch.syspath_prepend(str(RECIPES))
        runpy.run_path(str(RECIPES / "sound_classifier.py"), run_name="__main__")
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_learns_what_it_is_shown_and_says_what_that_was(run, tmp_path):
    printed = run(tmp_path / "a" / "mine.safetensors", 0)
    classifier = SoundClassifier(16000, tmp_path / "a" / "mine.safetensors")
    assert classifier.name == "mine"
    assert classifier.classes == ("drums/snare", "music/techno")  # three rims are too few
    card = (tmp_path / "a" / "MODEL_CARD.md").read_text("utf-8")
    assert classifier.settings["sha256"] in card
    assert "| music | 1 | 6 | 1/1 = 100% | 2/2 = 100% |" in card
    assert "| music | 1 | 6 | 1/1 = 100% | 2/2 = 100% |" in printed
    assert "| package of snare | 6 | CC0-1.0 | A. N. Other |" in card
    assert "rim" not in card
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["MODEL_CARD.md", "mine.safetensors"]


def test_the_seed_decides_the_weights(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name / "w.safetensors", seed)
    a, b, c = ((tmp_path / name / "w.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
