"""Runs (one a seed) → the rows of ``results.json``."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from vqkit.quantize import Quantizer

__all__ = ["measure", "row"]


def measure(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation over seeds.

    Example:
        >>> measure([1.0, 3.0])
        {'mean': 2.0, 'std': 1.4142135623730951, 'values': [1.0, 3.0]}
    """
    values = [float(value) for value in values]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": spread, "values": values}


def row(
    name: str, expression: str, quantizer: Quantizer, runs: Sequence[dict[str, Any]], fastest: float
) -> dict[str, Any]:
    """Build the row of one system.

    Args:
        name: name of the row.
        expression: expression of the quantizer.
        quantizer: an instance, for its rate and size.
        runs: records of the runs, one a seed; the first carries the details.
        fastest: mean training seconds of the fastest system so far.
    """
    first = runs[0]
    training = first["training"]
    return {
        "name": name,
        "expression": expression,
        "codebook_floats": quantizer.codebook_numel,
        "parameters": sum(p.numel() for p in quantizer.parameters()),
        "bits_per_token": quantizer.bits_per_vector,
        **first.get("facts", {}),
        **{key: _unless_none([run["rates"][key] for run in runs]) for key in first["rates"]},
        "metrics": {key: _measured([run["metrics"][key] for run in runs]) for key in first["metrics"]},
        "usage": first["usage"],
        "train_time_ratio": measure([run["training"]["seconds"] / fastest for run in runs]),
        "loss_curve": {"steps": training["steps"], "loss": training["loss"]} if training["steps"] else None,
        "residual_energy": first["residual_energy"],
        "pca": first["pca"],
        "rate_curve": first["rate_curve"],
        "reconstructions": first["reconstructions"],
    }


def _unless_none(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    return measure(known) if len(known) == len(values) else None


def _measured(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if not all(map(math.isfinite, known)):
        raise ValueError(f"a metric came out as {values}: the run diverged")
    if len(known) < len(values):  # too few test clips for this metric
        return {"mean": None, "std": None, "values": list(values)}
    return measure(known)
