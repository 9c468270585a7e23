"""Results of a comparison, as the folder that ``vqkit compare`` writes: ``results.json`` plus audio files.

The JSON is the contract between who measures and who reports. Fields not listed are ignored; "| null" ones may also be absent.
A measure is ``{"mean": number, "std": number, "values": [one number per seed]}``; null stands where nothing could be measured.

::

    {"title": str, "command": str (the exact command line), "created": str (ISO 8601 time), "commit": str | null,
     "versions": {"vqkit": str, "torch": str, ...},
     "backbone": {"name": str, ...any settings},
     "data": {"name": str, "train_seconds": number, "test_seconds": number, "clips": {"train": int, "test": int}, ...any settings},
     "budget": {"seeds": [int, ...], ...any settings, e.g. "fit_vectors", "steps"},
     "protocols": {metric: {"name": str, "unit": str, "better": "higher" | "lower" | null, "description": str, ...parameters}},
     "clips": [{"name": str, "group": str, "sample_rate": int (Hz), "seconds": number, "original": path}],
     "systems": [{
       "name": str (unique), "expression": str, "codebook_floats": int, "parameters": int, "bits_per_token": number,
       "kbps": measure, "entropy_kbps": measure | null,
       "metrics": {metric: measure},
       "usage": {"pooled": use, "stages": [use, ...], "pieces": [use, ...]}     first seed; fractions in 0..1,
         with use = {"usage", "entropy_bits", "perplexity", "ecu", "ecu_bridle", "codebook_size", "tokens"}
       "train_time_ratio": measure                                              relative to the fastest system
       "loss_curve": {"steps": [...], "loss": [...]} | null,
       "residual_energy": [number, ...] | null                                  share left after stage 0..S; the first is 1
       "pca": {"embeddings": [[x, y], ...], "codes": [{"stage": int, "points": [[x, y], ...], "used": [bool, ...]}]} | null,
       "rate_curve": [{"stages": int, "kbps": number, "metrics": {metric: number}}] | null    decoding the first stages only
       "reconstructions": {clip name: path} | null}]}

Paths are relative to the folder and stay inside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from vqkit.report.node import Node
from vqkit.report.systems import System, parse_system

__all__ = ["Clip", "Data", "Protocol", "Results", "load_results", "parse_protocols"]

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Protocol:
    """How a metric is measured; ``parameters`` holds its further fields."""

    name: str
    unit: str
    better: Better
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Data:
    """What was trained and tested on; ``settings`` holds the further fields."""

    name: str
    train_seconds: float
    test_seconds: float
    train_clips: int
    test_clips: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Clip:
    """A test clip to listen to; ``sample_rate`` in Hz, ``original`` relative to the folder."""

    name: str
    group: str
    sample_rate: int
    seconds: float
    original: str


@dataclass(frozen=True)
class Results:
    """A whole comparison; the fields are described at the top of this module."""

    title: str
    command: str
    created: str
    commit: str | None
    versions: dict[str, str]
    backbone: dict[str, Any]
    data: Data
    seeds: tuple[int, ...]
    budget: dict[str, Any]
    protocols: dict[str, Protocol]
    clips: tuple[Clip, ...]
    systems: tuple[System, ...]


def load_results(folder: Path | str) -> Results:
    """Read and check the results of a comparison.

    Args:
        folder: the folder that holds ``results.json``.

    Returns:
        The results.

    Raises:
        FileNotFoundError: there is no ``results.json``.
        ValueError: it is no JSON, or a field is missing or wrong; the message names the field.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "results.json").write_text('{"title": 3}')
        >>> load_results(folder)
        Traceback (most recent call last):
        ValueError: results.json: field title is 3, must be a string
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give the folder that vqkit compare wrote")
    try:
        root = Node(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    return Results(
        title=root.get("title").text(),
        command=root.get("command").text(),
        created=root.get("created").text(),
        commit=_optional_text(root.optional("commit")),
        versions={key: version.text() for key, version in root.get("versions").members().items()},
        backbone=_backbone(root.get("backbone")),
        data=_data(root.get("data")),
        seeds=tuple(seed.integer() for seed in root.get("budget").get("seeds").items()),
        budget=_further(root.get("budget"), "seeds"),
        protocols=parse_protocols(root.get("protocols")),
        clips=tuple(_clip(clip) for clip in _unique(root.get("clips"))),
        systems=tuple(parse_system(system) for system in _unique(root.get("systems"))),
    )


def parse_protocols(protocols: dict[str, Any] | Node) -> dict[str, Protocol]:
    """Read ``protocols``: what each metric is, in the order in which tables show them.

    Args:
        protocols: the JSON object, one member per metric.

    Returns:
        The protocols by metric.

    Raises:
        ValueError: a field is missing or not what it must be.

    Example:
        >>> fields = {"name": "SI-SDR", "unit": "dB", "better": "higher", "description": "…", "zero_mean": True}
        >>> parse_protocols({"si_sdr": fields})["si_sdr"].parameters
        {'zero_mean': True}
    """
    node = protocols if isinstance(protocols, Node) else Node(protocols, source="protocols")
    return {key: _protocol(protocol) for key, protocol in node.members().items()}


def _protocol(node: Node) -> Protocol:
    better = node.get("better")
    if better.value not in ("higher", "lower", None):
        raise better.error('"higher", "lower" or null')
    return Protocol(
        name=node.get("name").text(),
        unit=node.get("unit").text(),
        better=cast(Better, better.value),
        description=node.get("description").text(),
        parameters=_further(node, "name", "unit", "better", "description"),
    )


def _optional_text(node: Node | None) -> str | None:
    return None if node is None else node.text()


def _backbone(node: Node) -> dict[str, Any]:
    node.get("name").text()
    return dict(node.value)


def _data(node: Node) -> Data:
    clips = node.get("clips")
    return Data(
        name=node.get("name").text(),
        train_seconds=node.get("train_seconds").number(least=0),
        test_seconds=node.get("test_seconds").number(least=0),
        train_clips=clips.get("train").integer(),
        test_clips=clips.get("test").integer(),
        settings=_further(node, "name", "train_seconds", "test_seconds", "clips"),
    )


def _clip(node: Node) -> Clip:
    return Clip(
        name=node.get("name").text(),
        group=node.get("group").text(),
        sample_rate=node.get("sample_rate").integer(least=1),
        seconds=node.get("seconds").number(least=0),
        original=node.get("original").inner_path(),
    )


def _further(node: Node, *known: str) -> dict[str, Any]:
    return {key: value for key, value in node.value.items() if key not in known}


def _unique(node: Node) -> list[Node]:
    seen: set[str] = set()
    for item in node.items():
        name = item.get("name")
        if name.text() in seen:
            raise name.error("a name that no earlier element has")
        seen.add(name.text())
    return node.items()
