"""What processes that this package starts have in common: Ctrl-C is their parent's affair, and they end with it, however it ends."""

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait

__all__ = ["end_with_parent", "interrupts_ignored"]


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C from their first moment: their parent tells them when to stop."""
    if threading.current_thread() is not threading.main_thread():  # only that may ask for it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent(grace_seconds: float = 0.0) -> None:
    """In a process that `multiprocessing` started: ignore Ctrl-C, and end when the parent has ended, even if it was killed.

    Args:
        grace_seconds: Time to tidy up: what this process does at SIGTERM is done first. With 0 it ends on the spot.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_end, args=(grace_seconds,), daemon=True).start()


def _wait_for_end(grace_seconds: float) -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    if grace_seconds:
        _thread.interrupt_main(signal.SIGTERM)
        time.sleep(grace_seconds)
    os._exit(1)
