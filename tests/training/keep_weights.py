"""What the distributed test hangs into a run, in its own process and in those it starts."""

from pathlib import Path

from safetensors.torch import save_file


def keep_weights(self, trainer, module):
    """Save the weights of every rank, as ``RunFiles.on_train_end``."""
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(state, Path(self.folder) / f"rank{trainer.global_rank}.safetensors")
