"""The table of a comparison, cell by cell; Markdown, terminal and web page draw the same cells.

Conventions
    A column has a direction only if it is a score or a cost. Bits per token and measured rates have none: they are what is held equal.
    Within a rate group the best mean of a column is marked ``best``. A row whose range mean ± spread overlaps the best row's range is
    marked ``close``: the seeds do not separate the two. Nothing is marked where all rows of the group show the same value.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vqkit.report.modality import AUDIO, Modality
from vqkit.report.results import Better, Protocol
from vqkit.report.systems import Measure, System

__all__ = ["Cell", "Column", "group_cells", "table_columns"]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        key: the metric, or the field of the system.
        title: text of the header, without unit.
        unit: unit of the values; may be empty.
        better: direction that is better, None for neither.
        decimals: digits after the point.
        description: one line about the column.
        measure: returns the value of a system; None where it has none.
        is_metric: whether ``key`` is a metric with a protocol.
    """

    key: str
    title: str
    unit: str
    better: Better
    decimals: int
    description: str
    measure: Callable[[System], Measure | None]
    is_metric: bool = False

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, ``↓`` where lower is."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    @property
    def header(self) -> str:
        """Title, unit and arrow, for example ``SI-SDR (dB) ↑``."""
        return " ".join(part for part in (self.title, f"({self.unit})" if self.unit else "", self.arrow) if part)


@dataclass(frozen=True)
class Cell:
    """Cell of a table: the value to sort by (NaN if there is none), its text without and with the spread, and its mark."""

    value: float
    text: str
    spread: str
    mark: Literal["best", "close", ""]


def table_columns(
    protocols: Mapping[str, Protocol], systems: Iterable[System], modality: Modality = AUDIO
) -> list[Column]:
    """Return the columns, with digits that suit the values.

    Args:
        protocols: the metrics, in order.
        systems: all systems of the comparison.
        modality: modality of the comparison; it names the rates.

    Returns:
        Codebook size, rates, the metrics, use of the codebooks, training time.
    """
    rows = list(systems)

    def column(
        key: str,
        title: str,
        unit: str,
        better: Better,
        text: str,
        measure: Callable[[System], Measure | None],
        decimals: int | None = None,
    ) -> Column:
        digits = _decimals([measure(row) for row in rows]) if decimals is None else decimals
        return Column(key, title, unit, better, digits, text, measure, is_metric=key in protocols)

    costs = [
        column(
            "codebook_floats",
            "codebook",
            "floats",
            "lower",
            "numbers stored in all codebooks",
            _exact("codebook_floats"),
            0,
        ),
        column(
            "bits_per_token",
            "bits per token",
            "",
            None,
            "bits that a token takes at fixed length",
            _exact("bits_per_token"),
            None,
        ),
    ]
    costs += [
        column(field.key, field.title, field.unit, None, field.description, _rate(field.key))
        for field in modality.rates
        if field.kind != "bound" or any(field.key in row.rates for row in rows)
    ]
    metrics = [column(key, p.name, p.unit, p.better, p.description, _metric(key)) for key, p in protocols.items()]
    uses = [
        column("usage", "usage", "%", "higher", "codes that the test set chose at least once", _pooled("usage"), 0),
        *(
            [
                column(
                    "segment_usage", "by segment", "%", "higher", "the same, segment by segment, averaged", _by_piece, 0
                )
            ]
            if modality.segments and any(row.usage.segments for row in rows)
            else []
        ),
        column("ecu", "ECU", "%", "higher", "effective codebook use: perplexity / codebook size", _pooled("ecu"), 0),
        column(
            "train_time_ratio",
            "time",
            "×",
            "lower",
            "training time / the fastest system's",
            lambda row: row.train_time_ratio,
        ),
    ]
    return costs + metrics + uses


def group_cells(columns: Sequence[Column], systems: Sequence[System]) -> list[list[Cell]]:
    """Return the cells of one rate group.

    Args:
        columns: columns from :func:`table_columns`.
        systems: the members of the group.

    Returns:
        One list per system, one cell per column.
    """
    by_column = [_column_cells(column, [column.measure(system) for system in systems]) for column in columns]
    return [list(row) for row in zip(*by_column, strict=True)]


def _column_cells(column: Column, measures: list[Measure | None]) -> list[Cell]:
    texts = [_text(measure, column.decimals) for measure in measures]
    marks = _marks(column, measures, texts)
    cells = []
    for measure, text, mark in zip(measures, texts, marks, strict=True):
        value = math.nan if measure is None else measure.mean
        spread = f"{text} ± {measure.std:.{column.decimals}f}" if measure is not None and _varies(measure) else text
        cells.append(Cell(value, text, spread, mark))
    return cells


def _varies(measure: Measure) -> bool:
    if len(measure.values) < 2 or not (math.isfinite(measure.mean) and math.isfinite(measure.std)):
        return False
    return measure.std > 1e-9 * abs(measure.mean)  # a fixed rate is the same for all seeds, but for rounding


def _marks(column: Column, measures: list[Measure | None], texts: list[str]) -> list[Literal["best", "close", ""]]:
    known = [measure for measure in measures if measure is not None and not math.isnan(measure.mean)]
    if column.better is None or len(known) < 2 or len(set(texts)) == 1:
        return [""] * len(measures)
    best = (max if column.better == "higher" else min)(known, key=lambda measure: measure.mean)
    shown = _text(best, column.decimals)

    def mark(measure: Measure | None, text: str) -> Literal["best", "close", ""]:
        if measure is None or math.isnan(measure.mean):
            return ""
        if text == shown:  # what prints alike is marked alike
            return "best"
        return "close" if abs(measure.mean - best.mean) <= measure.std + best.std else ""

    return [mark(measure, text) for measure, text in zip(measures, texts, strict=True)]


def _text(measure: Measure | None, decimals: int) -> str:
    if measure is None or math.isnan(measure.mean):
        return "–"
    if math.isinf(measure.mean):
        return "∞" if measure.mean > 0 else "−∞"
    text = f"{measure.mean:,.{decimals}f}".replace("-", "−")
    return text[1:] if text.startswith("−") and not text.strip("−0.") else text


def _decimals(measures: Iterable[Measure | None]) -> int:
    """Three digits for the largest value, two for the smallest, and never more than two decimals beyond the first wish."""
    sizes = [abs(m.mean) for m in measures if m is not None and math.isfinite(m.mean) and m.mean != 0]
    if not sizes:
        return 2
    if all(size == round(size) for size in sizes):
        return 0
    largest, smallest = (math.floor(math.log10(size)) for size in (max(sizes), min(sizes)))
    wish = max(0, 2 - largest)
    return min(max(wish, 1 - smallest), wish + 2, 6)


def _exact(field: str) -> Callable[[System], Measure]:
    return lambda system: Measure.exact(float(getattr(system, field)))


def _rate(key: str) -> Callable[[System], Measure | None]:
    return lambda system: system.rates.get(key)


def _metric(key: str) -> Callable[[System], Measure | None]:
    return lambda system: system.metrics.get(key)


def _by_piece(system: System) -> Measure:
    uses = system.usage.pieces or system.usage.stages or (system.usage.pooled,)
    return Measure.exact(100 * sum(use.usage for use in uses) / len(uses))


def _pooled(field: str) -> Callable[[System], Measure]:
    return lambda system: Measure.exact(100 * float(getattr(system.usage.pooled, field)))
