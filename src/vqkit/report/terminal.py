"""The comparison as a table in the terminal, also while its runs are still going on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from vqkit.report.modality import AUDIO, Modality
from vqkit.report.rates import rate_groups
from vqkit.report.results import Protocol
from vqkit.report.systems import System
from vqkit.report.table import Cell, Column, group_cells, table_columns
from vqkit.terminal import printable

__all__ = ["LiveRow", "results_table"]


CAPTION = "* best of its rate group   ≈ not separated from the best by these seeds"


@dataclass(frozen=True)
class LiveRow:
    """A row that may not have run yet.

    Attributes:
        name: name of the system.
        bits_per_token: known before the run; it decides the group.
        system: the results, None until they are there.
        progress: a note while the system runs, for example ``seed 2/3, step 400``.
    """

    name: str
    bits_per_token: float
    system: System | None = None
    progress: str = ""

    @staticmethod
    def finished(system: System) -> "LiveRow":
        """Return the row of a system that has run."""
        return LiveRow(system.name, system.bits_per_token, system)


def results_table(
    rows: Sequence[LiveRow],
    protocols: Mapping[str, Protocol],
    title: str = "",
    spread: bool = False,
    width: int = 160,
    modality: Modality = AUDIO,
) -> Table:
    """Return a table to print, or to hand to ``rich.live.Live`` again and again.

    Args:
        rows: finished, running and waiting systems, in any order.
        protocols: the metrics; see :func:`vqkit.report.results.parse_protocols`.
        title: a line above the table.
        spread: also show ± the spread over seeds; about 8 characters wider per metric.
        width: characters there are; metrics that do not fit are left out, and the caption says so.
        modality: modality of the comparison; it names the rates.

    Returns:
        A table with a section per rate group. Waiting rows show ``…``; the running row shows its note under its name.

    Example:
        >>> table = results_table([LiveRow("RVQ 4×64", 24.0, progress="seed 1/3")], {})
        >>> table.row_count  # the heading of the group, and the row
        2
    """
    done = [row.system for row in rows if row.system is not None]
    skipped = {"bits_per_token", *(field.key for field in modality.rates if field.kind == "bound")}
    columns = [column for column in table_columns(protocols, done, modality) if column.key not in skipped]
    metrics = [column for column in columns if column.key in protocols]
    fit = max(1, (width - 13 - 10 * (len(columns) - len(metrics))) // (18 if spread else 10))
    left_out = {column.key for column in metrics[fit:]}
    columns = [column for column in columns if column.key not in left_out]
    hidden = f"\n{len(left_out)} more metrics in the report, or in a wider terminal" if left_out else ""
    table = Table(
        title=Text(printable(title)) if title else None,
        caption=CAPTION + hidden if done else None,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="",
    )
    table.add_column("system", min_width=13, overflow="fold", vertical="bottom")
    for column in columns:
        # only names may wrap: a number cut in two would be misread
        table.add_column(_header(column), justify="right", no_wrap=True, vertical="bottom")
    for group in rate_groups(rows):
        table.add_row(Text(group.heading.replace(" per ", "/"), style="bold cyan"))
        finished = [row.system for row in group.members if row.system is not None]
        cells = dict(zip((system.name for system in finished), group_cells(columns, finished), strict=True))
        for row in group.members:
            table.add_row(_name(row), *_row(row, columns, cells.get(row.name), spread))
        table.add_section()
    return table


def _header(column: Column) -> Text:
    title = printable(column.title)
    words = title.split() if len(title) > 9 else [title]
    return Text("\n".join([*words, printable(f"{column.unit} {column.arrow}".strip())]), justify="right")


def _name(row: LiveRow) -> Text:
    text = Text(printable(row.name), style="" if row.system or row.progress else "dim")
    if row.system is None and row.progress:
        text.append(f"\n  {printable(row.progress)}", style="yellow")
    return text


def _row(row: LiveRow, columns: Sequence[Column], cells: list[Cell] | None, spread: bool) -> list[Text]:
    if cells is None:
        return [Text("…", style="yellow" if row.progress else "dim") for _ in columns]
    return [_cell(cell, spread) for cell in cells]


def _cell(cell: Cell, spread: bool) -> Text:
    sign = {"best": "*", "close": "≈", "": ""}[cell.mark]
    return Text(sign + (cell.spread if spread else cell.text), style="bold green" if cell.mark == "best" else "")
