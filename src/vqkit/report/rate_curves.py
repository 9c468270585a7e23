"""Figure: quality against measured rate on one kind of sound, a curve for each codec, a panel for each metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels
from vqkit.report.palette import Look, plot_label, system_looks
from vqkit.report.rate_rows import RateRow
from vqkit.report.results import Protocol

__all__ = ["ORIGINAL", "rate_curves_figure"]

ORIGINAL = "original"
_WITHOUT_REFERENCE = "dnsmos"


def rate_curves_figure(rows: Sequence[RateRow], protocols: Mapping[str, Protocol]) -> Figure | None:
    """Draw the means with their intervals over the measured rate of the packets, logarithmic.

    Args:
        rows: rows of one kind of sound. The family ``"original"`` is drawn where it says something, as a dotted line: in the score that
            looks at no reference.
        protocols: metrics by key, in the order of the panels.

    Returns:
        The figure; None if nothing was measured.
    """
    coded = [row for row in rows if row.family != ORIGINAL and row.kbps > 0]
    keys = [key for key in protocols if any(key in row.metrics for row in coded)]
    if not keys:
        return None
    looks = system_looks(dict.fromkeys(row.family for row in coded))
    figure, grid = panels(len(keys), columns=2 if len(keys) == 4 else 3, width=3.5, height=2.75)
    for axes, key in zip(grid, keys, strict=True):
        protocol = protocols[key]
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[protocol.better]
        title = plot_label(protocol.name) + arrow
        axis_style(axes, title=title, x="measured rate (kbps)", y=plot_label(protocol.unit))
        log_axis(axes, "x", [row.kbps for row in coded])
        for family, look in looks.items():
            _curve(axes, [row for row in coded if row.family == family and key in row.metrics], key, look)
        for row in rows:
            if row.family == ORIGINAL and key == _WITHOUT_REFERENCE and key in row.metrics:
                axes.axhline(row.metrics[key].mean, color="#4D4D4D", linestyle=":", linewidth=1)
                axes.annotate(
                    ORIGINAL, (0.01, row.metrics[key].mean), xycoords=("axes fraction", "data"), fontsize=8, va="bottom"
                )
    legend_below(figure, [look_handle(family, look) for family, look in looks.items()])
    return figure


def _curve(axes: Axes, rows: Sequence[RateRow], key: str, look: Look) -> None:
    ordered = sorted(rows, key=lambda row: row.kbps)
    means = [row.metrics[key].mean for row in ordered]
    spread = [
        [row.metrics[key].mean - row.metrics[key].low for row in ordered],
        [row.metrics[key].high - row.metrics[key].mean for row in ordered],
    ]
    style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "linewidth": 1.3}
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5, "elinewidth": 0.9, "capsize": 2}
    axes.errorbar([row.kbps for row in ordered], means, yerr=spread, markersize=6.5, **style, **edge)
