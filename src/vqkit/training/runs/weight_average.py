"""A moving average of a model's weights, used for validation and for the model that is kept.

References:
    Polyak & Juditsky (1992); the rising decay at the start is that of TensorFlow's ``ExponentialMovingAverage``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from vqkit.training.runs.split_weights import part_like, without_parts

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Averages the parameters and floating buffers of ``module.model``, and puts the average in place while validating.

    Step n averages with decay min(decay, (1 + n) / (10 + n)). Integers and booleans are copied.

    Args:
        decay: share kept at each step.

    Raises:
        ValueError: decay outside (0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, got {decay}")
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {}
        self._own: dict[str, Tensor] | None = None  # the model's own weights, while the average is in their place

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One step of the average."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in model.state_dict().items():
            if name not in self.average:
                self.average[name] = value.clone()
            elif value.is_floating_point():
                # a checkpoint brings it whole, and on the CPU
                own = part_like(self.average[name], value).to(value.device)
                self.average[name] = own.lerp_(value, 1 - keep)
            else:
                self.average[name] = value.clone()
        self.steps += 1

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with its averaged weights; the own ones come back at the end."""
        if self._own is not None:  # as while validating, whose end will bring the own ones back
            yield
            return
        self._put_in_place(model)
        try:
            yield
        finally:
            self._restore(model)

    @torch.no_grad()
    def _put_in_place(self, model: nn.Module) -> None:
        state = {name: value for name, value in model.state_dict().items() if name in self.average}
        self._own = {name: value.clone() for name, value in state.items()}
        for name, value in state.items():
            value.copy_(part_like(self.average[name], value))

    @torch.no_grad()
    def _restore(self, model: nn.Module) -> None:
        own, self._own = self._own or {}, None
        for name, value in model.state_dict().items():
            if name in own:
                value.copy_(own[name])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average the step's weights."""
        self.update(pl_module.model)  # type: ignore[arg-type]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in place."""
        self._put_in_place(pl_module.model)  # type: ignore[arg-type]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the own weights back."""
        self._restore(pl_module.model)  # type: ignore[arg-type]

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the own weights back where a validation was interrupted: what is saved now must be what was trained."""
        self._restore(pl_module.model)  # type: ignore[arg-type]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the own weights also in the middle of a validation, as other callbacks and SLURM's requeueing do."""
        if self._own is not None:
            path = next(path for path, part in pl_module.named_modules() if part is pl_module.model)
            own = without_parts(self._own, trainer.is_global_zero)
            if trainer.is_global_zero:
                checkpoint["state_dict"].update({f"{path}.{name}": value for name, value in own.items()})

    def state_dict(self) -> dict[str, Any]:
        """Steps and averages, whole; every rank has to call."""
        return {"steps": self.steps, "average": without_parts(self.average)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.steps, self.average = state_dict["steps"], state_dict["average"]
