"""Child processes of this package: Ctrl-C is left to their parent, and they end with it, however it ends."""

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

__all__ = ["ChildProcess", "end_with_parent", "interrupts_ignored"]


class ChildProcess:
    """Child process with a connection to it, as its parent sees it.

    Args:
        target: Function called in the process with the other end of the connection and the arguments; picklable, like them.
        args: Further arguments.

    Attributes:
        connection: Ends with the process.
        process: process; see `multiprocessing.Process`.
    """

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *args), daemon=True)
        with interrupts_ignored():
            self.process.start()
        theirs.close()  # with the process ends the connection

    def ending(self) -> str:
        """Wait for the end of the process and describe it in words."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and end it when it has not done so in time."""
        self.process.terminate()
        self.process.join(grace_seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


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
    """Make a process that `multiprocessing` started ignore Ctrl-C, and end when the parent has ended, even if it was killed.

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
