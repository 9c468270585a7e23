"""Progress of work that takes more than a second: a bar on a terminal, and a plain line now and then where there is none."""

import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]

_PATIENCE_SECONDS = 1.0  # what is done sooner needs no bar
_LINE_SECONDS = 30.0  # between plain lines


class Progress:
    """Shows a share on standard error; use it in a ``with``.

    Args:
        text: text on the work being done.
        shown: whether to show anything.
    """

    def __init__(self, text: str, shown: bool = True) -> None:
        self._text, self._shown = text, shown
        self._begin = self._last = time.monotonic()
        self._bar: Any = None

    def __call__(self, share: float) -> None:
        """Show the share of the work that is done, from 0 to 1."""
        now = time.monotonic()
        if not self._shown or now - self._begin < _PATIENCE_SECONDS:
            return
        if sys.stderr.isatty() and find_spec("rich") is not None:
            if self._bar is None:
                from rich.console import Console
                from rich.progress import Progress as Bar

                self._bar = Bar(console=Console(file=sys.stderr), transient=True)
                self._bar.start()
                self._task = self._bar.add_task(self._text, total=1.0)
            self._bar.update(self._task, completed=share)
        elif now - self._last >= _LINE_SECONDS:
            print(f"{self._text}: {share:.0%}", file=sys.stderr)
            self._last = now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
