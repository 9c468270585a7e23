"""How far a run is, in one line: rewritten on a terminal, a line now and then elsewhere.

Lightning's bars wrap at 80 columns, where names like ``train/quantizer_commitment`` stand beside them, and they fill logs with pieces of
a terminal's bar.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from vqkit.terminal import duration

__all__ = ["ProgressLines", "progress_line"]

_COLUMNS = 80


class ProgressLines(Callback):
    """Prints where a run begins, how far it is, and what validation found; on the first rank only.

    Args:
        every: steps from line to line where stdout is no terminal; the first step has one, too, so that a log shows at once that the run
            goes.

    Raises:
        ValueError: every is below 1.
    """

    refresh_seconds: ClassVar[float] = 0.5  # of the line on a terminal

    def __init__(self, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"print_every must be at least 1, got {every}")
        self.every = every
        self._begin = self._shown = 0.0
        self._first = self._width = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the run goes on, if it does."""
        self._first = trainer.fit_loop.total_batch_idx + 1
        self._begin = time.monotonic()
        if self._first:
            self._print(trainer, f"resuming from step {self._first} of {trainer.num_training_batches}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step, if it is time."""
        done, steps = batch_idx + 1, int(trainer.num_training_batches)
        terminal = sys.stdout is not None and sys.stdout.isatty()
        ends = done in (steps, self._first + 1)
        if not ends and (
            time.monotonic() - self._shown < self.refresh_seconds if terminal else done % self.every
        ):  # reading metrics waits for the device
            return
        self._shown = time.monotonic()
        made = done - self._first
        rate = made / max(1e-9, self._shown - self._begin)
        columns = min(_COLUMNS, shutil.get_terminal_size().columns) if terminal else 0
        line = progress_line(done, steps, rate, _numbers(trainer.progress_bar_metrics, "train/"), columns)
        self._print(trainer, line, again=terminal and done < steps)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what validation found."""
        found = _numbers(trainer.callback_metrics, "valid/")
        if found:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            self._print(trainer, f"validation after step {trainer.fit_loop.total_batch_idx + 1}: {shown}")

    def _print(self, trainer: Trainer, line: str, again: bool = False) -> None:
        """A line; ``again``: the next one takes its place."""
        if trainer.is_global_zero:
            print(line.ljust(self._width), end="\r" if again else "\n", flush=True)
        self._width = len(line) if again else 0


def progress_line(step: int, steps: int, rate: float, metrics: Mapping[str, float], columns: int = 0) -> str:
    """How far a run is.

    Args:
        step: steps done.
        steps: steps of the run.
        rate: steps a second.
        metrics: what to show beside it, by name.
        columns: most characters, less one, which terminals leave empty; names that do not fit are left out. 0 for any number.

    Example:
        >>> progress_line(150, 600, 2.5, {"mel": 0.51234, "waveform": 0.01})
        'step 150/600 (25 %), 2.5 steps/s, 3:00 left; mel 0.5123, waveform 0.01'
        >>> len(progress_line(150, 600, 2.5, {"mel": 0.51234, "waveform": 0.01}, columns=60))
        55
    """
    line = f"step {step}/{steps} ({100 * step / steps:.0f} %), {rate:.3g} steps/s"
    line += f", {duration((steps - step) / rate)} left" if step < steps else ""
    for number, (name, value) in enumerate(metrics.items()):
        longer = f"{line}{', ' if number else '; '}{name} {value:.4g}"
        if columns and len(longer) > columns - 1:
            break
        line = longer
    return line[: columns - 1] if columns else line


def _numbers(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found = {name: value for name, value in metrics.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): float(value) for name, value in found.items()}
