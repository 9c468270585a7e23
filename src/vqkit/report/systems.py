"""Systems of a comparison: expression, cost, rates and metrics of each; read from JSON and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqkit.report.modality import AUDIO, Modality, RateField
from vqkit.report.node import Node
from vqkit.types import Float

__all__ = ["CodebookUse", "Measure", "PcaStage", "RatePoint", "System", "Usage", "parse_system"]


@dataclass(frozen=True)
class Measure:
    """A quantity over the seeds: ``mean``, ``std`` (spread) and one entry of ``values`` per seed; NaN where it could not be measured."""

    mean: float
    std: float
    values: tuple[float, ...]

    @staticmethod
    def exact(value: float) -> "Measure":
        """Return a quantity that does not depend on the seed."""
        return Measure(value, 0.0, (value,))


@dataclass(frozen=True)
class CodebookUse:
    """Usage of a codebook's codes over the full test set: fractions in 0..1, ``perplexity`` in codes."""

    usage: float
    entropy_bits: float
    perplexity: float
    ecu: float
    ecu_bridle: float
    codebook_size: int
    tokens: int


@dataclass(frozen=True)
class Usage:
    """Use of all codebooks of a system: pooled, stage by stage, and piece by piece; values of the first seed."""

    pooled: CodebookUse
    stages: tuple[CodebookUse, ...]
    pieces: tuple[CodebookUse, ...]

    @property
    def segments(self) -> tuple[tuple[CodebookUse, ...], ...]:
        """Usage of the sub-vectors of each stage; empty where no stage has more than one, since its sub-vector is then the stage."""
        stages = max(1, len(self.stages))
        run = len(self.pieces) // stages
        if run < 2 or run * stages != len(self.pieces):
            return ()
        return tuple(self.pieces[i * run : (i + 1) * run] for i in range(stages))


@dataclass(frozen=True)
class PcaStage:
    """The code vectors of one stage on the two principal axes of the embeddings; ``used`` is False for codes never chosen."""

    stage: int
    points: Float[np.ndarray, "codes 2"]
    used: tuple[bool, ...]


@dataclass(frozen=True)
class RatePoint:
    """Quality when only the first ``stages`` are decoded; ``rate`` in the unit of the measured rate."""

    stages: int
    rate: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class System:
    """System of a comparison, one row of its tables; the fields are described in :mod:`vqkit.report.results`.

    ``rate`` is the measured one, for example ``kbps``; ``rates`` holds all, by their fields, without those that are null.
    """

    name: str
    expression: str
    codebook_floats: int
    parameters: int
    bits_per_token: float
    rate: Measure
    rates: dict[str, Measure]
    metrics: dict[str, Measure]
    usage: Usage
    train_time_ratio: Measure
    loss_steps: tuple[float, ...]
    losses: tuple[float, ...]
    residual_energy: tuple[float, ...]
    embeddings: Float[np.ndarray, "points 2"] | None
    pca_stages: tuple[PcaStage, ...]
    rate_curve: tuple[RatePoint, ...]
    reconstructions: dict[str, str]


def parse_system(system: Mapping[str, Any] | Node, modality: Modality = AUDIO) -> System:
    """Read one element of ``systems``, for example as soon as its run has finished.

    Args:
        system: the JSON object of one system.
        modality: modality of the comparison; it names the fields of the rates.

    Returns:
        The system; optional parts that are null come back empty.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.

    Example:
        >>> parse_system({"name": "RVQ", "expression": 7})
        Traceback (most recent call last):
        ValueError: system: field expression is 7, must be a string
    """
    node = system if isinstance(system, Node) else Node(dict(system), source="system")
    name, expression = node.get("name").text(), node.get("expression").text()
    curve, energy, pca = node.optional("loss_curve"), node.optional("residual_energy"), node.optional("pca")
    points, files = node.optional("rate_curve"), node.optional("reconstructions")
    rates = {field.key: rate for field in modality.rates if (rate := _rate(node, field)) is not None}
    steps, losses = _loss_curve(curve) if curve else ((), ())
    return System(
        name=name,
        expression=expression,
        codebook_floats=node.get("codebook_floats").integer(),
        parameters=node.get("parameters").integer(),
        bits_per_token=node.get("bits_per_token").number(least=0),
        rate=rates[modality.rate.key],
        rates=rates,
        metrics={key: _measure(metric) for key, metric in node.get("metrics").members().items()},
        usage=_usage(node.get("usage")),
        train_time_ratio=_measure(node.get("train_time_ratio")),
        loss_steps=steps,
        losses=losses,
        residual_energy=tuple(share.measured() for share in energy.items()) if energy else (),
        embeddings=_points(pca.get("embeddings")) if pca else None,
        pca_stages=tuple(_pca_stage(stage) for stage in pca.get("codes").items()) if pca else (),
        rate_curve=tuple(_rate_point(point, modality) for point in points.items()) if points else (),
        reconstructions={name: path.inner_path() for name, path in files.members().items()} if files else {},
    )


def _measure(node: Node) -> Measure:
    values = tuple(value.measured() for value in node.get("values").items())
    return Measure(node.get("mean").measured(), node.get("std").measured(), values)


def _rate(node: Node, field: RateField) -> Measure | None:
    if field.kind == "nominal":
        return Measure.exact(node.get(field.key).number(least=0))
    if field.kind == "measured":
        return _measure(node.get(field.key))
    bound = node.optional(field.key)
    return _measure(bound) if bound else None


def _usage(node: Node) -> Usage:
    stages, pieces = node.optional("stages"), node.optional("pieces")
    return Usage(
        pooled=_codebook_use(node.get("pooled")),
        stages=tuple(_codebook_use(stage) for stage in stages.items()) if stages else (),
        pieces=tuple(_codebook_use(piece) for piece in pieces.items()) if pieces else (),
    )


def _codebook_use(node: Node) -> CodebookUse:
    return CodebookUse(
        usage=node.get("usage").measured(),
        entropy_bits=node.get("entropy_bits").measured(),
        perplexity=node.get("perplexity").measured(),
        ecu=node.get("ecu").measured(),
        ecu_bridle=node.get("ecu_bridle").measured(),
        codebook_size=node.get("codebook_size").integer(),
        tokens=node.get("tokens").integer(),
    )


def _loss_curve(node: Node) -> tuple[tuple[float, ...], tuple[float, ...]]:
    steps = tuple(step.number() for step in node.get("steps").items())
    losses = tuple(loss.measured() for loss in node.get("loss").items())
    if len(steps) != len(losses):
        raise node.get("loss").error(f"a list as long as steps ({len(steps)})")
    return steps, losses


def _points(node: Node) -> Float[np.ndarray, "points 2"]:
    pairs = [pair.items() for pair in node.items()]
    if any(len(pair) != 2 for pair in pairs):
        raise node.error("a list of pairs [x, y]")
    return np.array([[value.number() for value in pair] for pair in pairs], dtype=np.float64).reshape(-1, 2)


def _pca_stage(node: Node) -> PcaStage:
    points = _points(node.get("points"))
    used = tuple(flag.flag() for flag in node.get("used").items())
    if len(used) != len(points):
        raise node.get("used").error(f"a list as long as points ({len(points)})")
    return PcaStage(node.get("stage").integer(), points, used)


def _rate_point(node: Node, modality: Modality) -> RatePoint:
    metrics = {key: value.measured() for key, value in node.get("metrics").members().items()}
    return RatePoint(node.get("stages").integer(), node.get(modality.rate.key).number(least=0), metrics)
