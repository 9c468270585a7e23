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

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One step of the average."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in model.state_dict().items():
            if name not in self.average:
                self.average[name] = value.clone()
            elif value.is_floating_point():
                self.average[name] = self.average[name].to(value.device).lerp_(value, 1 - keep)
            else:
                self.average[name] = value.clone()
        self.steps += 1

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with its averaged weights; the own ones come back at the end."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, value in model.state_dict().items():
            if name in self.average:
                own = value.clone()
                value.copy_(self.average[name])
                self.average[name] = own

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average the step's weights."""
        self.update(pl_module.model)  # type: ignore[arg-type]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in place."""
        self._swap(pl_module.model)  # type: ignore[arg-type]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the own weights back."""
        self._swap(pl_module.model)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Steps and averages."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.steps, self.average = state_dict["steps"], state_dict["average"]
