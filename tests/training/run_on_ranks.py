"""What `test_shared_trainings` starts with torchrun: several trainings one after the other, since a start takes longer than they do.

Arguments: a folder with NAME.yaml, then names of runs, NAME-STRATEGY.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from vqkit.quantize.sharding import is_sharded
from vqkit.training.command import main
from vqkit.training.runs import strategies
from vqkit.training.runs.files import RunFiles

DIES, ENDS, EXAMINED = "codec-fsdp", "image-fsdp", "ema-fsdp"
DOCTOR = "--callbacks+=vqkit.diagnosis.callback.DoctorCallback"


def disturb(self, trainer, module, batch, batch_idx):
    """Let rank 1 die before its second step, unless torchrun has restarted it; or ask it alone to end."""
    if trainer.global_rank == 0:
        return
    if self.folder.name == DIES and (batch_idx, os.environ["TORCHELASTIC_RESTART_COUNT"]) == (1, "0"):
        os._exit(7)
    if self.folder.name == ENDS and batch_idx == 0:
        os.kill(os.getpid(), signal.SIGTERM)


def keep(self, trainer, module):
    """Save the weights as every rank has them, and how many numbers of weights and moments it holds of how many."""
    parameters = [p for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]]
    moments = [entry["exp_avg"] for optimizer in trainer.optimizers for entry in optimizer.state.values()]
    held = [value.to_local().numel() if is_sharded(value) else value.numel() for value in (*parameters, *moments)]
    with module.whole():
        state = {name: value.clone() for name, value in module.state_dict().items()}
    assert not any(is_sharded(value) for value in state.values())
    save_file(state, Path(self.folder) / f"rank{trainer.global_rank}.safetensors")
    share = {"held": sum(held), "all": sum(value.numel() for value in (*parameters, *moments))}
    (Path(self.folder) / f"rank{trainer.global_rank}.json").write_text(json.dumps(share))


if __name__ == "__main__":
    torch.set_num_threads(1)
    strategies._BLOCK = 1  # the models of the test are small
    RunFiles.on_train_batch_start, RunFiles.on_train_end = disturb, keep
    folder, *runs = sys.argv[1:]
    for run in runs:
        name, _, strategy = run.rpartition("-")
        flags = ["--config", f"{folder}/{name}.yaml", "--folder", f"{folder}/{run}", "--strategy", strategy]
        if run == EXAMINED:
            flags += [DOCTOR, "--callbacks.every_steps=2", f"--callbacks.folder={folder}"]
        status = main(flags)
        if status == 130:
            saved = Path(folder, run, "last.safetensors").is_file()
            Path(folder, f"ended{os.environ['RANK']}").write_text(str(saved))
            status = main(flags)
        if status:
            sys.exit(status)
