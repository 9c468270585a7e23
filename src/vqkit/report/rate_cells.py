"""Rate and quality of codecs, cell by cell; Markdown, terminal and web page draw the same cells.

Conventions
    A row is marked ``best`` in a metric if no row of the table whose packets take as many bytes or fewer is better: codecs have few rates
    in common, so what is held equal is the most that may be spent. A row is ``close`` if a cheaper one is better but their 95 % intervals
    overlap. The cheapest row has nothing to be compared with and is not marked; neither are rows without a codec.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vqkit.report.rate_curves import ORIGINAL
from vqkit.report.rate_rows import Interval, RateRow
from vqkit.report.results import Protocol
from vqkit.report.table import Cell

__all__ = ["RateColumn", "decimals_of", "rate_cells", "rate_columns", "signless"]


@dataclass(frozen=True)
class RateColumn:
    """A metric's column: its key and protocol, and digits after the point."""

    key: str
    protocol: Protocol
    decimals: int

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, ``↓`` where lower is."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.protocol.better]


def rate_columns(rows: Sequence[RateRow], protocols: Mapping[str, Protocol]) -> list[RateColumn]:
    """Return the metrics that some row has, in the order of the protocols."""
    coded = [row for row in rows if row.family != ORIGINAL] or rows
    return [
        RateColumn(key, protocol, decimals_of([row.metrics[key].mean for row in coded if key in row.metrics]))
        for key, protocol in protocols.items()
        if any(key in row.metrics for row in rows)
    ]


def rate_cells(rows: Sequence[RateRow], columns: Sequence[RateColumn]) -> list[list[Cell]]:
    """Return the cells of one kind of sound.

    Args:
        rows: rows of the table, in any order.
        columns: columns from `rate_columns`.

    Returns:
        One list a row, one cell a column: the mean, ± half the width of its interval, in brackets on how many sounds, if not on all.

    Example:
        >>> cheap = RateRow("music", "A", "A", 3, 3.0, 3.2, 3, {"snr": Interval(12.0, 11.5, 12.5, 3)})
        >>> dear = RateRow("music", "B", "B", 6, 6.0, 6.2, 3, {"snr": Interval(11.0, 9.0, 13.0, 2)})
        >>> columns = rate_columns([cheap, dear], {"snr": Protocol("SNR", "dB", "higher", "", {})})
        >>> [(cell.spread, cell.mark) for (cell,) in rate_cells([cheap, dear], columns)]
        [('12.0 ± 0.5', ''), ('11.0 ± 2.0 (2)', 'close')]
    """
    return [[_cell(row, rows, column) for column in columns] for row in rows]


def decimals_of(values: Sequence[float]) -> int:
    """Three digits of the largest value, at most three behind the point."""
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest < 1.5 else max(0, 2 - math.floor(math.log10(largest)))


def signless(text: str) -> str:
    """A number with a minus sign instead of a hyphen."""
    return text.replace("-", "−")


def _cell(row: RateRow, rows: Sequence[RateRow], column: RateColumn) -> Cell:
    value = row.metrics.get(column.key)
    if value is None:
        return Cell(math.nan, "–", "–", "")
    text = signless(f"{value.mean:.{column.decimals}f}")
    half = f" ± {(value.high - value.low) / 2:.{column.decimals}f}" if value.high > value.low else ""
    count = f" ({value.count})" if value.count != row.sounds else ""
    return Cell(value.mean, text, f"{text}{half}{count}", _mark(row, value, rows, column))


def _mark(row: RateRow, value: Interval, rows: Sequence[RateRow], column: RateColumn) -> Literal["best", "close", ""]:
    sign = {"higher": 1, "lower": -1, None: 0}[column.protocol.better]
    rivals = [
        other.metrics[column.key]
        for other in rows
        if other is not row and other.family != ORIGINAL and other.kbps <= row.kbps and column.key in other.metrics
    ]
    if not sign or not rivals or row.family == ORIGINAL:
        return ""
    best = max(rivals, key=lambda rival: sign * rival.mean)
    if sign * value.mean >= sign * best.mean:
        return "best"
    return "close" if value.low <= best.high and best.low <= value.high else ""
