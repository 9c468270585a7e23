"""Reports of a comparison: Markdown, plots, a table in the terminal, and one self-contained web page.

    results.json ─ load_results ─┬─ markdown_table ─ report.md
    + audio, or images           ├─ write_plots ──── plots/*.png
                                 ├─ results_table ── terminal
                                 └─ write_report ─── report.html (all of it, with players or pictures)

Where ``vqkit demo`` has put ``rate_quality.json`` beside it, reports begin with the codec in it.
The formats are described in :mod:`vqkit.report.results` and :mod:`vqkit.report.rate_results`.
"""

from vqkit.types import need

for _package in ("matplotlib", "PIL", "rich", "jinja2"):
    need(_package, "eval")

from vqkit.report.html import write_report  # noqa: E402
from vqkit.report.markdown import markdown_table  # noqa: E402
from vqkit.report.rate_results import RateResults, load_rate_results  # noqa: E402
from vqkit.report.results import Results, load_results, parse_protocols  # noqa: E402
from vqkit.report.systems import System, parse_system  # noqa: E402
from vqkit.report.terminal import LiveRow, results_table  # noqa: E402

__all__ = [
    "LiveRow",
    "RateResults",
    "Results",
    "System",
    "load_rate_results",
    "load_results",
    "markdown_table",
    "parse_protocols",
    "parse_system",
    "results_table",
    "write_report",
]
