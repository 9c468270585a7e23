"""A codec at rates as the first part of ``report.md``."""

from collections.abc import Mapping

from vqkit.report.markdown import code_block, escape
from vqkit.report.rate_results import RateResults
from vqkit.report.rate_summary import HOW_TO_READ_RATES, codec_text, sounds_text
from vqkit.report.rate_table import protocol_list, rate_table
from vqkit.report.results import Protocol

__all__ = ["merged_protocols", "rate_markdown"]


def rate_markdown(results: RateResults, figures: Mapping[str, str]) -> str:
    """Return tables, figures, protocols and conditions.

    Args:
        results: results of the run.
        figures: path of the figure of each kind of sound, relative to the report.

    Returns:
        Markdown.
    """
    parts = [f"# {escape(results.title)}", escape(codec_text(results))]
    if results.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in results.notes))
    for kind in results.kinds:
        parts += [f"## {escape(kind.capitalize())}", f"{sounds_text(results, kind)}."]
        parts.append(rate_table(results.of(kind), results.protocols[kind]))
        if kind in figures:
            parts.append(f"![{escape(kind)}: quality against measured rate]({figures[kind]})")
    parts.append("## How to read it\n\n" + "\n".join(f"- {escape(line)}" for line in HOW_TO_READ_RATES))
    parts.append("## Protocols\n\n" + protocol_list(merged_protocols(results)))
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    origin = f"Created {results.created}, commit {results.commit or 'unknown'}, {versions}."
    parts += ["## Conditions", escape(origin), code_block(results.command)]
    return "\n\n".join(parts) + "\n"


def merged_protocols(results: RateResults) -> dict[str, Protocol]:
    """Return the protocols of all kinds; one that differs between kinds stays twice."""
    found = [protocol for kind in results.kinds for protocol in results.protocols[kind].values()]
    unique = {(one.name, str(one.parameters)): one for one in found}
    return {" ".join(key): one for key, one in unique.items()}
