"""Worker processes that do units; one that dies is replaced and its unit done again.

A unit has no effect until its record is written, and the same effect every time, so that it may be done any number of times. An item that
ends the processes that work on it (a decoder that crashes, memory that does not suffice) is found by where they were, and listed as failed.
"""

import multiprocessing.connection
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from typing import Any

from vqkit.processes import ChildProcess, end_with_parent
from vqkit.tokenize.source import Unit
from vqkit.tokenize.unit_work import SEVERAL, UnitWork

__all__ = ["WorkerError", "supervised"]

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0
_CRASHES = 2  # of processes at one item, after which it is left out
_KILLS = 12  # the same of SIGKILL, which may have been meant for the process (memory, an operator)
_STARTS = 12  # processes in a row that end before they are ready


class WorkerError(OSError):
    """Units cannot be done: what is wrong is not an item's fault."""


@dataclass
class _Attempt:
    """A unit, and what happened to the processes that tried it.

    After as many deaths over several items at once as one item is granted, items are encoded one by one: the next death names its item.
    """

    unit: Unit
    alone: bool = False
    crashes: Counter[int] = field(default_factory=Counter)
    kills: Counter[int] = field(default_factory=Counter)
    skip: dict[int, str] = field(default_factory=dict)

    def note(self, item: int, exit_code: int, how: str) -> None:
        """Count a death at an item."""
        if item < 0 and item != SEVERAL:
            return
        counter, most = (self.kills, _KILLS) if exit_code in (-9, -15) else (self.crashes, _CRASHES)
        counter[item] += 1
        if counter[item] >= most and item == SEVERAL:
            self.alone = True
        elif counter[item] >= most:
            memory = "; perhaps memory does not suffice" if exit_code == -9 else ""
            self.skip[item] = f"{most} processes ended while they worked on it ({how}){memory}"


class _Worker(ChildProcess):
    def __init__(self, work: UnitWork) -> None:
        self.place = RawValue("q", -1)
        super().__init__(_work, work, self.place)
        self.attempt: _Attempt | None = None
        self.ready = False


def supervised(
    units: Iterator[Unit], work: UnitWork, processes: int, look: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """Do units in several processes, and hold only those that are being done.

    Args:
        units: Units, taken one by one when a process is free.
        work: Does a unit.
        processes: Number of processes at once.
        look: Called from time to time.

    Yields:
        Records, in the order in which units are finished.

    Raises:
        WorkerError: Files cannot be written, or processes end before they have loaded the models.
    """
    waiting: deque[_Attempt] = deque()  # a few units ahead, those that have to be done again first
    workers: list[_Worker] = []
    failed_starts = 0
    try:
        while True:
            while len(waiting) < processes and (unit := next(units, None)) is not None:
                waiting.append(_Attempt(unit))
            busy = sum(worker.attempt is not None for worker in workers)
            if not waiting and not busy:
                return
            while len(workers) < min(processes, busy + len(waiting)):
                workers.append(_Worker(work))
            for worker in workers:
                if worker.ready and worker.attempt is None and waiting:
                    worker.attempt = attempt = waiting.popleft()
                    with suppress(OSError):  # it is dead, as the next turn will see
                        worker.connection.send((attempt.unit, attempt.skip, attempt.alone))
            connections = {worker.connection: worker for worker in workers}
            for connection in multiprocessing.connection.wait(list(connections), _POLL_SECONDS):
                worker = connections[connection]  # type: ignore[index]
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    how = worker.ending()
                    failed_starts += not worker.ready
                    if failed_starts >= _STARTS:
                        raise WorkerError(f"processes end before they are ready ({how})") from None
                    if worker.attempt is not None:
                        worker.attempt.note(worker.place.value, worker.process.exitcode or 0, how)
                        waiting.appendleft(worker.attempt)
                    continue
                if kind == "error":
                    raise WorkerError(content)
                failed_starts, worker.ready = 0, True
                if kind == "record":
                    worker.attempt = None
                    yield content
            look()
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.stop(_GRACE_SECONDS)


# --- in such a process


def _work(connection: Connection, work: UnitWork, place: Any) -> None:
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop)
    end_with_parent()

    def at(index: int) -> None:
        place.value = index

    try:
        loaded = work.load()
        connection.send(("ready", None))
        while True:
            unit, skip, alone = connection.recv()
            connection.send(("record", work(loaded, unit, skip, at, alone)))
    except EOFError:  # the parent is gone
        os._exit(1)
    except Exception as error:
        text = f"{type(error).__name__}: {error}" if not isinstance(error, OSError | ValueError) else str(error)
        with suppress(OSError):
            connection.send(("error", " ".join(text.split())))


def _stop(*_: object) -> None:
    os._exit(143)  # what is half-written is removed by the driver
