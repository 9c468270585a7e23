"""Rate and quality of codecs as Markdown: verdicts on goals, a table for each kind of sound, and how it was measured."""

import math
from collections.abc import Mapping, Sequence

from vqkit.report.markdown import escape, table_line
from vqkit.report.rate_curves import ORIGINAL
from vqkit.report.rate_rows import Interval, RateRow, Verdict
from vqkit.report.results import Protocol
from vqkit.report.summary import protocol_text

__all__ = ["goal_table", "protocol_list", "rate_table"]


def rate_table(rows: Sequence[RateRow], protocols: Mapping[str, Protocol]) -> str:
    """Return the rows of one kind of sound.

    Args:
        rows: in the order to show.
        protocols: metrics by key, the columns in order.

    Returns:
        A Markdown table: rates in kbps, means ± half the width of their 95 % interval; in brackets on how many sounds, if not on all.

    Example:
        >>> row = RateRow("music", "A", "A", 8.0, 7.91, 8.44, 3, {"snr": Interval(12.0, 11.5, 12.5, 3)})
        >>> print(rate_table([row], {"snr": Protocol("SNR", "dB", "higher", "", {})}))
        | codec | packets (kbps) | file (kbps) | SNR (dB) ↑ |
        | --- | ---: | ---: | ---: |
        | A | 7.91 | 8.44 | 12.0 ± 0.5 |
    """
    keys = [key for key in protocols if any(key in row.metrics for row in rows)]
    headers = ["codec", "packets (kbps)", "file (kbps)", *(_header(protocols[key]) for key in keys)]
    coded = [row for row in rows if row.family != ORIGINAL] or rows
    decimals = {key: _decimals([row.metrics[key].mean for row in coded if key in row.metrics]) for key in keys}
    lines = [table_line(headers), table_line(["---", *("---:" for _ in headers[1:])])]
    for row in rows:
        cells = [_cell(row.metrics.get(key), decimals[key], row.sounds) for key in keys]
        lines.append(table_line([escape(row.system), f"{row.kbps:.3g}", f"{row.file_kbps:.3g}", *cells]))
    return "\n".join(lines)


def goal_table(verdicts: Sequence[Verdict]) -> str:
    """Return the goals with both sides as measured.

    Args:
        verdicts: in the order to show.

    Returns:
        A Markdown table. ``clearly`` says that the 95 % interval of the advantage lies on the verdict's side of zero.

    Example:
        >>> won = Verdict("speech", "PESQ", "A", "≥", "2.6", 2.7, 2.6, Interval(0.1, -0.05, 0.25, 40), True)
        >>> print(goal_table([won]))
        | sounds | goal | measured | against | advantage, 95 % | verdict |
        | --- | --- | ---: | ---: | ---: | --- |
        | speech | PESQ of A ≥ 2.6 | 2.70 | 2.60 | +0.10 (−0.05 … +0.25) | met, not clearly |
    """
    lines = [
        table_line(["sounds", "goal", "measured", "against", "advantage, 95 %", "verdict"]),
        table_line(["---", "---", "---:", "---:", "---:", "---"]),
    ]
    for one in verdicts:
        goal = f"{escape(one.metric)} of {escape(one.system)} {one.relation} {escape(one.rival)}"
        cells = ["–", "–", "–", "not measured"]
        if one.left is not None and one.right is not None and one.advantage is not None:
            digits = _decimals([one.left, one.right])
            gain = one.advantage
            clear = gain.count > 1 and (gain.low > 0 if one.met else gain.high < 0)
            word = ("met" if one.met else "**not met**") + (", clearly" if clear else ", not clearly")
            interval = f"{_signed(gain.mean, digits)} ({_signed(gain.low, digits)} … {_signed(gain.high, digits)})"
            cells = [_number(one.left, digits), _number(one.right, digits), interval, word]
        lines.append(table_line([escape(one.kind), goal, *cells]))
    return "\n".join(lines)


def protocol_list(protocols: Mapping[str, Protocol]) -> str:
    """Return what each metric is, with its parameters, as a Markdown list."""
    lines = []
    for protocol in protocols.values():
        parameters = f" Parameters: {escape(protocol_text(protocol.parameters))}." if protocol.parameters else ""
        better = f"; {protocol.better} is better" if protocol.better else ""
        lines.append(f"- **{escape(protocol.name)}**{better}: {escape(protocol.description)}.{parameters}")
    return "\n".join(lines)


def _header(protocol: Protocol) -> str:
    arrow = {"higher": "↑", "lower": "↓", None: ""}[protocol.better]
    return " ".join(
        part for part in (escape(protocol.name), f"({protocol.unit})" if protocol.unit else "", arrow) if part
    )


def _cell(value: Interval | None, decimals: int, sounds: int) -> str:
    if value is None:
        return "–"
    count = f" ({value.count})" if value.count != sounds else ""
    half = f" ± {(value.high - value.low) / 2:.{decimals}f}" if value.high > value.low else ""
    return f"{_number(value.mean, decimals)}{half}{count}"


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", "−")


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")


def _decimals(values: Sequence[float]) -> int:
    """Three digits of the largest value, at most three behind the point."""
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest < 1.5 else max(0, 2 - math.floor(math.log10(largest)))
