"""Progress of a run: share, rate and time left, in one line on a terminal, and in a plain line now and then where there is none."""

import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self, TextIO

from vqkit.coding.workers import Board
from vqkit.terminal import duration

__all__ = ["ProgressLine", "rate_and_rest"]

_PATIENCE_SECONDS = 1.0  # what is done sooner needs no bar
_LINE_SECONDS = 30.0  # between plain lines


def rate_and_rest(elapsed: float, seconds: float, share: float) -> str:
    """Return the rate, if there are seconds of sound, and the time that the rest takes.

    Example:
        >>> rate_and_rest(elapsed=20, seconds=100, share=0.25), rate_and_rest(elapsed=4, seconds=10, share=0)
        ('5.0× real time, 1:00 left', '2.5× real time')
    """
    speed = [f"{seconds / elapsed:.1f}× real time"] if seconds and elapsed > 0 else []
    if not share:
        return "".join(speed)
    return ", ".join([*speed, f"{duration(elapsed * (1 - share) / share)} left"])


class ProgressLine:
    """Progress of a board on standard error, a bar on a terminal where rich is installed; use it in a ``with``.

    Args:
        board: board of the jobs.
        sizes: sizes of the jobs, in any unit: what share of all each is.
        shown: whether to show anything.
    """

    def __init__(self, board: Board, sizes: Sequence[float], shown: bool) -> None:
        self._board, self._sizes = board, sizes
        self._begin = self._last = time.monotonic()
        self._shown, self._started = shown, False
        self._bar: Any = None
        if shown and sys.stderr.isatty() and find_spec("rich") is not None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}"))
            console = Console(file=sys.stderr)
            self._bar = Progress(
                *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task("", total=1.0)

    def show(self) -> None:
        """Show the board's progress now."""
        now = time.monotonic()
        elapsed = now - self._begin
        if not self._shown or now - self._last < (_PATIENCE_SECONDS if self._bar is not None else _LINE_SECONDS):
            return
        done = sum(share * size for share, size in zip(self._board.shares, self._sizes, strict=True))
        share = done / (sum(self._sizes) or 1.0)
        text = rate_and_rest(elapsed, sum(self._board.seconds), share)
        if self._bar is None:
            self._last = now
            print(f"vqkit: {share:.0%}, {text}", file=sys.stderr, flush=True)
            return
        self._bar.update(self._task, completed=share, description=text)
        if not self._started:
            self._bar.start()
            self._started = True

    def print(self, text: str, file: TextIO | None) -> None:
        """Print a line that stays, above the bar; without a file it goes nowhere."""
        if self._started:
            self._bar.stop()
        if file is not None:
            print(text, file=file, flush=True)
        if self._started:
            self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._bar.stop()
