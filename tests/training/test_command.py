import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

from vqkit.models import AudioCodec
from vqkit.training import CodecModule
from vqkit.training.command import build_parser, main

CONFIG = """
model:
  class_path: vqkit.training.CodecModule
  init_args:
    codec:
      class_path: vqkit.models.AudioCodec
      init_args:
        quantizer: {{class_path: vqkit.RVQ, init_args: {{dim: 12, codebook_size: 8, num_quantizers: 2, update: ema}}}}
        sample_rate: 8000
        num_filters: 4
        strides: [2, 2]
data:
  class_path: vqkit.training.AudioDataModule
  init_args: {{source: {source}, crop_seconds: 0.2, batch_size: 2, valid_split: null}}
folder: {folder}
steps: 4
save_every: 2
accelerator: cpu
progress: false
"""


@pytest.fixture
def config(noise_clips, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(source=noise_clips, folder=tmp_path / "run"))
    return str(path)


def test_run_leaves_model_checkpoint_and_resolved_config(config, tmp_path, capsys):
    assert main(["--config", config, "--model.codec.num_filters", "3", "--model.learning_rate=1e-3"]) == 0
    run = tmp_path / "run"
    assert capsys.readouterr().out.strip().endswith(f"trained model: {run / 'codec'}")
    names = {entry.name for entry in run.iterdir()}
    assert {"codec", "config.yaml", "last.safetensors"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert AudioCodec.from_pretrained(run / "codec").encodec.num_filters == 3
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["model"]["init_args"]["learning_rate"] == 1e-3
    assert resolved["model"]["init_args"]["codec"]["init_args"]["quantizer"]["init_args"]["update"] == "ema"
    assert resolved["data"]["init_args"]["valid_split"] is None
    again = build_parser().parse_args(["--config", str(run / "config.yaml")])
    assert again.model.init_args.codec.init_args.num_filters == 3


def test_command_ends_with_a_line_on_unused_codes(config, capsys, monkeypatch):
    monkeypatch.setattr(CodecModule, "usage_advice", "VQ uses 1 of 8 codes: build it otherwise")
    assert main(["--config", config]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "usage: VQ uses 1 of 8 codes: build it otherwise"


def test_another_configuration_does_not_continue_a_run(config, tmp_path, capsys):
    assert main(["--config", config]) == 0
    first = load_file(tmp_path / "run" / "codec" / "model.safetensors")
    assert main(["--config", config, "--model.learning_rate", "1e-3"]) == 2
    message = "run holds a run with model.init_args.learning_rate = 0.0003, not 0.001; choose another --folder, or --resume no"
    assert message in capsys.readouterr().err
    assert main(["--config", config, "--steps", "6"]) == 0  # more steps of the same run
    second = load_file(tmp_path / "run" / "codec" / "model.safetensors")
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert main(["--config", config, "--resume", "no"]) == 0
    third = load_file(tmp_path / "run" / "codec" / "model.safetensors")
    assert all(torch.equal(first[name], third[name]) for name in first)


def test_run_killed_by_the_system_goes_on(config, tmp_path):
    assert main(["--config", config, "--folder", str(tmp_path / "whole"), "--steps", "20"]) == 0
    flags = ["--config", config, "--steps", "20"]
    command = [
        sys.executable,
        "-c",
        "import sys; from vqkit.training.command import main; sys.exit(main(sys.argv[1:]))",
    ]
    with subprocess.Popen(
        [*command, *flags], env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "last.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert main(flags) == 0
    whole, cut = (load_file(tmp_path / name / "codec" / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "many"], "Parser key \"steps\": Expected a <class 'int'>. Got value: many"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--model.codec.num_filters", "0"], "num_filters must be at least 1, got 0"),
        (["--model.codec.filters", "8"], "Option 'filters' is not accepted"),
        (["--data.source", "nowhere"], "no such file or folder: nowhere"),
        (["--resume", "nowhere"], "no such checkpoint: nowhere; resume is a path, 'last' or 'no'"),
        (["--precision", "16"], "precision"),
        (["--data.batch_size", "0"], "batch_size must be positive, got 0"),
        (["--folder", __file__], f"--folder must be a folder, {__file__} is a file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(config, flags, message, capsys):
    assert main(["--config", config, *flags]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("vqkit train: ")


def test_missing_arguments_and_files_are_named(capsys, tmp_path):
    assert main([]) == 2
    assert "the following arguments are required: model, data, folder, steps" in capsys.readouterr().err
    assert main(["--data.source", str(tmp_path)]) == 2
    assert "--config RECIPE is missing" in capsys.readouterr().err
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "File does not exist" in capsys.readouterr().err
