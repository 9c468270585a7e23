"""Two processes train as one would on their joined batch, and hold the same weights."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from keep_weights import keep_weights
from safetensors.torch import load_file

from vqkit.training.command import main
from vqkit.training.runs.files import RunFiles

CONFIG = """
model:
  class_path: vqkit.training.CodecModule
  init_args:
    warmup_steps: 1
    balance: {balance}
    quantize_after: {start}
    codec:
      class_path: vqkit.models.AudioCodec
      init_args:
        quantizer:
          class_path: vqkit.RVQ
          init_args: {{dim: 12, codebook_size: 8, num_quantizers: 2, update: ema, init: kmeans, revive: restart}}
        sample_rate: 8000
        num_filters: 4
        strides: [2, 2]
    adversary: {adversary}
data:
  class_path: vqkit.training.AudioDataModule
  init_args: {{source: {source}, crop_seconds: 0.2, batch_size: 4, valid_seconds: 0.25}}
steps: 2
accelerator: cpu
progress: false
"""
ADVERSARY = """
      class_path: vqkit.training.Adversary
      init_args:
        update_share: 1.0
        discriminator:
          class_path: vqkit.nn.STFTDiscriminator
          init_args: {num_filters: 2, window_samples: [128, 64]}
"""
SCRIPT = """
import sys, torch
from vqkit.training.command import main
from vqkit.training.runs.files import RunFiles
sys.path.insert(0, sys.argv.pop())
from keep_weights import die_once, keep_weights

RunFiles.on_train_end = keep_weights
if sys.argv.pop() == "dies":
    RunFiles.on_train_batch_start = die_once
torch.set_num_threads(1)
sys.exit(main(sys.argv[1:]))
"""


def two_nodes():
    """Arguments of the agents of two nodes, which find each other over loopback."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    meeting = ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"localhost:{port}", "--rdzv_id", "two nodes"]
    return [["--nnodes", "2", "--nproc_per_node", "1", *meeting] for _ in range(2)]


@pytest.mark.parametrize("adversarial", [False, True])
def test_two_processes_equal_one(noise_clips, tmp_path, monkeypatch, adversarial):
    """With an adversary on two nodes, each with an agent of its own; without on one node, where one dies and both are started anew."""
    text = CONFIG.format(
        source=noise_clips,
        balance=str(adversarial).lower(),
        adversary=ADVERSARY if adversarial else "null",
        start="null" if adversarial else "1",  # then the quantizer is fitted on the way
    )
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    flags = ["--config", str(tmp_path / "config.yaml"), "--save_every", "1", "--folder"]
    how = ["lives" if adversarial else "dies", str(Path(__file__).parent)]
    command = [str(tmp_path / "script.py"), *flags, str(tmp_path / "two"), *how]
    agents = two_nodes() if adversarial else [["--standalone", "--nproc_per_node", "2", "--max-restarts", "1"]]
    launcher = [sys.executable, "-m", "torch.distributed.run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([*launcher, *agent, *command], stderr=subprocess.PIPE, text=True, env=environment)
        for agent in agents
    ]
    for agent in started:
        said = agent.communicate(timeout=150)[1]
        assert agent.returncode == 0, said[-3000:]
        assert ("exitcode: 7" in said) is not adversarial
    monkeypatch.setattr(RunFiles, "on_train_end", keep_weights)
    assert main([*flags, str(tmp_path / "one")]) == 0
    first, second = (load_file(tmp_path / "two" / f"rank{rank}.safetensors") for rank in (0, 1))
    alone = load_file(tmp_path / "one" / "rank0.safetensors")
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    # Adam turns a rounding error of a gradient near 0 into a part of a step, 3e-4: few weights may differ visibly
    errors = torch.cat([(value.float() - alone[name].float()).abs().flatten() for name, value in first.items()])
    assert errors.mean() < 4e-6
    assert errors.quantile(0.99) < 2e-5
