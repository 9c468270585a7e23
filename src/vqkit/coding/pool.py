"""Pool of processes that do jobs: one that dies is replaced, and all end with their parent, however that ends."""

import multiprocessing.connection
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from vqkit.coding.attempt import Board, Outcome, Work, attempted
from vqkit.coding.jobs import Job
from vqkit.files import remove_unfinished
from vqkit.processes import ChildProcess, end_with_parent

__all__ = ["in_processes"]

_POLL_SECONDS = 0.1
_TRIES = 2  # a file that a process died with is tried once more
_GRACE_SECONDS = 5.0  # to remove what is half-written


class _Stopped(BaseException):
    """Exception raised when the run is interrupted, so that nothing half-written is left."""


class _Worker(ChildProcess):
    """A process that does one job after the other, as its parent sees it.

    Attributes:
        connection: a pipe to send jobs through, and to receive what became of them.
        job: the number of the one at hand.
        ready: whether the process has loaded its models.
    """

    def __init__(self, load: Callable[[], Any], work: Work, board: Board) -> None:
        super().__init__(_work, load, work, board)
        self.job: int | None = None
        self.ready = False


class _Pool:
    """Processes that do jobs; one that dies is replaced.

    Attributes:
        done: outcomes by the jobs' numbers, until they are fetched.
    """

    def __init__(self, jobs: Sequence[Job], load: Callable[[], Any], work: Work, processes: int, board: Board) -> None:
        self._jobs = jobs
        self._start = partial(_Worker, load, work, board)
        self._waiting = deque(range(len(jobs)))
        self._tries = [0] * len(jobs)
        self._failed_starts, self._most_failed_starts = 0, processes
        self._workers = [self._start() for _ in range(processes)]
        self.done: dict[int, Outcome] = {}

    def attend(self) -> None:
        """Wait a moment for the processes, and give those that are ready the next jobs."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in multiprocessing.connection.wait(list(by_connection), _POLL_SECONDS):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if isinstance(message, Outcome):
                assert worker.job is not None
                self.done[worker.job], worker.job = message, None
            else:
                worker.ready, self._failed_starts = True, 0
        for worker in self._workers:
            if worker.ready and worker.job is None and self._waiting:
                worker.job = self._waiting.popleft()
                self._tries[worker.job] += 1
                with suppress(OSError):  # it is dead, as the next call will see
                    worker.connection.send((worker.job, self._jobs[worker.job]))

    def _bury(self, worker: _Worker) -> None:
        """Clean up after a process that died, and start another if there is something left to do."""
        how = worker.ending()
        self._workers.remove(worker)
        if worker.job is not None:
            job = self._jobs[worker.job]
            _clean_up(job, worker)
            if self._tries[worker.job] < _TRIES:
                self._waiting.appendleft(worker.job)
            else:
                error = f"{_TRIES} processes died while they worked on it ({how}); perhaps memory does not suffice"
                self.done[worker.job] = Outcome(job, None, error)
        elif not worker.ready:
            self._failed_starts += 1
        if len(self._workers) < len(self._waiting) and self._failed_starts < self._most_failed_starts:
            self._workers.append(self._start())
        if not self._workers:
            error = f"processes end before they are ready ({how}); perhaps memory does not suffice for so many"
            self.done |= {index: Outcome(self._jobs[index], None, error) for index in self._waiting}
            self._waiting.clear()

    def stop(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.stop(_GRACE_SECONDS)  # what it has not finished is removed
            if worker.job is not None:
                _clean_up(self._jobs[worker.job], worker)


def _clean_up(job: Job, worker: _Worker) -> None:
    """Remove what a process that has ended left of a job; what a link names is written where it lies."""
    remove_unfinished(Path(os.path.realpath(job.target)).parent, worker.process.pid or 0)


def in_processes(
    jobs: Sequence[Job],
    load: Callable[[], Any],
    work: Work,
    processes: int,
    board: Board,
    look: Callable[[], None],
) -> Iterator[Outcome]:
    """Do jobs in several processes; the arguments are those of `run_jobs`."""
    pool = _Pool(jobs, load, work, processes, board)
    try:
        for index in range(len(jobs)):
            while index not in pool.done:
                pool.attend()
                look()
            yield pool.done.pop(index)
    finally:
        pool.stop()


# --- in such a process

_busy = False


def _work(connection: Connection, load: Callable[[], Any], work: Work, board: Board) -> None:
    global _busy
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop)
    end_with_parent(_GRACE_SECONDS)
    torch.set_num_threads(1)
    models = load()
    try:
        connection.send("ready")
        while True:
            index, job = connection.recv()
            _busy = True
            outcome = attempted(models, job, work, partial(board.note, index))
            _busy = False
            connection.send(outcome)
    except _Stopped:
        os._exit(1)
    except (EOFError, OSError):  # the parent is gone
        os._exit(1)


def _stop(*_: object) -> None:
    if not _busy:
        os._exit(1)
    raise _Stopped
