"""Figure: quality against measured rate, one panel per metric."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels
from vqkit.report.palette import Look, plot_label, system_looks
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results
from vqkit.report.systems import System

__all__ = ["quality_figure"]


def quality_figure(results: Results) -> Figure | None:
    """Draw each system as a point with its spread, and the line of its stages where it can be decoded in part.

    Args:
        results: the comparison.

    Returns:
        The figure; None if no metric was measured.
    """
    looks = system_looks(system.name for system in results.systems)
    points = [system for system in results.systems if system.rate.mean > 0]
    metrics = [key for key in results.protocols if any(math.isfinite(_metric(system, key)) for system in points)]
    if not metrics:
        return None
    rates = [system.rate.mean for system in points]
    rates += [point.rate for system in points for point in system.rate_curve if point.rate > 0]
    figure, grid = panels(len(metrics), columns=3, width=3.5, height=2.75)
    for axes, key in zip(grid, metrics, strict=True):
        protocol = results.protocols[key]
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[protocol.better]
        axis_style(
            axes, title=plot_label(protocol.name) + arrow, x=results.modality.rate_axis, y=plot_label(protocol.unit)
        )
        log_axis(axes, "x", rates)
        for system in points:
            _draw(axes, system, key, looks[system.name])
    ordered = [system for group in rate_groups(points) for system in group.members]
    legend_below(figure, [look_handle(system.name, looks[system.name]) for system in ordered])
    return figure


def _draw(axes: Axes, system: System, key: str, look: Look) -> None:
    curve = [(point.rate, point.metrics.get(key, math.nan)) for point in system.rate_curve if point.rate > 0]
    if curve:
        x, y = np.array(sorted(curve)).T
        axes.plot(
            x, y, color=look.colour, linestyle=look.line, linewidth=1, alpha=0.6, marker=look.marker, markersize=2.5
        )
    measure = system.metrics.get(key)
    if measure is None or not math.isfinite(measure.mean):
        return
    spread = (
        [system.rate.std if math.isfinite(system.rate.std) else 0],
        [measure.std if math.isfinite(measure.std) else 0],
    )
    style: dict[str, Any] = {
        "ecolor": look.colour,
        "elinewidth": 1,
        "capsize": 2,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
    axes.errorbar(
        system.rate.mean,
        measure.mean,
        xerr=spread[0],
        yerr=spread[1],
        color=look.colour,
        marker=look.marker,
        markersize=6.5,
        alpha=0.9,
        **style,
    )


def _metric(system: System, key: str) -> float:
    measure = system.metrics.get(key)
    return math.nan if measure is None else measure.mean
