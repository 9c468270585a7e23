"""Outcome of one job, and the board that shows the progress of all."""

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from typing import Any

from vqkit.coding.coded import Coded, Watch
from vqkit.coding.jobs import PIPE, Job

__all__ = ["Board", "Outcome", "Work", "attempted"]

Work = Callable[[Any, Job, Watch], Coded]  # with whatever `load` makes


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job: a result, or an error in one line; neither, if the job was settled before.

    Attributes:
        job: the job.
        coded: result of the job; None where nothing was made.
        error: reason why nothing was made; "" if something was.
        appeared: the target was made by somebody else meanwhile.
    """

    job: Job
    coded: Coded | None
    error: str = ""
    appeared: bool = False


class Board:
    """Progress of each job, in memory that all processes share.

    Args:
        jobs: number of jobs.
    """

    def __init__(self, jobs: int) -> None:
        self.seconds = RawArray("d", jobs)
        self.shares = RawArray("d", jobs)

    def note(self, job: int, seconds: float, share: float | None) -> None:
        """Record the progress of a job: seconds done, and their share of all."""
        self.seconds[job], self.shares[job] = seconds, share or 0.0


def attempted(models: Any, job: Job, work: Work, watch: Watch) -> Outcome:
    """Do a job; what goes wrong with it becomes its outcome."""
    try:
        return Outcome(job, work(models, job, watch))
    except BrokenPipeError:
        if job.target == PIPE:  # nobody reads the output any more
            raise
        return Outcome(job, None, "nobody reads it any more")
    except Exception as error:  # whatever a file contains, the others are still to be done
        if isinstance(error, FileExistsError) and error.filename == job.target:
            return Outcome(job, None, f"{job.target} exists; -f overwrites it", appeared=True)
        expected = isinstance(error, ValueError | OSError | ImportError)
        text = " ".join(line.strip() for line in str(error).splitlines()).strip() or "failed"
        return Outcome(job, None, text if expected else f"{type(error).__name__}: {text}")
