"""A codec at rates on sounds to hear, as ``vqkit demo`` writes it: ``rate_quality.json`` beside ``results.json``, with audio and files.

The JSON is the contract between who measures and who reports. Fields not listed are ignored; "| null" ones may also be absent.

::

    {"title": str, "command": str, "created": str (ISO 8601 time), "commit": str | null, "versions": {"vqkit": str, ...},
     "codec": {"model": str, "parameters": int, "sample_rate": int (Hz), "weights": str (SHA-256), "prior": str | null},
     "protocols": {kind: {metric: {"name": str, "unit": str, "better": "higher" | "lower" | null, "description": str, ...parameters}}},
     "notes": [str, ...]                                                    what was left out, and why
     "rows": [{"kind": str, "system": str, "family": str, "asked_kbps": number, "kbps": number (packets), "file_kbps": number,
               "sounds": int, "metrics": {metric: {"mean": number, "low": number, "high": number, "count": int}}}],
     "sounds": [{"name": str (unique), "group": kind, "sample_rate": int (Hz), "seconds": number, "original": path}],
     "values": [{"sound": str, "system": str, "packet_bytes": int, "file_bytes": int, "audio": path, "vqk": path | null,
                 "values": {metric: number | null}}]}

Paths are relative to the folder and stay inside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqkit.report.clips import Clip, parse_clip
from vqkit.report.node import Node
from vqkit.report.rate_rows import Interval, RateRow
from vqkit.report.results import Protocol, parse_protocols

__all__ = ["CodedSound", "RateResults", "load_rate_results"]

_FILE = "rate_quality.json"


@dataclass(frozen=True)
class CodedSound:
    """Sound coded by a system; ``audio`` and ``vqk`` relative to the folder, ``vqk`` None where no such file was written."""

    sound: str
    system: str
    packet_bytes: int
    file_bytes: int
    audio: str
    vqk: str | None


@dataclass(frozen=True)
class RateResults:
    """A whole run; the fields are described at the top of this module. ``coded`` holds ``values`` by sound and system."""

    title: str
    command: str
    created: str
    commit: str | None
    versions: dict[str, str]
    codec: dict[str, Any]
    protocols: dict[str, dict[str, Protocol]]
    notes: tuple[str, ...]
    rows: tuple[RateRow, ...]
    sounds: tuple[Clip, ...]
    coded: dict[tuple[str, str], CodedSound]

    @property
    def kinds(self) -> list[str]:
        """Kinds of sound, in order."""
        return list(dict.fromkeys(row.kind for row in self.rows))

    def of(self, kind: str) -> list[RateRow]:
        """The rows of a kind."""
        return [row for row in self.rows if row.kind == kind]


def load_rate_results(folder: Path | str) -> RateResults | None:
    """Read and check ``rate_quality.json``.

    Args:
        folder: folder of the run.

    Returns:
        The results; None where there is no such file.

    Raises:
        ValueError: it is no JSON, or a field is missing or wrong; the message names the field.

    Example:
        >>> import tempfile
        >>> load_rate_results(tempfile.mkdtemp()) is None
        True
    """
    path = Path(folder) / _FILE
    if not path.is_file():
        return None
    try:
        root = Node(json.loads(path.read_text(encoding="utf-8")), source=_FILE)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    codec, commit = root.get("codec"), root.optional("commit")
    codec.get("model").text(), codec.get("weights").text()
    codec.get("parameters").integer(), codec.get("sample_rate").integer(least=1)
    coded = [_coded(value) for value in root.get("values").items()]
    return RateResults(
        title=root.get("title").text(),
        command=root.get("command").text(),
        created=root.get("created").text(),
        commit=commit.text() if commit else None,
        versions={key: version.text() for key, version in root.get("versions").members().items()},
        codec=dict(codec.value),
        protocols={kind: parse_protocols(found) for kind, found in root.get("protocols").members().items()},
        notes=tuple(note.text() for note in root.get("notes").items()),
        rows=tuple(_row(row) for row in root.get("rows").items()),
        sounds=tuple(parse_clip(sound) for sound in root.get("sounds").items()),
        coded={(one.sound, one.system): one for one in coded},
    )


def _row(node: Node) -> RateRow:
    return RateRow(
        kind=node.get("kind").text(),
        system=node.get("system").text(),
        family=node.get("family").text(),
        asked_kbps=node.get("asked_kbps").number(least=0),
        kbps=node.get("kbps").number(least=0),
        file_kbps=node.get("file_kbps").number(least=0),
        sounds=node.get("sounds").integer(least=1),
        metrics={key: _interval(value) for key, value in node.get("metrics").members().items()},
    )


def _interval(node: Node) -> Interval:
    mean, low, high = (node.get(field).number() for field in ("mean", "low", "high"))
    return Interval(mean, low, high, node.get("count").integer(least=1))


def _coded(node: Node) -> CodedSound:
    vqk = node.optional("vqk")
    return CodedSound(
        sound=node.get("sound").text(),
        system=node.get("system").text(),
        packet_bytes=node.get("packet_bytes").integer(),
        file_bytes=node.get("file_bytes").integer(),
        audio=node.get("audio").inner_path(),
        vqk=vqk.inner_path() if vqk else None,
    )
