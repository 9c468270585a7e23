"""Pictures of one file's codes: where they change in time, and how much of each codebook they use."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vqkit.metrics import UsageReport
from vqkit.report.figures import axis_style, png_bytes
from vqkit.report.palette import stage_colours
from vqkit.types import Int

__all__ = ["DPI", "WIDTH_INCHES", "codes_png", "usage_png"]

WIDTH_INCHES = 4.8  # half of a wide page, or all of a telephone
DPI = 220
_TEXT = 9.0


def codes_png(
    codes: Int[np.ndarray, "num_codes frames"],
    code_sizes: tuple[int, ...],
    codes_per_stage: tuple[int, ...],
    extent: float,
    unit: str = " s",
) -> bytes:
    r"""Draw codes over time or cells: a row for each code of a frame, its colour the index in its codebook; what is lost is white.

    Args:
        codes: −1 where there is none.
        code_sizes: alphabet size of each code.
        codes_per_stage: number of consecutive codes in each stage.
        extent: extent of the frames, in ``unit``.
        unit: unit of the axis, with the space before it.

    Returns:
        A PNG file.

    Example:
        >>> codes_png(np.array([[0, 1, 2], [3, -1, 0]]), (4, 4), (1, 1), 0.06)[:4]
        b'\x89PNG'
    """
    shares = np.where(codes < 0, np.nan, codes / np.maximum(np.array(code_sizes)[:, None] - 1, 1))
    figure = Figure(figsize=(WIDTH_INCHES, 1.7), layout="constrained")
    axes = figure.subplots()
    rows = len(codes)
    axes.imshow(
        shares, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest", extent=(0, extent, rows, 0)
    )
    ends = np.cumsum(codes_per_stage)
    shown = _every(len(ends), most=8)
    axes.set_yticks([ends[i] - codes_per_stage[i] / 2 for i in shown], [str(i + 1) for i in shown])
    for end in ends[:-1]:
        axes.axhline(end, color="white", linewidth=0.4)
    _axis(axes, unit)
    axes.set_ylabel("stage", fontsize=_TEXT)
    return png_bytes(figure, dpi=DPI, crop=False)


def usage_png(usage: UsageReport, codes_per_stage: tuple[int, ...]) -> bytes:
    """Draw, stage by stage, the share of the codes that occur, and the bits that their frequencies are worth.

    Args:
        usage: use of the codebooks by one file.
        codes_per_stage: number of consecutive codes in each stage.

    Returns:
        A PNG file.
    """
    uses = usage.per_stage
    colours = stage_colours(len(uses))
    places = np.arange(1, len(uses) + 1)
    figure = Figure(figsize=(WIDTH_INCHES, 1.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    axis_style(left, title="codes used (%)")
    left.bar(places, [100 * use.usage for use in uses], color=colours)
    left.set_ylim(0, 105)
    axis_style(right, title="effective bits a code")
    nominal = _nominal_bits(usage, codes_per_stage)
    right.bar(places, nominal, color="#E4E4E4")
    right.bar(places, [np.nan_to_num(use.entropy_bits) for use in uses], color=colours)
    for axes in (left, right):
        axes.title.set_fontsize(_TEXT)
        axes.grid(False, axis="x")
        axes.set_xlabel("stage", fontsize=_TEXT)
        axes.set_xticks([places[i] for i in _every(len(uses), most=8)])
        axes.set_xlim(0.3, max(len(uses), 4) + 0.7)
        axes.tick_params(labelsize=_TEXT, colors="#333333", length=2)
    return png_bytes(figure, dpi=DPI, crop=False)


def _nominal_bits(usage: UsageReport, codes_per_stage: tuple[int, ...]) -> list[float]:
    """Bits a code of each stage before entropy coding, the mean over its codes."""
    bits = np.log2([use.codebook_size for use in usage.per_piece])
    ends = np.cumsum(codes_per_stage)
    return [float(bits[end - count : end].mean()) for end, count in zip(ends, codes_per_stage, strict=True)]


def _every(count: int, most: int) -> list[int]:
    """Return at most ``most`` of ``count`` indices, evenly spaced, from 0 on."""
    return list(range(0, count, -(-count // most)))


def _axis(axes: Axes, unit: str) -> None:
    axes.tick_params(labelsize=_TEXT, length=2, pad=2)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}{unit}"))
    axes.spines[:].set_visible(False)
