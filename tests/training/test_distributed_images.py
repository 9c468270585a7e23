"""Two processes train a tokenizer as one would on their joined batch: start, quantizer and adaptive weight included."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from keep_weights import keep_weights
from safetensors.torch import load_file

from vqkit.training.command import main
from vqkit.training.runs.files import RunFiles

CONFIG = """
model:
  class_path: vqkit.training.ImageModule
  init_args:
    warmup_steps: 1
    tokenizer:
      class_path: vqkit.models.ImageTokenizer
      init_args:
        backbone: {{class_path: vqkit.models.ConvBackbone, init_args: {{dim: 12, width: 8, residual_width: 4}}}}
        quantizer:
          class_path: vqkit.RVQ
          init_args: {{dim: 12, codebook_size: 8, num_quantizers: 2, update: ema, init: kmeans, revive: restart}}
    adaptive: true
    adversary:
      class_path: vqkit.training.Adversary
      init_args:
        feature_weight: 0
        update_share: 1.0
        discriminator: {{class_path: vqkit.nn.PatchDiscriminator, init_args: {{width: 4, num_layers: 1, norm_groups: 2}}}}
data:
  class_path: vqkit.training.ImageDataModule
  init_args: {{source: {source}, size: 16, batch_size: 4}}
steps: 2
accelerator: cpu
progress: false
"""
SCRIPT = """
import sys, torch
from vqkit.training.command import main
from vqkit.training.runs.files import RunFiles
sys.path.insert(0, sys.argv.pop())
from keep_weights import keep_weights

RunFiles.on_train_end = keep_weights
torch.set_num_threads(1)
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_equal_one(blob_images, tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(CONFIG.format(source=blob_images))
    (tmp_path / "script.py").write_text(SCRIPT)
    flags = ["--config", str(tmp_path / "config.yaml"), "--folder"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(tmp_path / "script.py"), *flags, str(tmp_path / "two"), str(Path(__file__).parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
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
