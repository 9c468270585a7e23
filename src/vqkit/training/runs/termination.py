"""A process that is asked to end while it trains saves first, whoever else listens to SIGTERM.

Lightning hears SIGTERM between two steps, and then calls the handler that was there before it, at once. Libraries leave handlers that end
the process on the spot (``ray.init`` and Ray's clusters do), in which case nothing would be saved.

Several ranks hear it at different moments, and have to end after the same step: whoever saves alone waits for the others for ever.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vqkit.ranks import max_over_ranks

__all__ = ["AgreedEnd", "EndTogether", "saved_before_ending"]


class AgreedEnd(SIGTERMException):
    """All ranks end here: they may save together."""


class EndTogether(Callback):
    """Ends a run of several ranks after a step, on all of them, when one was asked to end; the others' checkpoints come first.

    It costs one number that ranks exchange at each step.
    """

    def __init__(self) -> None:
        self._asked = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen in the place of Lightning, whose handler exchanges something between ranks wherever they happen to be."""
        self._asked = False
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)  # Lightning puts back what was there before the training

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End, if one was asked to; a run that has done its last step ends anyway."""
        if trainer.world_size == 1 or batch_idx + 1 == trainer.num_training_batches:
            return
        if int(max_over_ranks(torch.tensor(int(self._asked), device=pl_module.device))):
            raise AgreedEnd

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True


@contextmanager
def saved_before_ending() -> Iterator[None]:
    """Inside, a handler of SIGTERM that was there before is called when the training has heard the signal and saved, not at once.

    It is called all the same, since it may be all that some other part of the process gets to know; an exit that it asks for is left to
    the exception that ends the training. As long as Lightning does not listen, nothing is to be saved, and it is called at once.
    """
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def later(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGTERM) is later:
            before(number, frame)

    signal.signal(signal.SIGTERM, later)
    try:
        yield
    except SIGTERMException:
        with suppress(SystemExit):
            before(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
