"""An examination as one web page that needs nothing else: findings, then bars of bits, energies, use and dependence."""

from pathlib import Path
from typing import TYPE_CHECKING

from vqkit.files import write_whole
from vqkit.types import need

if TYPE_CHECKING:
    from vqkit.diagnosis.examination import Examination

__all__ = ["write_page"]

_MOST_ROWS = 64


def write_page(found: "Examination", path: str | Path, title: str = "Codebook doctor") -> Path:
    """Write an examination as HTML.

    Args:
        found: What `doctor` returned.
        path: Where to write.
        title: Heading of the page.

    Returns:
        The path.

    Raises:
        ImportError: jinja2, which torch brings, is not installed.
    """
    jinja2 = need("jinja2", "eval")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vqkit.diagnosis", "page"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    measures = found.measures
    text = environment.get_template("doctor.html").render(
        title=title,
        found=found,
        measures=measures,
        positions=measures.positions[:_MOST_ROWS],
        more_positions=max(0, len(measures.positions) - _MOST_ROWS),
        books=measures.books[:_MOST_ROWS],
        widest=max(stage.bits for stage in measures.stages) or 1.0,
        energies=max(1.0, *(stage.energy for stage in measures.stages)),
        dependence=max((value or 0.0 for row in measures.dependence for value in row), default=0.0) or 1.0,
        as_it_is=measures.error,
        most_tried=max([measures.error, *(trial.error for trial in found.trials)]) or 1.0,
    )
    return write_whole(path, text.encode())
