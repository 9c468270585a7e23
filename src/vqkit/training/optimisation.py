"""How parameters follow their gradients: AdamW's settings, and the learning rate over the steps of a run or of a phase."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Optimisation"]

_FALL = 0.3  # share of the steps in which a trapezoid falls


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """AdamW and a schedule.

    The learning rate rises linearly over ``warmup_steps`` and then stays, or falls along a cosine to zero at the last step, or stays and
    falls linearly in the last 30 % of the steps. (A "trapezoid" run can be made longer while it still stays.)

    Args:
        learning_rate: peak for the networks.
        quantizer_learning_rate: peak for the quantizer's own parameters; the same by default.
        betas: decay rates of AdamW's two moments.
        weight_decay: AdamW's decay of the networks; codebooks never decay.
        warmup_steps: steps until the full learning rate.
        schedule: ``"cosine"``, ``"constant"`` or ``"trapezoid"``.
        gradient_clip: largest norm of the gradient of all parameters that learn.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> quick = Optimisation(learning_rate=1e-3, warmup_steps=2, schedule="trapezoid")
        >>> [round(quick.share(step, 10), 2) for step in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.67, 0.33]
    """

    learning_rate: float = 3e-4
    quantizer_learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Literal["cosine", "constant", "trapezoid"] = "cosine"
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "quantizer_learning_rate", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("weight_decay", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), got {self.betas}")
        if self.schedule not in ("cosine", "constant", "trapezoid"):
            raise ValueError(f"schedule must be 'cosine', 'constant' or 'trapezoid', got {self.schedule!r}")

    @property
    def peaks(self) -> tuple[float, float]:
        """Peak learning rates of the networks and of the quantizer."""
        own = self.quantizer_learning_rate
        return self.learning_rate, self.learning_rate if own is None else own

    def share(self, step: int, steps: int) -> float:
        """Share of the peak learning rate at a step.

        Args:
            step: counted from 0.
            steps: number of steps in all.

        Returns:
            In (0, 1].
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "trapezoid":
            return min(1.0, (steps - step) / (_FALL * steps))
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return 0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))
