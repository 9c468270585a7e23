"""The commands from end to end: pretrain, probe, finetune, the page about codebooks, and one line for each mistake."""

import json

import pytest
import torch
import yaml

from vqkit.cli import main
from vqkit.models import Bridle
from vqkit.pretraining import command, linear_probe
from vqkit.pretraining.usage_page import write_usage_page

RECIPE = """
model:
  class_path: vqkit.training.BridleModule
  init_args:
    bridle:
      class_path: vqkit.models.bridle.preset
      init_args:
        name: audio-tiny
        quantizer: {class_path: vqkit.RVQ, init_args: {dim: 8, codebook_size: 8, num_quantizers: 2}}
        options:
          size: [48, 16]
          patch: [8, 8]
          sample_rate: 8000
    shares: [2, 1]
    evaluation: {class_path: vqkit.pretraining.LinearProbe, init_args: {settings: {epochs: 20}}}
data:
  class_path: vqkit.training.AudioDataModule
  init_args: {source: samples, crop_seconds: 0.5, batch_size: 4, train_split: null, valid_split: null}
accelerator: cpu
progress: false
"""


@pytest.fixture(scope="module")
def run(sounds, tmp_path_factory):
    """A run of ten steps by the command."""
    folder = tmp_path_factory.mktemp("pretraining")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE)
    arguments = ["pretrain", "--config", str(recipe), "--data.source", str(sounds), "--steps", "10"]
    assert main([*arguments, "--folder", str(folder / "run")]) == 0
    return folder / "run"


def test_a_run_is_complete(run):
    names = {path.name for path in run.iterdir()}
    assert {"bridle", "iteration-1", "config.yaml", "last.safetensors", "usage.json", "usage.html"} <= names
    assert Bridle.from_pretrained(run / "bridle").size == (48, 16)
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == 10


def test_the_encoder_is_probed_after_each_encoder_phase(run):
    for phase in ("encoder-1", "encoder-2"):
        result = json.loads((run / f"probe-{phase}.json").read_text())
        assert result["method"] == "probe"
        assert result["classes"] == ["beep", "hiss", "hum"]
        assert 0 <= result["scores"]["accuracy"]["low"] <= result["scores"]["accuracy"]["value"] <= 1


def test_the_page_shows_what_was_counted(run):
    page = (run / "usage.html").read_text()
    records = json.loads((run / "usage.json").read_text())
    ends = [record for record in records if "histograms" in record]
    assert [record["phase"] for record in ends] == ["encoder 1", "tokenizer 1", "encoder 2"]
    assert page.count("<tr>") == 1 + 2 * len(ends)
    assert page.count("data:image/png;base64,") == 1 + len(ends)
    for record in ends:
        for stage in record["stages"]:
            assert f"<td>{100 * stage['usage']:.1f} %</td><td>{stage['entropy_bits']:.2f}</td>" in page
    assert "http" not in page


@pytest.mark.filterwarnings("ignore:.*there is no (test|valid) split")
def test_probe_and_finetune(run, sounds, capsys):
    assert main(["probe", str(run), "--data.source", str(sounds), "--epochs", "40"]) == 0
    assert "3 classes, 15 train, 3 valid, 6 test; epoch " in capsys.readouterr().out
    kept = json.loads((run / "probe.json").read_text())
    assert main(["probe", str(run / "bridle"), "--source", str(sounds), "--epochs", "40", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == kept["scores"]
    assert (
        main(["finetune", str(run), "--data.source", str(sounds), "--epochs", "2", "--folds", "2", "--mixup", "0"]) == 0
    )
    assert "2 folds" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*there is no (test|valid) split")
def test_what_a_probe_averages_over(run, sounds, capsys, monkeypatch):
    widths = []

    def probe(bridle, data, how, features):
        widths.append(features(bridle, [torch.randn(1, 16000)]).shape[1] // bridle.width)
        return linear_probe.probe(bridle, data, how, features)

    monkeypatch.setattr(command, "probe", probe)
    for more in ([], ["--pool-over", "all"], ["--pool-over", "time"]):
        assert main(["probe", str(run), "--source", str(sounds), "--epochs", "1", *more]) == 0
    capsys.readouterr()
    assert widths[:2] == [1, 1]
    assert widths[2] > 1
    assert main(["finetune", str(run), "--data.source", str(sounds), "--epochs", "1"]) == 0
    capsys.readouterr()
    assert json.loads((run / "finetune.json").read_text())["method"] == "finetune"
    published = ["--epochs", "1", "--chosen-on", "test", "--frozen", "--frozen-drop-path"]
    assert main(["finetune", str(run), "--data.source", str(sounds), *published]) == 0
    assert "chosen on the test items" in capsys.readouterr().out
    assert json.loads((run / "finetune.json").read_text())["chosen_on"] == "test"


@pytest.mark.filterwarnings("ignore:.*there is no (test|valid) split")
def test_mistakes_are_one_line(run, sounds, tmp_path, capsys):
    for arguments, message in (
        (["probe", str(tmp_path / "none"), "--source", str(sounds)], "no such folder: "),
        (
            ["probe", str(tmp_path), "--source", str(sounds)],
            "holds no pretrained model: there is no folder bridle in it",
        ),
        (["probe", str(run), "--source", str(tmp_path / "none")], "no such file or folder"),
        (["probe", str(run), "--source", str(sounds), "--label", "kind"], "none of the 24 items has a kind"),
        (
            ["finetune", str(run), "--source", str(sounds), "--layer-decay", "3"],
            "layer_decay must be in 0 … 1, got 3.0",
        ),
        (
            ["finetune", str(run), "--source", str(sounds), "--frozen-drop-path"],
            "frozen_drop_path is for a frozen encoder (unfrozen=False, --frozen); this one learns",
        ),
        (
            ["probe", str(run), "--source", str(sounds), "--folds", "25"],
            "folds must be at most the number of items, 24",
        ),
        (
            ["probe", str(run), "--source", str(sounds), "--out", str(sounds / "hum" / "0.wav")],
            f"0.wav is a file of the source {sounds}, which would be lost",
        ),
        (
            ["probe", str(run), "--source", str(sounds), "--out", str(run / "bridle" / "config.json")],
            "bridle, which would be lost",
        ),
    ):
        assert main(arguments) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert message in lines[-1]
        assert lines[-1].startswith("vqkit: ")


def test_a_page_needs_counts(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: "):
        write_usage_page(tmp_path)
    (tmp_path / "usage.json").write_text('[{"step": 1}]')
    with pytest.raises(ValueError, match="is not what a pretraining writes"):
        write_usage_page(tmp_path)
