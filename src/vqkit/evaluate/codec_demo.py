"""A codec on a few sounds: real ``.vqk`` files at several rates, decoded, judged and kept to be heard, with Opus beside them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import vqkit
from vqkit.cache import write_json
from vqkit.code_digest import commit
from vqkit.data import fingerprint, sample_folder
from vqkit.data.unreadable import readable
from vqkit.evaluate.codecs import Opus, SavedCodec, System, load_codec, rate_in_use
from vqkit.evaluate.coded_parts import kept_or_judged, part_of, place_original, place_part
from vqkit.evaluate.excerpts import Sound, choose_excerpts, load_excerpt, source_clips
from vqkit.evaluate.listeners import KINDS, listeners, protocols_of
from vqkit.evaluate.rate_quality import Judged
from vqkit.evaluate.rate_rows import rate_rows

__all__ = ["CodecDemo", "Progress", "codec_demo"]

Progress = Callable[[str, str, int, int], None]
"""Called with the names of a sound and a system, and how many of how many were done before them."""


@dataclass(frozen=True)
class CodecDemo:
    """Settings of the codec demo: model, rates, and excerpts.

    Args:
        model: folder of a saved codec; None for the one that ships with vqkit.
        kbps: rates of the codec in kbit/s; those that it does not have are left out, with a note.
        opus_kbps: rates of Opus in kbit/s.
        source: data set of the clips, see `vqkit.data.list_clips`; those that ship with vqkit by default.
        split: split of the clips.
        excerpts: number of excerpts of speech, and as many of music.
        seconds: longest duration of an excerpt, in seconds.
    """

    model: Path | None = None
    kbps: tuple[float, ...] = (0.75, 1.5, 3, 6)
    opus_kbps: tuple[float, ...] = (6, 8, 12)
    source: Path | None = None
    split: str = "test"
    excerpts: int = 3
    seconds: float = 4.0


def codec_demo(what: CodecDemo, out: Path, command: str, progress: Progress = lambda *_: None) -> Path:
    """Code and judge what is missing, and write ``rate_quality.json`` with sounds and files beside it.

    Args:
        what: the codec, rates and sounds.
        out: folder; what is kept in ``out/runs`` is used again.
        command: the command line, for the record.
        progress: told of every step.

    Returns:
        The path of ``rate_quality.json``, whose format is described in `vqkit.report.rate_results`.

    Raises:
        ValueError: not a saved codec, no rate that it has, or no clips.
    """
    sample_rate, notes = load_codec(what.model).sample_rate, _not_installed()
    own = _own_systems(what, notes)
    systems: list[System] = [*own, *(Opus(kbps) for kbps in what.opus_kbps)]
    settings = {system.name: system.settings for system in systems}
    sounds, told = _sounds(what, sample_rate)
    judged: list[Judged] = []
    values: list[dict[str, Any]] = []
    for sound in sounds:
        for system in systems:
            progress(sound.name, system.name, len(judged), len(sounds) * len(systems))
            part = part_of(out, sound, system, settings[system.name])
            judged.append(kept_or_judged(part, sound, system))
            fields = {key: value for key, value in asdict(judged[-1]).items() if key != "wav"}
            values.append(fields | place_part(part, out, sound, system))
    path = out / "rate_quality.json"
    results = {
        "title": "The shipped codec" if what.model is None else f"The codec {what.model.resolve().name}",
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {"vqkit": vqkit.__version__, "torch": torch.__version__, "av": version("av")},
        "codec": {key: value for key, value in settings[own[0].name].items() if key != "kbps"},
        "data": told,
        "systems": [{"name": one.name, "family": one.family, **settings[one.name]} for one in systems],
        "protocols": {kind: _protocols(kind, sample_rate) for kind in KINDS},
        "notes": notes,
        "rows": [asdict(row) for row in rate_rows(judged, dict.fromkeys(KINDS, systems))],
        "sounds": [place_original(out, sound) for sound in sounds],
        "values": values,
    }
    write_json(path, results)
    return path


def _sounds(what: CodecDemo, sample_rate: int) -> tuple[list[Sound], dict[str, Any]]:
    """The excerpts, and what the record says about them."""
    source = what.source or sample_folder()
    sounds, told = [], {}
    for kind in KINDS:
        chosen = choose_excerpts(source_clips(source, what.split, kind), what.excerpts, what.seconds)
        read = partial(load_excerpt, kind=kind, sample_rate=sample_rate)
        loaded = list(readable(chosen, lambda part: part.clip.path, read))
        for part, sound in loaded:
            name = Path(part.clip.name).stem + (f" from {part.start:.3g} s" if part.start else "")
            sounds.append(replace(sound, name=name))
        told[kind] = {
            "source": str(what.source or "samples"),
            "split": what.split,
            "excerpts": len(loaded),
            "fingerprint": fingerprint(list({part.clip.name: part.clip for part, _ in loaded}.values())),
        }
    return sounds, told


def _own_systems(what: CodecDemo, notes: list[str]) -> list[SavedCodec]:
    """The codec at the rates that it has."""
    codec = load_codec(what.model)
    rates = codec.rates_kbps
    found: dict[float, SavedCodec] = {}
    for kbps in sorted(what.kbps):
        if kbps < rates[0]:
            notes.append(f"{kbps:g} kbps is left out: the lowest rate of this codec is {rates[0]:.3g} kbps.")
        elif (used := rate_in_use(codec, kbps)) in found:
            notes.append(f"{kbps:g} kbps is left out: this codec is at its {found[used].kbps:g} kbps there too.")
        else:
            found[used] = SavedCodec(what.model, kbps)
    if not found:
        raise ValueError(f"kbps must hold a rate from {rates[0]:.3g} up, got {', '.join(map(str, what.kbps))}")
    return list(found.values())


def _not_installed() -> list[str]:
    missing = [title for title, package in (("PESQ", "pesq"), ("STOI", "pystoi")) if find_spec(package) is None]
    if not missing:
        return []
    are = "is" if len(missing) == 1 else "are"
    return [
        f"{' and '.join(missing)} of speech {are} missing here: pip install 'vqkit[perceptual]' and run this again."
    ]


def _protocols(kind: str, sample_rate: int) -> dict[str, dict[str, Any]]:
    """Protocols in the form that `vqkit.report.parse_protocols` reads: parameters are further fields."""
    told = {}
    for key, value in protocols_of(listeners(kind, sample_rate, thorough=False)).items():
        described = {field: getattr(value, field) for field in ("name", "unit", "better", "description")}
        told[key] = described | dict(value.parameters)
    return told
