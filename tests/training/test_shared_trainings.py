"""Two processes train as one would on their joined batch, under DDP and under FSDP: one start for all."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_distributed_training import ADVERSARY
from test_distributed_training import CONFIG as CODEC
from torch import nn

from vqkit.bitstream import VqkHeader, VqkWriter
from vqkit.models import AudioCodec
from vqkit.training.command import main
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO
from vqkit.training.runs.strategies import RestartableDDP, RestartableFSDP, _check_split, strategy_of

IMAGE = """
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
  init_args: {{source: {images}, size: 16, batch_size: 4}}
steps: 2
accelerator: cpu
progress: false
"""
PIXELS = """
model:
  class_path: vqkit.training.ImageModule
  init_args:
    tokenizer:
      class_path: vqkit.models.ImageTokenizer
      init_args:
        backbone: {{class_path: vqkit.models.PixelBackbone, init_args: {{cell: 4}}}}
        quantizer: {{class_path: vqkit.RVQ, init_args: {{dim: 48, codebook_size: 8, num_quantizers: 2}}}}
data:
  class_path: vqkit.training.ImageDataModule
  init_args: {{source: {images}, size: 16, batch_size: 4}}
steps: 3
accelerator: cpu
progress: false
"""
BRIDLE = """
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
  init_args: {{source: {images}, size: 16, batch_size: 4, valid_split: null}}
steps: 6
accelerator: cpu
progress: false
"""
GENERATOR = """
model:
  class_path: vqkit.training.GeneratorModule
  init_args:
    generator:
      class_path: vqkit.models.TokenGenerator
      init_args:
        code_sizes: [4, 4]
        pattern: {{class_path: vqkit.models.generator.patterns.Delay}}
        width: 16
        layers: 2
        heads: 2
        window: 16
        condition_dropout: 0.0
data:
  class_path: vqkit.training.GeneratorDataModule
  init_args: {{source: {tokens}, frames: 16, batch_size: 4}}
steps: 3
average_decay: 0.9
accelerator: cpu
progress: false
"""
RUNS = [
    "codec-fsdp",  # codebooks that learn by gradient, k-means, CVQ, phases, averaged weights; a rank dies
    "ema-fsdp",  # moving averages, restart, an adversary, averaged weights
    "image-ddp",  # adaptive adversarial weight
    "image-fsdp",  # the same; a rank is asked to end
    "pixels-ddp",  # moving averages alone: no parameter has a gradient
    "pixels-fsdp",
    "bridle-ddp",  # masks, k-means and the teacher's statistics
    "bridle-fsdp",
    "generator-ddp",  # streams of unequal lengths
    "generator-fsdp",
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Streams of codes, some of them shorter than a window."""
    folder = tmp_path_factory.mktemp("tokens")
    random = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("valid", 3)):
        (folder / split).mkdir()
        for index in range(count):
            codes = torch.randint(4, (3 + 4 * index, 2), generator=random)
            header = VqkHeader(
                code_sizes=(4, 4),
                codes_per_stage=(1, 1),
                sample_rate=80,
                hop_samples=10,
                model="M",
                model_hash="ab" * 32,
            )
            with VqkWriter(folder / split / f"{index}.vqk", header) as writer:
                writer.write(codes)
    return folder


@pytest.fixture(scope="module")
def trained(noise_clips, blob_images, tokens, tmp_path_factory):
    """A folder with all runs, on two processes and, under their bare names, on one."""
    folder = tmp_path_factory.mktemp("runs")
    learned = CODEC.format(source=noise_clips, balance="false", adversary="null", start="1")
    learned = learned.replace("update: ema", "update: gradient").replace("revive: restart", "revive: cvq")
    moving = CODEC.format(source=noise_clips, balance="true", adversary=ADVERSARY, start="null")
    configs = {
        "codec": learned.replace("steps: 2", "steps: 3") + "average_decay: 0.9\nsave_every: 1\n",
        "ema": moving + "average_decay: 0.9\n",
        "image": IMAGE.format(images=blob_images),
        "pixels": PIXELS.format(images=blob_images),
        "bridle": BRIDLE.format(images=blob_images),
        "generator": GENERATOR.format(tokens=tokens),
    }
    for name, text in configs.items():
        (folder / f"{name}.yaml").write_text(text)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "--max-restarts", "1", str(Path(__file__).parent / "run_on_ranks.py"), str(folder), *RUNS]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    for name in configs:
        assert main(["--config", f"{folder}/{name}.yaml", "--folder", f"{folder}/{name}"]) == 0
    said = started.communicate(timeout=900)[0]
    assert started.returncode == 0, said[-3000:]
    assert "exitcode: 7" in said
    return folder


