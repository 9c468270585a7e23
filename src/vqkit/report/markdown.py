"""The comparison as Markdown: a table per rate group, then how it was measured."""

import re
from collections.abc import Sequence

from vqkit.report.rates import RateGroup, rate_groups
from vqkit.report.results import Results
from vqkit.report.summary import how_to_read, protocol_text, summary_text
from vqkit.report.systems import System
from vqkit.report.table import Cell, Column, group_cells, table_columns
from vqkit.terminal import printable

__all__ = ["code_block", "escape", "markdown_table", "table_line"]


def markdown_table(results: Results) -> str:
    """Return the tables of a comparison, with the protocols below them.

    Args:
        results: results from :func:`vqkit.report.load_results`.

    Returns:
        Markdown (GitHub flavour). Names are escaped.

    Example:
        >>> print(markdown_table(load_results(folder)))  # doctest: +SKIP
    """
    columns = table_columns(results.protocols, results.systems, results.modality)
    parts = [_group(group, columns) for group in rate_groups(results.systems)]
    parts.append("## How to read it\n\n" + "\n".join(f"- {escape(line)}" for line in how_to_read(results.modality)))
    parts.append("## Protocols\n\n" + "\n".join(_protocols(results)))
    parts.append("## Conditions\n\n" + _conditions(results))
    return "\n\n".join(parts) + "\n"


def _group(group: RateGroup[System], columns: Sequence[Column]) -> str:
    lines = [
        f"## {group.heading}",
        "",
        table_line(["system", *(escape(column.header) for column in columns)]),
        table_line(["---", *("---:" for _ in columns)]),
    ]
    for system, cells in zip(group.members, group_cells(columns, group.members), strict=True):
        lines.append(table_line([escape(system.name), *(_cell(cell) for cell in cells)]))
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    return {"best": f"**{cell.spread}**", "close": f"{cell.spread} ≈", "": cell.spread}[cell.mark]


def _protocols(results: Results) -> list[str]:
    lines = []
    for protocol in results.protocols.values():
        unit = f" ({escape(protocol.unit)})" if protocol.unit else ""
        better = f"; {protocol.better} is better" if protocol.better else ""
        parameters = f" Parameters: {escape(protocol_text(protocol.parameters))}." if protocol.parameters else ""
        lines.append(f"- **{escape(protocol.name)}**{unit}{better}: {escape(protocol.description)}{parameters}")
    return lines


def _conditions(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    origin = f"Created {results.created}, commit {results.commit or 'unknown'}, {versions}."
    return f"{escape(summary_text(results))}\n\n{escape(origin)}\n\n{code_block(results.command)}"


def code_block(text: str) -> str:
    """Return a text unchanged, in a code fence that it cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = "\n".join(map(printable, text.split("\n")))
    return f"{fence}\n{shown}\n{fence}"


def table_line(cells: Sequence[str]) -> str:
    """A line of a table; the cells are escaped already."""
    return "| " + " | ".join(cells) + " |"


def escape(text: str) -> str:
    """Escape a text so that Markdown shows it literally, on one line, and it does not control a terminal either."""
    text = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)
