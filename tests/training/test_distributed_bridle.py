"""Two processes pretrain as one would on their joined batch: masks, k-means and the teacher's statistics included."""

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
  class_path: vqkit.training.BridleModule
  init_args:
    shares: [2, 2]
    bridle:
      class_path: vqkit.models.bridle.preset
      init_args:
        name: image-tiny
        quantizer: {{class_path: vqkit.RVQ, init_args: {{dim: 8, codebook_size: 8, num_quantizers: 2}}}}
        options: {{size: [16, 16]}}
data:
  class_path: vqkit.training.ImageDataModule
  init_args: {{source: {source}, size: 16, batch_size: 4, valid_split: null}}
steps: 6
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
    books = [name for name in first if name.endswith("codebook.weight")]
    assert len(books) == 2
    for name in books:
        torch.testing.assert_close(first[name], alone[name], atol=1e-4, rtol=0)
    # Adam turns a rounding error of a gradient near 0 into a part of a step: few weights may differ visibly
    errors = torch.cat([(value.float() - alone[name].float()).abs().flatten() for name, value in first.items()])
    assert errors.mean() < 1e-5
