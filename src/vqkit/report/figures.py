"""Style of all figures: axes without clutter, one legend below, small PNG bytes. No pyplot, so no global state."""

from collections.abc import Sequence
from io import BytesIO
from math import ceil
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from PIL import Image

from vqkit.report.palette import Look, plot_label

__all__ = ["axis_style", "legend_below", "log_axis", "look_handle", "panels", "png_bytes"]

DPI = 130


def panels(count: int, columns: int, width: float, height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels in a grid.

    Args:
        count: number of panels.
        columns: most panels side by side.
        width: width of one panel, in inches.
        height: height of one panel, in inches.
        share_y: one range for all panels.

    Returns:
        The figure and its panels, row by row.
    """
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    for spare in grid.flat[count:]:
        spare.remove()
    return figure, list(grid.flat[:count])


def axis_style(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Set titles and the light grid that all plots have."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(which="both", labelsize=8.5, color="#999999")
    axes.grid(color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")


def look_handle(name: str, look: Look) -> Line2D:
    """Return the legend entry of a system."""
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
    return Line2D(
        [],
        [],
        label=plot_label(name),
        markersize=6,
        linewidth=1.2,
        markeredgecolor="white",
        markeredgewidth=0.4,
        **style,
    )


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Place one legend under all panels, in as many columns as the names allow; the figure grows by its height."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int((width - 0.3) / (0.07 * longest + 0.55))))
    figure.set_size_inches(width, height + 0.19 * ceil(len(handles) / columns) + 0.1)
    figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False, handlelength=2.4
    )


def log_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic with plain numbers at its ticks, also where it spans less than a decade.

    Args:
        axes: the panel.
        which: axis of the panel, "x" or "y".
        values: positive values that are drawn; the axis spans them with a margin.
    """
    margin = (max(values) / min(values)) ** 0.06 * 1.02
    lowest, highest = min(values) / margin, max(values) * margin
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (lowest, highest)})
    axis.set_major_locator(FixedLocator(_log_ticks(lowest, highest)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _log_ticks(lowest: float, highest: float) -> list[float]:
    if highest / lowest < 2.5:  # nearly linear
        ticks = [float(tick) for tick in MaxNLocator(5).tick_values(lowest, highest)]
        return [tick for tick in ticks if lowest <= tick <= highest]
    steps = (1, 1.5, 2, 3, 4, 6) if highest / lowest < 8 else (1, 2, 5) if highest / lowest < 1000 else (1,)
    decades = 10.0 ** np.arange(np.floor(np.log10(lowest)), np.ceil(np.log10(highest)) + 1)
    return [float(step * decade) for decade in decades for step in steps if lowest <= step * decade <= highest]


def png_bytes(figure: Figure, dpi: int = DPI, crop: bool = True) -> bytes:
    """Return the figure as PNG of 256 colours, about a third of the size of full colour; ``crop`` removes empty margins."""
    drawn = BytesIO()
    figure.savefig(
        drawn, format="png", dpi=dpi, facecolor="white", bbox_inches="tight" if crop else None, pad_inches=0.08
    )
    image = Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
