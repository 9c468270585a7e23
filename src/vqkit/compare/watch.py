"""Training of a comparison, and its continuation from a checkpoint."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from vqkit.compare.backbone import Note, Training
from vqkit.training.phased_module import PhasedModule
from vqkit.training.runs.run import train

__all__ = ["Watch", "trained"]


def trained(
    module: PhasedModule,
    data: LightningDataModule,
    *,
    loss: str,
    folder: Path,
    steps: int,
    seed: int,
    save_every: int,
    note: Note,
) -> Training:
    """Train, or go on from the checkpoint in a folder; nothing is validated meanwhile.

    Args:
        module: model to train, with its losses.
        data: training data.
        loss: name of the loss to record, without ``train/``.
        folder: folder of the run, in which the model is left.
        steps: number of steps of the whole training.
        seed: seed of the random numbers of each step.
        save_every: steps between checkpoints.
        note: callback that takes a short text on the training's progress.

    Returns:
        The training's time and losses.
    """
    watch = Watch(steps, loss, note)
    train(
        module,
        data,
        folder=str(folder),
        steps=steps,
        seed=seed,
        accelerator="auto",
        save_every=save_every,
        validate_every=steps,
        progress=False,
        callbacks=[watch],
    )
    return Training(watch.seconds, watch.steps, watch.loss)


class Watch(Callback):
    """Notes a loss and the time; both go into the checkpoint, so an interrupted run keeps its past.

    Args:
        total: number of steps of the run.
        loss: name of the loss, without ``train/``.
        note: callback that takes a short text on the run's progress.
    """

    def __init__(self, total: int, loss: str, note: Note) -> None:
        self._total, self._name, self._note = total, loss, note
        self._every = max(1, total // 100)
        self.seconds = 0.0
        self.steps: list[int] = []
        self.loss: list[float] = []
        self._started = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the watch."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop it, and note the loss now and then."""
        self.seconds += time.perf_counter() - self._started
        if batch_idx % self._every == 0 or batch_idx == self._total - 1:
            self.steps.append(batch_idx)
            self.loss.append(float(trainer.callback_metrics[f"train/{self._name}"]))
            self._note(f"step {batch_idx + 1}/{self._total}")

    def state_dict(self) -> dict[str, Any]:
        """Return the recorded time and losses, for a checkpoint."""
        return {"seconds": self.seconds, "steps": list(self.steps), "loss": list(self.loss)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from it."""
        self.seconds, self.steps, self.loss = state_dict["seconds"], state_dict["steps"], state_dict["loss"]
