"""What the distributed test hangs into a run, in its own process and in those it starts."""

import os
from pathlib import Path

from safetensors.torch import save_file


def keep_weights(self, trainer, module):
    """Save the weights of every rank, as ``RunFiles.on_train_end``."""
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(state, Path(self.folder) / f"rank{trainer.global_rank}.safetensors")


def die_once(self, trainer, module, batch, batch_idx):
    """Let rank 1 die before its second step, as ``RunFiles.on_train_batch_start``, unless torchrun has restarted it."""
    if (batch_idx, trainer.global_rank, os.environ["TORCHELASTIC_RESTART_COUNT"]) == (1, 1, "0"):
        os._exit(7)
