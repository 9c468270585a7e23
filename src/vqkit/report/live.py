"""A comparison while it runs: one table that fills, or plain lines where the output is no terminal."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from vqkit.report.modality import modality_named
from vqkit.report.node import Node
from vqkit.report.results import parse_protocols
from vqkit.report.systems import parse_system
from vqkit.report.terminal import LiveRow, results_table
from vqkit.terminal import printable

__all__ = ["LiveResults"]


class LiveResults:
    """Live table of rows as they come; use it in a ``with`` statement. At its end the complete table is in the terminal.

    Args:
        title: title of the table.
        rates: bits per token of every system, known before it runs.
        protocols: protocols of the metrics, as in ``results.json``.
        console: console to print to; the terminal by default.
        modality: name of the modality, as in ``results.json``.

    Raises:
        ValueError: a protocol lacks a field, or there is no such modality.
    """

    def __init__(
        self,
        title: str,
        rates: Mapping[str, float],
        protocols: Mapping[str, Any],
        console: Console | None = None,
        modality: str = "audio",
    ) -> None:
        self._title = title
        self._rows = {name: LiveRow(name, bits) for name, bits in rates.items()}
        self._modality = modality_named(modality)
        self._protocols = parse_protocols(Node(dict(protocols)))
        console = console or Console()
        self._console = console if console.is_terminal else Console(file=console.file, width=160)  # a file has no edge
        self._live = (
            Live(console=self._console, refresh_per_second=4, transient=True) if self._console.is_terminal else None
        )

    def update(self, name: str, note: str, row: dict[str, Any] | None) -> None:
        """Take a note on a run, or the finished row of a system."""
        old = self._rows[name]
        if row is not None:
            self._rows[name] = LiveRow.finished(parse_system(Node(row), self._modality))
        else:
            self._rows[name] = LiveRow(name, old.bits_per_token, old.system, note)
        if self._live is not None:
            self._live.update(self._table())
        elif row is None and not note.partition(", ")[2].startswith("step"):
            self._console.print(printable(f"{name}: {note}"), highlight=False, markup=False)

    def _table(self, spread: bool = False) -> Any:
        rows, width = list(self._rows.values()), self._console.width
        return results_table(rows, self._protocols, self._title, spread, width, self._modality)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if any(row.system is not None for row in self._rows.values()):
            self._console.print(self._table())
