"""The doctor in training: every so many steps it looks at what the quantizer was just given."""

import json
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from vqkit.diagnosis.examination import Examination
from vqkit.diagnosis.examine import doctor
from vqkit.files import write_whole
from vqkit.quantize import Quantizer
from vqkit.ranks import own_rank

__all__ = ["DoctorCallback"]


class DoctorCallback(Callback):
    """Examines the quantizers of a module on the latents of a step, logs the numbers, and warns of faults.

    It draws no random number and leaves the module as it is, so that a run with it gives the weights of one without. In a recipe:
    ``callbacks: [{class_path: vqkit.diagnosis.callback.DoctorCallback, init_args: {every_steps: 1000}}]``.

    Args:
        every_steps: Steps between examinations.
        max_vectors: Most vectors of a step that are looked at.
        trials: Whether changes are tried on copies, which takes seconds; without them causes that show only in what a change gains are
            not found.
        folder: Where ``doctor-STEP.json`` is written; None writes nothing.
        names: Paths of the quantizers in the module; None takes every `Quantizer` that is no part of another.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> DoctorCallback(every_steps=500).every_steps
        500
    """

    def __init__(
        self,
        every_steps: int = 1000,
        *,
        max_vectors: int = 1 << 13,
        trials: bool = False,
        folder: str | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if every_steps < 1 or max_vectors < 2:
            raise ValueError(
                f"every_steps must be at least 1 and max_vectors at least 2, got {every_steps} and {max_vectors}"
            )
        self.every_steps, self.max_vectors, self.trials = every_steps, max_vectors, trials
        self.folder, self.names = None if folder is None else Path(folder), names
        self.last: dict[str, Examination] = {}
        self._seen: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._hooks: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Listen to the quantizers where this step is one to look at."""
        if (batch_idx + 1) % self.every_steps:
            return
        for name, quantizer in self._quantizers(pl_module).items():
            self._hooks.append(quantizer.register_forward_pre_hook(self._listener(name), with_kwargs=True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Examine, on all ranks: their tables are compared."""
        if not self._hooks:
            return
        self._stop()
        whole: Any = getattr(pl_module, "whole", nullcontext)  # of whose weights FSDP leaves a rank only a part
        with whole():
            quantizers = self._quantizers(pl_module)
            for name in sorted(self._seen):
                self._examine(trainer, name, quantizers[name], batch_idx + 1)
        self._seen = {}

    def _examine(self, trainer: Trainer, name: str, quantizer: Quantizer, step: int) -> None:
        vectors, mask = self._seen[name]
        try:
            found = doctor(quantizer, vectors, mask, max_vectors=self.max_vectors, trials=self.trials, joint=True)
        except ValueError as error:
            # vectors or codes that are not finite: whether the training ends is not the doctor's affair
            warnings.warn(f"step {step}, {name}: not examined: {error}", stacklevel=2)
            return
        self.last[name] = found
        self._tell(trainer, name, found, step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._stop()

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _quantizers(self, module: nn.Module) -> dict[str, Quantizer]:
        if self.names is not None:
            return {name: module.get_submodule(name) for name in self.names}  # type: ignore[misc]
        found: dict[str, Quantizer] = {}
        for name, part in module.named_modules():
            inside = any(name.startswith(f"{other}.") for other in found)
            if isinstance(part, Quantizer) and not inside:
                found[name] = part
        return found

    def _listener(self, name: str) -> Any:
        def listen(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            vectors = args[0] if args else kwargs["z"]
            mask = args[1] if len(args) > 1 else kwargs.get("mask")
            if vectors.numel():  # the last forward of the step
                self._seen[name] = (vectors.detach().clone(), mask)

        return listen

    def _tell(self, trainer: Trainer, name: str, found: Examination, step: int) -> None:
        measures = found.measures
        numbers = {
            "error": measures.error,
            "effective_bits": measures.effective_bits,
            "dead": float(sum(book.dead for book in measures.books)),
            "drift": max((book.drift for book in measures.books), default=0.0),
            "faults": float(sum(finding.severity == "fault" for finding in found.findings)),
        }
        for logger in trainer.loggers:
            logger.log_metrics({f"doctor/{name}/{key}": value for key, value in numbers.items()}, step)
        if own_rank():
            return
        for finding in found.findings:
            if finding.severity == "fault":
                warnings.warn(f"step {step}, {name}: {' '.join(str(finding).split())}", stacklevel=2)
        if self.folder is not None:
            text = json.dumps({"step": step, "quantizer_name": name, **found.record()}, indent=1)
            label = f"-{name}" if len(self._seen) > 1 else ""
            write_whole(self.folder / f"doctor-{step}{label}.json", text.encode())
