"""Figures: the loss while training, and the energy that each stage leaves; one panel per rate group."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels
from vqkit.report.palette import system_looks
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results
from vqkit.report.systems import System

__all__ = ["loss_figure", "residual_figure"]


def loss_figure(results: Results) -> Figure | None:
    """Draw the training loss over the steps, logarithmic where all losses are positive.

    Args:
        results: the comparison.

    Returns:
        The figure; None if no system has a loss curve.
    """
    return _curves(results, lambda system: (system.loss_steps, system.losses), x="step", y="training loss", marks=6)


def residual_figure(results: Results) -> Figure | None:
    """Draw the share of the embeddings' energy that is left after each stage.

    Args:
        results: the comparison.

    Returns:
        The figure; None if no system has the measure.
    """

    def energy(system: System) -> tuple[Sequence[float], Sequence[float]]:
        return range(len(system.residual_energy)), system.residual_energy

    figure = _curves(results, energy, x="stages", y="energy left", marks=None)
    for axes in figure.axes if figure else ():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _curves(
    results: Results,
    curve: Callable[[System], tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    marks: int | None,
) -> Figure | None:
    looks = system_looks(system.name for system in results.systems)
    groups = rate_groups(system for system in results.systems if len(curve(system)[1]))
    if not groups:
        return None
    figure, grid = panels(len(groups), columns=3, width=3.5 if len(groups) > 1 else 6, height=3, share_y=True)
    values = [
        value for group in groups for system in group.members for value in curve(system)[1] if math.isfinite(value)
    ]
    for i, (axes, group) in enumerate(zip(grid, groups, strict=True)):
        axis_style(axes, title=group.heading, x=x, y=y if i % 3 == 0 else "")
        for system in group.members:
            look, (steps, heights) = looks[system.name], curve(system)
            every = max(1, len(steps) // marks) if marks else 1
            style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.marker}
            axes.plot(
                steps,
                heights,
                linewidth=1.4,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                markevery=every,
                **style,
            )
    if values and min(values) > 0:
        for axes in grid:
            log_axis(axes, "y", values)
    legend_below(figure, [look_handle(system.name, looks[system.name]) for group in groups for system in group.members])
    return figure
