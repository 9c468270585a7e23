"""Figures of a comparison, written as PNG files under ``plots/``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from vqkit.files import write_whole
from vqkit.report.codebooks import pca_figure, usage_figure
from vqkit.report.curves import loss_figure, residual_figure
from vqkit.report.figures import png_bytes
from vqkit.report.quality import quality_figure
from vqkit.report.results import Results

__all__ = ["PLOTS", "Plot", "write_plots"]


@dataclass(frozen=True)
class Plot:
    """A figure and its words.

    Attributes:
        name: name of the file, without ``.png``.
        title: a heading.
        caption: description of the figure.
        figure: draws it; None if the results hold nothing to draw.
    """

    name: str
    title: str
    caption: str
    figure: Callable[[Results], Figure | None]


PLOTS = (
    Plot(
        "quality",
        "Quality against measured rate",
        "One panel per metric; error bars are the spread over seeds. Where a system can be decoded from its first "
        "stages, a thin line shows the quality at each number of stages. The same numbers are in the tables.",
        quality_figure,
    ),
    Plot(
        "usage",
        "Use of the codebooks, stage by stage",
        "Bars give usage (share of codes chosen at least once) and ECU (perplexity divided by codebook size). "
        "Lines separate the rate groups.",
        usage_figure,
    ),
    Plot(
        "pca",
        "Embeddings and code vectors",
        "Projection on the first two principal axes of the embeddings, one panel per system. "
        "Crosses are codes that the test set never chose; “outside” counts points beyond the frame.",
        pca_figure,
    ),
    Plot(
        "residual_energy",
        "Energy left after each stage",
        "Share of the embeddings' energy that the stages so far do not explain, logarithmic. A flat piece is a stage that adds little.",
        residual_figure,
    ),
    Plot("loss", "Training loss", "Loss over training steps, one panel per rate group.", loss_figure),
)


def write_plots(results: Results, folder: Path | str) -> list[Path]:
    """Draw all figures for which the results hold something.

    Args:
        results: the comparison.
        folder: the PNG files are written to its ``plots`` folder.

    Returns:
        The files written, in the order of ``PLOTS``.
    """
    paths = []
    for plot in PLOTS:
        figure = plot.figure(results)
        if figure is not None:
            paths.append(write_whole(Path(folder) / "plots" / f"{plot.name}.png", png_bytes(figure)))
    return paths
