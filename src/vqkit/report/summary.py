"""The conditions of a comparison in plain words: data, budget, seeds, origin; the same in every output."""

import math
import re
from collections.abc import Mapping
from typing import Any

from vqkit.report.modality import Modality
from vqkit.report.results import Results

__all__ = ["how_to_read", "protocol_text", "settings_text", "summary_text"]


def how_to_read(modality: Modality) -> tuple[str, ...]:
    """Return how to read the tables, one paragraph each."""
    return (
        "Rows are grouped by rate. Compare only within a group: more bits give better quality with any quantizer.",
        "Numbers are means over the seeds, ± their spread. The best mean of a column within its group is bold. "
        "≈ marks a value whose ± range overlaps the best one's: these seeds do not separate the two.",
        f"↑ means higher is better, ↓ lower is better. {modality.rate_note}",
        "Usage is the share of codes that the test set chose at least once. ECU is perplexity divided by codebook size: "
        "100 % means that all codes are used equally often. Both are of the first seed"
        + (
            ", and pooled; by segment, each segment's own use of its codebook is averaged."
            if modality.segments
            else "."
        ),
        "Time is training time relative to the fastest system of the whole comparison.",
    )


def summary_text(results: Results) -> str:
    """Return one paragraph about the conditions.

    Args:
        results: the comparison.

    Returns:
        Plain text, not yet escaped for any format.
    """
    data, count, seeds = results.data, len(results.systems), results.seeds
    settings = settings_text({key: value for key, value in results.backbone.items() if key != "name"})
    backbone = f"{results.backbone['name']} ({settings})" if settings else str(results.backbone["name"])
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(map(str, seeds))})"
    fewer = any(len(system.rate.values) < len(seeds) for system in results.systems)
    sentences = [
        f"{_count(count, 'system')} on one backbone: {backbone}.",
        f"Data: {data.description}; trained on {data.trained_on}, tested on {data.tested_on}.",
        f"Each system ran with {of_seeds}{', some with fewer' if fewer else ''}.",
    ]
    sentences += [
        f"{title}: {text}."
        for title, text in (("Budget", settings_text(results.budget)), ("Data settings", settings_text(data.settings)))
        if text
    ]
    return " ".join(sentences)


def protocol_text(parameters: Mapping[str, Any]) -> str:
    """Return the parameters of a metric as ``name = value`` pairs; empty if it has none."""
    return ", ".join(f"{key} = {_value(value)}" for key, value in parameters.items())


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in words.

    Args:
        settings: names and JSON values.

    Returns:
        One line; what is null or empty is left out, and digests are cut.

    Example:
        >>> settings_text({"fit_vectors": 20000, "steps": 400, "ema": True})
        'fit vectors 20,000, steps 400, ema true'
    """
    told = {key: value for key, value in settings.items() if value not in (None, [], {})}
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in told.items())


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{32,}", value):
        return value[:12] + "…"
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
