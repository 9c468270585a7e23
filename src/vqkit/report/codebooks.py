"""Figures: how the codebooks are used stage by stage, and where their vectors lie among the embeddings."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vqkit.report.figures import axis_style, legend_below, panels
from vqkit.report.palette import plot_label, stage_colours
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results
from vqkit.report.systems import CodebookUse, System, Usage
from vqkit.types import Float

__all__ = ["pca_figure", "usage_figure"]

BAR_INCHES = 0.105
MAX_BUNDLE = 8  # many bars of a system share the height of so many
EMBEDDING_COLOUR = "#A9BAD3"
UNUSED_COLOUR = "#C8102E"


def usage_figure(results: Results) -> Figure | None:
    """Draw usage and ECU of every stage as bars, a bundle of bars per system; of every segment where the modality has them.

    Args:
        results: the comparison.

    Returns:
        The figure; None without systems.
    """
    groups = rate_groups(results.systems)
    uses = {system.name: _bars(system.usage, results.modality.segments) for system in results.systems}
    if not uses:
        return None
    colours = stage_colours(1 + max(colour for bars in uses.values() for _, colour in bars))
    ends, centres, labels, bounds = 0.0, [], [], []
    places: list[tuple[float, float, CodebookUse, str]] = []
    for group in groups:
        for system in group.members:
            bars = uses[system.name]
            bundle = min(max(len(bars), 2), MAX_BUNDLE)  # a name takes the height of two bars
            height = min(1.0, bundle / len(bars))
            first = ends + (bundle - height * len(bars)) / 2 + height / 2
            places += [(first + i * height, height, use, colours[colour]) for i, (use, colour) in enumerate(bars)]
            centres.append(ends + bundle / 2)
            labels.append(plot_label(system.name))
            ends += bundle + 0.9
        bounds.append(ends)
        ends += 0.9
    figure = Figure(figsize=(9.6, max(1.6, ends * BAR_INCHES + 0.7)), layout="constrained")
    for axes, (title, field) in zip(
        figure.subplots(1, 2, sharey=True), (("usage (%)", "usage"), ("ECU: perplexity / size (%)", "ecu")), strict=True
    ):
        axis_style(axes, title=title)
        axes.grid(False, axis="y")
        shares = [100 * getattr(use, field) for _, _, use, _ in places]
        lengths = [share if math.isfinite(share) else 0 for share in shares]
        heights = [0.86 * height for _, height, _, _ in places]
        axes.barh([y for y, *_ in places], lengths, height=heights, color=[colour for *_, colour in places])
        axes.set_xlim(0, 100)
        axes.set_yticks(centres, labels, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(ends - 0.9, -0.6)
        for bound in bounds[:-1]:
            axes.axhline(bound, color="#999999", linewidth=0.6)
    divided = results.modality.segments and any(system.usage.segments for system in results.systems)
    word = "stage or segment" if divided else "stage"
    legend_below(figure, [Patch(color=colour, label=f"{word} {i + 1}") for i, colour in enumerate(colours)])
    return figure


def _bars(usage: Usage, segments: bool) -> list[tuple[CodebookUse, int]]:
    """The uses to draw, with the number of the colour of each: of its stage, or of the segment where there is only one stage."""
    divided = usage.segments if segments else ()
    if len(divided) == 1:
        return [(use, i) for i, use in enumerate(divided[0])]
    if divided:
        return [(use, i) for i, stage in enumerate(divided) for use in stage]
    return [(use, i) for i, use in enumerate(usage.stages or (usage.pooled,))]


def pca_figure(results: Results) -> Figure | None:
    """Draw embeddings and code vectors on the principal axes of the embeddings, a panel per system (IVQ paper, figure 3).

    Args:
        results: the comparison.

    Returns:
        The figure; None if no system has such a projection.
    """
    drawn = [
        system for group in rate_groups(results.systems) for system in group.members if system.embeddings is not None
    ]
    if not drawn:
        return None
    colours = stage_colours(max(len(system.pca_stages) for system in drawn))
    figure, grid = panels(len(drawn), columns=4, width=2.7, height=2.6)
    for axes, system in zip(grid, drawn, strict=True):
        _scatter(axes, system, colours)
    round_marker: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgewidth": 0.5}
    handles = [Line2D([], [], color=EMBEDDING_COLOUR, label="embedding", markersize=5, **round_marker)]
    handles += [
        Line2D(
            [], [], color=colour, label=f"code, stage {i + 1}", markersize=6, markeredgecolor="white", **round_marker
        )
        for i, colour in enumerate(colours)
    ]
    handles.append(Line2D([], [], color=UNUSED_COLOUR, marker="x", linestyle="", markersize=5, label="code never used"))
    legend_below(figure, handles)
    return figure


def _scatter(axes: Axes, system: System, colours: list[str]) -> None:
    assert system.embeddings is not None
    bits = f"{system.bits_per_token:.4g} bits"
    axes.set_title(f"{plot_label(system.name, longest=24)}\n{bits}", fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#CCCCCC")
    size = float(np.clip(900 / max([1, *(len(stage.points) for stage in system.pca_stages)]), 2.5, 34))
    edge = 0.4 if size > 5 else 0.1  # thousands of codes must not cover each other
    dots: dict[str, Any] = {"s": 4, "color": EMBEDDING_COLOUR, "linewidths": 0, "alpha": 0.6}
    shown: list[tuple[Float[np.ndarray, "points 2"], dict[str, Any]]] = [(system.embeddings, dots)]
    masks = [np.array(stage.used, dtype=bool) for stage in system.pca_stages]
    unused: dict[str, Any] = {"s": min(size, 14), "marker": "x", "color": UNUSED_COLOUR, "linewidths": 2 * edge}
    shown += [(stage.points[~used], unused) for stage, used in zip(system.pca_stages, masks, strict=True)]
    for colour, stage, used in zip(colours, system.pca_stages, masks, strict=False):
        shown.append((stage.points[used], {"s": size, "color": colour, "edgecolors": "white", "linewidths": edge}))
    for points, style in shown:
        axes.scatter(points[:, 0], points[:, 1], **style)
    used_codes = [stage.points[used] for stage, used in zip(system.pca_stages, masks, strict=True)]
    _view(axes, [system.embeddings, *used_codes], np.concatenate([points for points, _ in shown]))


def _view(axes: Axes, kept: list[Float[np.ndarray, "points 2"]], drawn: Float[np.ndarray, "all 2"]) -> None:
    """Show the middle 98 % of embeddings and of used codes: a few outliers must not shrink the rest to a dot."""
    ranges = np.array([np.percentile(points, [1, 99], axis=0) for points in kept if len(points)])
    if not len(ranges):
        return
    low, high = ranges[:, 0].min(axis=0), ranges[:, 1].max(axis=0)
    span = np.maximum(high - low, 1e-9)
    low, high = low - 0.12 * span, high + 0.12 * span
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    outside = int(((drawn < low) | (drawn > high)).any(axis=1).sum())
    if outside:
        axes.text(0.98, 0.02, f"{outside} outside", transform=axes.transAxes, ha="right", fontsize=7.5, color="#666666")
