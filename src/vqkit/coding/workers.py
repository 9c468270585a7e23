"""Jobs one after the other, or in several processes of one thread each: the results are the same."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.sharedctypes import RawArray
from typing import Any

import torch

from vqkit.coding.coded import Coded, Watch
from vqkit.coding.jobs import Job

__all__ = ["Board", "Outcome", "Work", "run_jobs"]

Work = Callable[[Any, Job, Watch], Coded]  # with whatever `load` makes
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a result, or an error in one line."""

    job: Job
    coded: Coded | None
    error: str = ""


class Board:
    """How far each job is, in memory that all processes share.

    Args:
        jobs: how many there are.
    """

    def __init__(self, jobs: int) -> None:
        self.seconds = RawArray("d", jobs)
        self.shares = RawArray("d", jobs)

    def note(self, job: int, seconds: float, share: float | None) -> None:
        """Say how far a job is."""
        self.seconds[job], self.shares[job] = seconds, share or 0.0


def run_jobs(
    jobs: Sequence[Job],
    models: Any,
    work: Work,
    board: Board,
    load: Callable[[], Any] | None = None,
    processes: int = 1,
    look: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Do all jobs; one that fails does not stop the others.

    Args:
        jobs: what to do.
        models: for the jobs of this process.
        work: does one job; picklable if there are several processes.
        board: where the jobs note how far they are.
        load: makes the same models in another process; picklable. Without it there is only this one.
        processes: how many at once.
        look: called every now and then, to show the board.

    Yields:
        The outcomes in the order of the jobs.
    """
    processes = min(processes, len(jobs))
    if processes > 1 and load is not None:
        yield from _in_processes(jobs, load, work, processes, board, look)
        return
    for index, job in enumerate(jobs):
        with _one_thread():
            outcome = _attempted(models, job, work, partial(_noted, board, index, look))
        yield outcome


def _noted(board: Board, index: int, look: Callable[[], None], seconds: float, share: float | None) -> None:
    board.note(index, seconds, share)
    look()


def _attempted(models: Any, job: Job, work: Work, watch: Watch) -> Outcome:
    try:
        return Outcome(job, work(models, job, watch))
    except Exception as error:  # whatever a file contains, the others are still to be done
        expected = isinstance(error, ValueError | OSError | ImportError)
        text = " ".join(str(error).split()) or "failed"
        return Outcome(job, None, text if expected else f"{type(error).__name__}: {text}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Kernels round by the number of threads, and codes must not depend on how many processes there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# --- several processes


class _Stopped(BaseException):
    """The run was interrupted: leave nothing half-written."""


_worker: dict[str, Any] = {}


def _in_processes(
    jobs: Sequence[Job],
    load: Callable[[], Any],
    work: Work,
    processes: int,
    board: Board,
    look: Callable[[], None],
) -> Iterator[Outcome]:
    others = set(active_children())
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (load, work, board))
    try:
        with _interrupts_ignored():
            futures = [pool.submit(_in_worker, index, job) for index, job in enumerate(jobs)]
        for job, future in zip(jobs, futures, strict=True):
            while not wait([future], _POLL_SECONDS).done:
                look()
            try:
                yield future.result()
            except BrokenProcessPool:
                yield Outcome(job, None, "a process died; perhaps memory does not suffice for so many")
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        mine = set(active_children()) - others
        for process in mine:
            process.terminate()
        for process in mine:
            process.join()
        raise
    pool.shutdown()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C from their first moment: their parent tells them when to stop."""
    if threading.current_thread() is not threading.main_thread():  # only that may ask for it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start(load: Callable[[], Any], work: Work, board: Board) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(1)
    _worker.update(models=load(), work=work, board=board, busy=False)


def _in_worker(index: int, job: Job) -> Outcome:
    _worker["busy"] = True
    try:
        return _attempted(_worker["models"], job, _worker["work"], partial(_worker["board"].note, index))
    except _Stopped:
        os._exit(1)
    finally:
        _worker["busy"] = False


def _stop(*_: object) -> None:
    if not _worker.get("busy"):
        os._exit(1)
    raise _Stopped
