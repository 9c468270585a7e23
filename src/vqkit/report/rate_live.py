"""A codec at rates while it runs: a bar, or plain lines where the output is no terminal, and its tables at the end."""

from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from vqkit.report.rate_cells import rate_cells, rate_columns
from vqkit.report.rate_results import RateResults
from vqkit.report.table import Cell
from vqkit.terminal import printable

__all__ = ["LiveRates", "rates_table"]


class LiveRates:
    """Progress of a rate–quality comparison on a terminal; use it in a ``with`` statement.

    Args:
        console: console to print to; the terminal by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console()
        self._console = console if console.is_terminal else Console(file=console.file, width=160)  # a file has no edge
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=self._console, transient=True) if self._console.is_terminal else None
        self._task = self._bar.add_task("", total=None) if self._bar else None
        self._sound = ""

    def update(self, sound: str, system: str, done: int, total: int) -> None:
        """Show that a system begins with a sound, after ``done`` of ``total`` steps."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=printable(f"{system}: {sound}"))
        elif sound != self._sound:
            self._console.print(printable(f"coding {sound}"), highlight=False, markup=False)
        self._sound = sound

    def print(self, results: RateResults) -> None:
        """Print the notes and the tables."""
        for note in results.notes:
            self._console.print(printable(note), highlight=False, markup=False)
        for kind in results.kinds:
            self._console.print(rates_table(results, kind, self._console.width))

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def rates_table(results: RateResults, kind: str, width: int = 160) -> Table:
    """Return the table of a kind of sound, to print.

    Args:
        results: results of the run.
        kind: kind of the sounds.
        width: characters there are; metrics that do not fit are left out, and the caption says so.

    Returns:
        A table with the marks of `vqkit.report.rate_cells`.
    """
    rows = results.of(kind)
    columns = rate_columns(rows, results.protocols[kind])
    fit = max(1, (width - 38) // 10)
    hidden = f"\n{len(columns) - fit} more metrics in the report, or in a wider terminal" if len(columns) > fit else ""
    caption = "* nothing that takes as many bytes or fewer is better   ≈ not separated from a better one"
    table = Table(
        title=Text(printable(f"{results.title}: {kind}")),
        caption=Text(caption + hidden),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="",
    )
    table.add_column("codec", min_width=13, overflow="fold", vertical="bottom")
    titles = [("packets", "kbps"), ("file", "kbps")]
    titles += [(column.protocol.name, f"{column.protocol.unit} {column.arrow}".strip()) for column in columns[:fit]]
    for name, unit in ((printable(name), printable(unit)) for name, unit in titles):
        words = name.split() if len(name) > 9 else [name]
        header = Text("\n".join([*words, unit]), justify="right")
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    for row, cells in zip(rows, rate_cells(rows, columns[:fit]), strict=True):
        shown = [_cell(cell) for cell in cells]
        table.add_row(Text(printable(row.system)), f"{row.kbps:#.3g}", f"{row.file_kbps:#.3g}", *shown)
    return table


def _cell(cell: Cell) -> Text:
    sign = {"best": "*", "close": "≈", "": ""}[cell.mark]
    return Text(sign + cell.text, style="bold green" if cell.mark == "best" else "")
