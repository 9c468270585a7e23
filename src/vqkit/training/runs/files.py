"""The folder of a run: the checkpoint to continue from and the model to use.

folder/
  config.yaml        what was run
  last.safetensors   training checkpoint
  codec/             the model, for ``from_pretrained`` (tokenizer/ for images); of averaged weights where there is an average
  events.out.…       TensorBoard
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vqkit.ranks import own_rank
from vqkit.training.runs.termination import AgreedEnd
from vqkit.training.runs.weight_average import WeightAverage

__all__ = ["RunFiles"]


class RunFiles(Callback):
    """Writes the checkpoint every so many steps and at the last one, and the model with it.

    Args:
        folder: folder of the run.
        names: folders of the models, as `PhasedModule.models` names them; the average is the first one's.
        save_every: steps between checkpoints.
        average: whose weights the saved model gets; None saves the trained ones.

    Raises:
        ValueError: save_every below 1.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], save_every: int, average: WeightAverage | None = None
    ) -> None:
        if save_every < 1:
            raise ValueError(f"save_every must be at least 1, got {save_every}")
        self.folder, self.names, self.save_every, self.average = Path(folder), tuple(names), save_every, average
        self._written = False

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to continue from."""
        return self.folder / "last.safetensors"

    @property
    def model(self) -> Path:
        """The folder of the (first) model."""
        return self.folder / self.names[0]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, if it is time."""
        if (batch_idx + 1) % self.save_every == 0 or batch_idx + 1 == trainer.num_training_batches:
            trainer.save_checkpoint(self.checkpoint)
            self._save_models(pl_module)

    def finish(self, module: LightningModule) -> None:
        """Write the models of a run that had no step left to do: it may have ended between its checkpoint and its models."""
        if not self._written:
            self._save_models(module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save when the system asks the process to end: one that is alone between two steps, several where they have agreed to."""
        if isinstance(exception, SIGTERMException if trainer.world_size == 1 else AgreedEnd):
            trainer.save_checkpoint(self.checkpoint)

    def _save_models(self, pl_module: Any) -> None:
        self._written = True
        average = nullcontext() if self.average is None else self.average.applied(pl_module.model)
        with average, pl_module.whole(saving=True):
            if own_rank() == 0:
                for name, model in pl_module.models().items():
                    model.save_pretrained(self.folder / name)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let a finished run go on when it is given more steps, and an interrupted validation start over."""
        loops = checkpoint["loops"]["fit_loop"]
        progress = loops["epoch_loop.batch_progress"]
        progress["is_last_batch"] = progress["current"]["ready"] >= trainer.limit_train_batches
        validated = loops["epoch_loop.val_loop.batch_progress"]
        if validated["current"]["ready"] and not validated["is_last_batch"]:
            # what Lightning takes for "interrupted in the first batch": its loader does not begin where it stopped
            for part, ready in (("total", 1), ("current", 0)):
                validated[part] = {"ready": ready, "started": ready, "processed": 0, "completed": 0}
