"""Worker process that does the jobs of the page, one at a time, and is ended when a job takes too long.

A thread cannot be stopped: what a file does to a decoder would stay until the server ends, and block whoever comes next.
"""

import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from vqkit.processes import end_with_parent, interrupts_ignored

__all__ = ["JobError", "Worker"]

Held = TypeVar("Held")
Done = TypeVar("Done")
Given = ParamSpec("Given")

_START_SECONDS = 120.0
_GOODBYE_SECONDS = 5.0


class JobError(Exception):
    """Error of a job without a result; the message is a line for the client."""


class Worker(Generic[Held]):
    """A process that keeps what jobs need, such as models, and does one job at a time; use it in a ``with``.

    It starts at once, in the background, and again after a job that had to be ended. It ends with the process that started it, whatever
    ends that one.

    Args:
        held: The first argument of every job, sent to the process when it starts.
        seconds: Time that a job may take; that of the process's start is not counted.

    Example:
        >>> from operator import add
        >>> with Worker(40, seconds=60) as worker:
        ...     worker.run(add, 2)
        42
    """

    def __init__(self, held: Held, seconds: float) -> None:
        self._held, self._seconds = held, seconds
        self._turn = threading.Lock()
        self._ready = self._closed = False
        self._start()

    def run(self, job: Callable[Concatenate[Held, Given], Done], *given: Given.args, **named: Given.kwargs) -> Done:
        """Do a job; those of other threads wait for their turn.

        Args:
            job: A function that the process can import; it is called with what is held and what is given.
            *given: Its further arguments.
            **named: Its further arguments, by name.

        Returns:
            What it returns.

        Raises:
            JobError: It took too long, its process was killed, or it failed in a way that nobody foresaw.
            ValueError: Something is wrong with what was given, as the job says.
        """
        with self._turn:
            if self._closed:
                raise JobError("the server is being stopped")
            try:
                if not self._ready:
                    self._answer(_START_SECONDS, "the process for jobs does not start")
                    self._ready = True
                self._connection.send((job, given, named))
                kind, found = self._answer(self._seconds, f"the job was ended: it took more than {self._seconds:g} s")
            except (EOFError, OSError):
                if self._closed:
                    raise JobError("the server is being stopped") from None
                self._restart()
                raise JobError("the job's process was killed; perhaps the memory does not suffice") from None
        if kind == "done":
            return found
        raise ValueError(found) if kind == "refused" else JobError(found)

    def _answer(self, seconds: float, otherwise: str) -> tuple[str, Any]:
        if not self._connection.poll(seconds):
            self._restart()
            raise JobError(otherwise)
        kind, found = self._connection.recv()
        return kind, found

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._ready = False
        self._process = context.Process(target=_serve, args=(self._held, other), name="vqkit-jobs", daemon=True)
        with interrupts_ignored():
            self._process.start()
        other.close()  # so that the end of the process is seen here

    def _restart(self) -> None:
        self._stop()
        if not self._closed:
            self._start()

    def _stop(self) -> None:
        self._process.kill()
        self._process.join(_GOODBYE_SECONDS)
        self._connection.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        self._process.kill()  # a job that waits for it sees its end
        with self._turn:
            self._stop()

    def __enter__(self) -> "Worker[Held]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(held: Any, connection: Connection) -> None:
    end_with_parent()
    connection.send(("ready", None))
    while True:
        try:
            job, given, named = connection.recv()
        except (EOFError, OSError):  # the parent is gone
            return
        connection.send(_outcome(held, job, given, named))


def _outcome(held: Any, job: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "done", job(held, *given, **named)
    except (ValueError, TypeError, OSError) as error:
        return "refused", _line(error)
    except Exception as error:  # whatever a file contains, the page goes on
        return "failed", f"{type(error).__name__}: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or "failed"