def checkpoint(folder):
    return SafeCheckpointIO().load_checkpoint(folder / "last.safetensors")


def tensors(value, path=""):
    """All tensors of a checkpoint, by where they are."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {key: found for name, part in parts for key, found in tensors(part, f"{path}/{name}").items()}


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_equal_one(trained, run):
    """Weights, codebooks, averaged weights and the optimizer's moments."""
    first, second = (load_file(trained / run / f"rank{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    both, one = tensors(checkpoint(trained / run)), tensors(checkpoint(trained / run.rpartition("-")[0]))
    assert both.keys() == one.keys()
    assert any("exp_avg_sq" in name for name in one) is not run.startswith("pixels")
    # Adam turns a rounding error of a gradient near 0 into a part of a step, 3e-4: few weights may differ visibly
    errors = torch.cat([(value.float() - one[name].float()).abs().flatten() for name, value in both.items()])
    assert errors.mean() < 4e-6
    assert errors.quantile(0.99) < 2e-5


@pytest.mark.parametrize("run", [run for run in RUNS if run.endswith("fsdp") and run != "pixels-fsdp"])
def test_fsdp_leaves_each_rank_its_share(trained, run):
    ranks = [json.loads((trained / run / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert sum(rank["held"] for rank in ranks) == ranks[0]["all"]
    assert all(rank["held"] < 0.7 * rank["all"] for rank in ranks)


def test_what_fsdp_saves_is_whole(trained):
    codec = AudioCodec.from_pretrained(trained / "codec-fsdp" / "codec")
    average = checkpoint(trained / "codec-fsdp")["callbacks"]["WeightAverage"]["average"]
    for name, value in codec.state_dict().items():
        assert torch.equal(value, average[name]), name
    assert codec(torch.randn(1, 1, 800)).signal.isfinite().all()


def test_one_process_goes_on_where_fsdp_stopped(trained, tmp_path):
    ends = []
    for name in ("generator-fsdp", "generator"):
        shutil.copytree(trained / name, tmp_path / name)
        flags = ["--folder", str(tmp_path / name), "--steps", "4"]
        assert main(["--config", f"{trained}/generator.yaml", *flags]) == 0
        ends.append(checkpoint(tmp_path / name))
    assert [end["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] for end in ends] == [4, 4]
    one, other = (tensors(end) for end in ends)
    assert one.keys() == other.keys()
    errors = torch.cat([(value.float() - other[name].float()).abs().flatten() for name, value in one.items()])
    assert errors.mean() < 4e-6


def test_ranks_end_together_and_save_when_one_is_asked_to(trained):
    assert [(trained / f"ended{rank}").read_text() for rank in (0, 1)] == ["True", "True"]


def test_the_doctor_sees_whole_codebooks(trained):
    """Whose weights are those of a run without it (`test_two_processes_equal_one`)."""
    record = json.loads((trained / "doctor-2.json").read_text())
    assert record["quantizer_name"] == "codec.quantizer"
    assert [book["codes"] for book in record["measures"]["books"]] == [8, 8]


def test_strategies_have_names():
    assert strategy_of("fsdp", 1, False) == strategy_of("auto", 1, False) == "auto"
    assert isinstance(strategy_of("auto", 2, False), RestartableDDP)
    assert isinstance(strategy_of("fsdp", 2, False), RestartableFSDP)
    with pytest.raises(ValueError, match="strategy must be 'auto', 'ddp' or 'fsdp', got 'zero'"):
        strategy_of("zero", 2, False)


def test_what_would_learn_alone_on_each_rank_is_named():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="weight learns, but is in no module that Linear.splits names"):
        _check_split(layer, [torch.optim.SGD(layer.parameters())])
