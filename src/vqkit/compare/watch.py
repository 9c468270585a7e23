"""How a training of a comparison goes on."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vqkit.compare.backbone import Note

__all__ = ["Watch"]


class Watch(Callback):
    """Notes a loss and the time; both go into the checkpoint, so an interrupted run keeps its past.

    Args:
        total: steps of the run.
        loss: name of the loss, without ``train/``.
        note: told where the run stands.
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
        """What was noted."""
        return {"seconds": self.seconds, "steps": list(self.steps), "loss": list(self.loss)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from it."""
        self.seconds, self.steps, self.loss = state_dict["seconds"], state_dict["steps"], state_dict["loss"]
