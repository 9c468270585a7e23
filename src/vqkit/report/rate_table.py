"""Rate and quality of codecs as Markdown: verdicts on goals, a table for each kind of sound, and how it was measured."""

from collections.abc import Mapping, Sequence

from vqkit.report.markdown import escape, table_line
from vqkit.report.rate_cells import RateColumn, decimals_of, rate_cells, rate_columns, signless
from vqkit.report.rate_rows import RateRow, Verdict
from vqkit.report.results import Protocol
from vqkit.report.summary import protocol_text

__all__ = ["goal_table", "protocol_list", "rate_table"]


def rate_table(rows: Sequence[RateRow], protocols: Mapping[str, Protocol]) -> str:
    """Return the rows of one kind of sound.

    Args:
        rows: rows in the order to show.
        protocols: metrics by key, the columns in order.

    Returns:
        A Markdown table: rates in kbps, means ± half the width of their 95 % interval; in brackets on how many
        sounds, if not on all. Bold and ≈ as in `vqkit.report.rate_cells`.

    Example:
        >>> from vqkit.report.rate_rows import Interval
        >>> row = RateRow("music", "A", "A", 8.0, 7.91, 8.44, 3, {"snr": Interval(12.0, 11.5, 12.5, 3)})
        >>> print(rate_table([row], {"snr": Protocol("SNR", "dB", "higher", "", {})}))
        | codec | packets (kbps) | file (kbps) | SNR (dB) ↑ |
        | --- | ---: | ---: | ---: |
        | A | 7.91 | 8.44 | 12.0 ± 0.5 |
    """
    columns = rate_columns(rows, protocols)
    headers = ["codec", "packets (kbps)", "file (kbps)", *(_header(column) for column in columns)]
    lines = [table_line(headers), table_line(["---", *("---:" for _ in headers[1:])])]
    for row, cells in zip(rows, rate_cells(rows, columns), strict=True):
        shown = [
            {"best": f"**{cell.spread}**", "close": f"{cell.spread} ≈", "": cell.spread}[cell.mark] for cell in cells
        ]
        lines.append(table_line([escape(row.system), f"{row.kbps:.3g}", f"{row.file_kbps:.3g}", *shown]))
    return "\n".join(lines)


def goal_table(verdicts: Sequence[Verdict]) -> str:
    """Return the goals with both sides as measured.

    Args:
        verdicts: verdicts in the order to show.

    Returns:
        A Markdown table. ``clearly`` says that the 95 % interval of the advantage lies on the verdict's side of zero.

    Example:
        >>> from vqkit.report.rate_rows import Interval
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
            digits = decimals_of([one.left, one.right])
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


def _header(column: RateColumn) -> str:
    name, unit = escape(column.protocol.name), column.protocol.unit
    return " ".join(part for part in (name, f"({unit})" if unit else "", column.arrow) if part)


def _number(value: float, decimals: int) -> str:
    return signless(f"{value:.{decimals}f}")


def _signed(value: float, decimals: int) -> str:
    return signless(f"{value:+.{decimals}f}")
