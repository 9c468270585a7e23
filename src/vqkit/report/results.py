"""Results of a comparison, as the folder that ``vqkit compare`` writes: ``results.json`` plus audio files or images.

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

A comparison of images says ``"modality": "image"`` (``"audio"``, or nothing, is the above), and these fields differ:

::

    {"modality": "image",
     "data": {"name": str, "images": {"train": int, "test": int}, "size": [height, width] (pixels), ...any settings},
     "images": [{"name": str (unique), "group": str, "width": int, "height": int, "original": path}]        in the place of clips
     "systems": [{...,
       "bits_per_image": number, "bpp": measure, "entropy_bpp": measure | null      in the place of kbps and entropy_kbps
       "rate_curve": [{"stages": int, "bpp": number, "metrics": {metric: number}}] | null
       "usage": as above; "pieces" are the segments of product quantizers, stage by stage
       "reconstructions": {image name: path} | null}]}

``bpp`` are bits a pixel, measured on the written bytes; ``bits_per_image`` those of the codes at fixed length. Images are files that Pillow
reads, PNG as a rule, of 8 bits a channel, gray or RGB without transparency; a reconstruction has the size of its original.

A comparison of videos says ``"modality": "video"``; clips stand in the place of images as one picture of all frames side by side:

::

    {"modality": "video",
     "data": {"name": str, "videos": {"train": int, "test": int}, "size": [frames, height, width], ...any settings},
     "videos": [{"name": str (unique), "group": str, "frames": int, "width": int, "height": int (of one frame),
                 "frame_rate": number (of the player), "original": path}]
     "systems": [{..., "bits_per_clip": number in the place of bits_per_image, the rest as of images}]}

Paths are relative to the folder and stay inside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from vqkit.report.clips import AudioData, Clip
from vqkit.report.films import VideoData
from vqkit.report.modality import Modality, parse_modality
from vqkit.report.node import Node
from vqkit.report.pictures import ImageData, Picture
from vqkit.report.systems import System, parse_system

__all__ = ["Protocol", "Results", "load_results", "parse_protocols"]

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Protocol:
    """Protocol of a metric, which says how it is measured; ``parameters`` holds its further fields."""

    name: str
    unit: str
    better: Better
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A whole comparison; the fields are described at the top of this module. ``examples`` are its clips, or its images."""

    modality: Modality
    title: str
    command: str
    created: str
    commit: str | None
    versions: dict[str, str]
    backbone: dict[str, Any]
    data: AudioData | ImageData | VideoData
    seeds: tuple[int, ...]
    budget: dict[str, Any]
    protocols: dict[str, Protocol]
    examples: tuple[Clip | Picture, ...]
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
    modality = parse_modality(root)
    return Results(
        modality=modality,
        title=root.get("title").text(),
        command=root.get("command").text(),
        created=root.get("created").text(),
        commit=_optional_text(root.optional("commit")),
        versions={key: version.text() for key, version in root.get("versions").members().items()},
        backbone=_backbone(root.get("backbone")),
        data=modality.parse_data(root.get("data")),
        seeds=tuple(seed.integer() for seed in root.get("budget").get("seeds").items()),
        budget=root.get("budget").further("seeds"),
        protocols=parse_protocols(root.get("protocols")),
        examples=tuple(modality.parse_example(example) for example in _unique(root.get(modality.examples_key))),
        systems=tuple(parse_system(system, modality) for system in _unique(root.get("systems"))),
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
        parameters=node.further("name", "unit", "better", "description"),
    )


def _optional_text(node: Node | None) -> str | None:
    return None if node is None else node.text()


def _backbone(node: Node) -> dict[str, Any]:
    node.get("name").text()
    return dict(node.value)


def _unique(node: Node) -> list[Node]:
    seen: set[str] = set()
    for item in node.items():
        name = item.get("name")
        if name.text() in seen:
            raise name.error("a name that no earlier element has")
        seen.add(name.text())
    return node.items()
