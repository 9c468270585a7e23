"""A page about the use of the codebooks in a pretraining: a table by phase, curves over the steps, histograms of the codes.

References:
    BRIDLE, table 6 (CUR and ECU before and after training) and figure 3 (how often each code is used).
"""

import base64
import html
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vqkit.files import write_whole
from vqkit.report.figures import axis_style, panels, png_bytes
from vqkit.report.palette import stage_colours
from vqkit.training.bridle.usage import USAGE_FILE

__all__ = ["write_usage_page"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Use of the codebooks</title>
<style>body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }} td, th {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
td:first-child, th:first-child {{ text-align: left }} img {{ max-width: 100% }} p {{ color: #555 }}</style></head><body>
<h1>Use of the codebooks</h1>
<p>Counted over the last steps of each phase. Usage (CUR): share of the codes that are chosen at least once. Entropy: bits a code carries.
ECU: 2^entropy over the number of codes, 100 % where all are equally frequent. The last column is what BRIDLE's published code calls ECU,
CUR / (entropy · ln K); it is the larger the worse the codebook.</p>
{table}
<h2>Over the steps</h2><img alt="usage and ECU over the steps" src="{curves}">
{histograms}
</body></html>
"""


def write_usage_page(folder: Path) -> Path:
    """Write ``usage.html`` beside the ``usage.json`` of a run.

    Args:
        folder: folder of the run.

    Returns:
        The page, one file that needs nothing else.

    Raises:
        FileNotFoundError: the run has counted nothing.
        ValueError: the counts are not what a run writes.
    """
    path = folder / USAGE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        ends = {record["phase"]: record for record in records if "histograms" in record}
        text = _PAGE.format(
            table=_table(ends),
            curves=_uri(_curves(records)),
            histograms="".join(
                f'<h2>{html.escape(phase)}</h2><img alt="how often each code is used" src="{_uri(_histograms(record))}">'
                for phase, record in ends.items()
            ),
        )
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not what a pretraining writes: {error}") from None
    return write_whole(folder / "usage.html", text.encode())


def _table(ends: dict[str, dict[str, Any]]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("phase", "codebook", "codes", "usage", "entropy, bits", "ECU", "ECU, published")
    )
    rows = []
    for phase, record in ends.items():
        for number, use in enumerate(record["stages"], 1):
            cells = (
                html.escape(phase),
                str(number),
                str(use["codebook_size"]),
                _percent(use["usage"]),
                _number(use["entropy_bits"], 2),
                _percent(use["ecu"]),
                _number(use["ecu_bridle"], 4),
            )
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _curves(records: list[dict[str, Any]]) -> Figure:
    figure, axes = panels(2, columns=2, width=4.6, height=2.8)
    stages = len(records[0]["stages"])
    colours = stage_colours(stages)
    steps = [record["step"] for record in records]
    for panel, (title, field) in zip(axes, (("usage (%)", "usage"), ("ECU (%)", "ecu")), strict=True):
        axis_style(panel, title=title, x="step")
        for stage in range(stages):
            values = [100 * (record["stages"][stage][field] or 0) for record in records]
            panel.plot(steps, values, color=colours[stage], linewidth=1.2, label=f"codebook {stage + 1}")
        panel.set_ylim(0, 103)
        changes = [one["step"] for one, other in pairwise(records) if one["phase"] != other["phase"]]
        for step in changes:
            panel.axvline(step, color="#999999", linewidth=0.6)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _histograms(record: dict[str, Any]) -> Figure:
    counts = record["histograms"]
    figure, axes = panels(len(counts), columns=4, width=2.6, height=2.0)
    colours = stage_colours(len(counts))
    for number, (panel, own) in enumerate(zip(axes, counts, strict=True)):
        axis_style(panel, title=f"code {number + 1}", x="codes, by frequency", y="share (%)" if number % 4 == 0 else "")
        shares = np.sort(np.asarray(own, dtype=float))[::-1] / max(1, sum(own))
        panel.fill_between(np.arange(len(shares)), 100 * shares, step="mid", color=colours[number], linewidth=0)
        panel.axhline(100 / len(shares), color="#666666", linewidth=0.6, linestyle="--")
        panel.set_ylim(bottom=0)
    return figure


def _uri(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(png_bytes(figure)).decode()
