"""Report of a comparison as one self-contained web page: plots, sounds or images, style and script are inside."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vqkit.files import write_whole
from vqkit.report.codec_section import CodecSection, codec_section, write_rate_figures
from vqkit.report.examples import ExampleSection, example_section
from vqkit.report.listening import data_uri
from vqkit.report.markdown import escape, markdown_table
from vqkit.report.palette import system_looks
from vqkit.report.plots import PLOTS, Plot, write_plots
from vqkit.report.rate_markdown import rate_markdown
from vqkit.report.rate_results import load_rate_results
from vqkit.report.rate_summary import bytes_text
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results, load_results
from vqkit.report.summary import how_to_read, protocol_text, summary_text
from vqkit.report.systems import CodebookUse, System, Usage
from vqkit.report.table import Cell, group_cells, table_columns
from vqkit.terminal import printable

__all__ = ["write_report"]


@dataclass(frozen=True)
class _Table:
    heading: str
    rows: list[tuple[System, list[Cell]]]


def write_report(folder: Path | str) -> Path:
    """Write ``report.html``, ``report.md`` and ``plots/*.png`` next to ``results.json``.

    Args:
        folder: what ``vqkit compare`` wrote: ``results.json`` and audio files or images. Where ``vqkit demo`` has put
            ``rate_quality.json`` beside it, the report begins with the codec.

    Returns:
        The path of ``report.html``: one file without any reference to another or to the network.

    Raises:
        FileNotFoundError: ``results.json``, an audio file or an image is missing.
        ValueError: a field of a JSON file is missing or wrong, or an audio file or an image is not readable.

    Example:
        >>> write_report("runs/compare")  # doctest: +SKIP
    """
    folder = Path(folder)
    results, rates = load_results(folder), load_rate_results(folder)
    examples = example_section(results, folder)  # first: it finds what is missing before anything is written
    paths = {path.stem: path for path in write_plots(results, folder)}
    plots = [(plot, paths[plot.name]) for plot in PLOTS if plot.name in paths]
    pictures = "\n\n".join(
        f"## {plot.title}\n\n{plot.caption}\n\n![{plot.title}](plots/{path.name})" for plot, path in plots
    )
    section = None
    text = f"# {escape(results.title)}\n\n{markdown_table(results)}\n{pictures}\n"
    if rates is not None:
        figures = write_rate_figures(rates, folder)
        section = codec_section(rates, folder, figures)
        text = rate_markdown(rates, {kind: f"plots/{path.name}" for kind, path in figures.items()}) + "\n" + text
    write_whole(folder / "report.md", text.encode())
    embedded = [(plot, data_uri(path.read_bytes(), "image/png")) for plot, path in plots]
    return write_whole(folder / "report.html", _page(results, section, examples, embedded).encode())


def _page(
    results: Results, section: CodecSection | None, examples: ExampleSection | None, plots: list[tuple[Plot, str]]
) -> str:
    environment = Environment(
        loader=PackageLoader("vqkit.report", "page"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = table_columns(results.protocols, results.systems, results.modality)
    groups = rate_groups(results.systems)
    tables = [
        _Table(group.heading, list(zip(group.members, group_cells(columns, group.members), strict=True)))
        for group in groups
    ]
    return environment.get_template("report.html").render(
        results=results,
        codec=section,
        summary=summary_text(results),
        how_to_read=how_to_read(results.modality),
        columns=columns,
        tables=tables,
        plots=plots,
        examples=examples,
        piece_uses=_segment_uses if results.modality.segments else _piece_uses,
        looks=system_looks(system.name for system in results.systems),
        protocol_text=protocol_text,
        bytes_text=bytes_text,
        digits=lambda value, decimals: "–" if math.isnan(value) else f"{value:.{decimals}f}",
    )


def _harmless(value: Any) -> Any:
    """Text of a result as a page may show it: marks that turn the direction of writing are spelt out."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "\n".join(map(printable, value.split("\n")))


def _piece_uses(usage: Usage) -> list[tuple[str, CodebookUse]]:
    return [(f"piece {i}", use) for i, use in enumerate(usage.pieces, 1)] if len(usage.pieces) > 1 else []


def _segment_uses(usage: Usage) -> list[tuple[str, CodebookUse]]:
    several = len(usage.segments) > 1
    return [
        (f"stage {i}, segment {j}" if several else f"segment {j}", use)
        for i, segments in enumerate(usage.segments, 1)
        for j, use in enumerate(segments, 1)
    ]
