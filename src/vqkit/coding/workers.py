"""Workers: jobs run one after the other, or in several processes of one thread each, with the same results."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from vqkit.coding.attempt import Board, Outcome, Work, attempted
from vqkit.coding.jobs import Job
from vqkit.coding.pool import in_processes

__all__ = ["Board", "Outcome", "Work", "run_jobs"]


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
        jobs: jobs to do.
        models: models for the jobs of this process.
        work: does one job; picklable if there are several processes.
        board: board on which the jobs record their progress.
        load: loads the same models in another process; picklable. Without it there is only this process.
        processes: number of processes at once. One that dies is replaced; the file it had is tried once more, and then named.
        look: called from time to time, to show the board.

    Yields:
        The outcomes in the order of the jobs.
    """
    processes = min(processes, len(jobs))
    if processes > 1 and load is not None:
        yield from in_processes(jobs, load, work, processes, board, look)
        return
    for index, job in enumerate(jobs):
        with _one_thread():
            outcome = attempted(models, job, work, partial(_noted, board, index, look))
        yield outcome


def _noted(board: Board, index: int, look: Callable[[], None], seconds: float, share: float | None) -> None:
    board.note(index, seconds, share)
    look()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Kernels round by the number of threads, and codes must not depend on how many processes there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
