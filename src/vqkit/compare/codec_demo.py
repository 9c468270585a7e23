"""A codec on a few sounds: real ``.vqk`` files at several rates, decoded, judged and kept to be heard, with Opus beside them.

out/rate_quality.json     rows, values of every sound, protocols, origin; what `vqkit.report.load_rate_results` reads
out/codec/SOUND/          original.flac, and SYSTEM.flac and SYSTEM.vqk of every system
out/runs/coded-KEY/       each system on each sound, so that nothing is done twice
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import vqkit
from vqkit.compare.cache import key_of, read_json, source_digest, write_json
from vqkit.compare.codecs import Opus, SavedCodec, System, load_codec
from vqkit.compare.excerpts import Sound, choose_excerpts, load_excerpt, source_clips
from vqkit.compare.listeners import KINDS, listeners, protocols_of
from vqkit.compare.rate_quality import Judged, judge
from vqkit.compare.rate_rows import rate_rows
from vqkit.compare.runner import commit
from vqkit.data import fingerprint, sample_folder, write_audio
from vqkit.models.rates import stages_within
from vqkit.report.atomic import write_bytes

__all__ = ["CodecDemo", "Progress", "codec_demo"]

_DECIDING = (  # a change here codes and judges again
    "bitstream",
    "compare/codecs",
    "compare/listeners.py",
    "compare/rate_quality.py",
    "data",
    "metrics",
    "metrics/weights/vqkit_sounds.safetensors",
    "models",
    "nn",
    "quantize",
)

Progress = Callable[[str, str, int, int], None]
"""Called with the names of a sound and a system, and how many of how many are done before them."""


@dataclass(frozen=True)
class CodecDemo:
    """What is coded, and how.

    Args:
        model: folder of a saved codec; None for the one that ships with vqkit.
        kbps: its rates; those that it does not have are left out, with a note.
        opus_kbps: rates of Opus.
        source: of the clips, see `vqkit.data.list_clips`; those that ship with vqkit by default.
        split: of the clips.
        excerpts: of speech, and as many of music.
        seconds: of an excerpt at most.
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
        out: folder; what is in ``out/runs`` is used again.
        command: the command line, for the record.
        progress: told of every step.

    Returns:
        The path of ``rate_quality.json``.

    Raises:
        ValueError: not a saved codec, no rate that it has, or no clips.
    """
    codec, notes = load_codec(what.model), _not_installed()
    rate = codec.sample_rate
    own = _own_systems(what, notes)
    systems: list[System] = [*own, *(Opus(kbps) for kbps in what.opus_kbps)]
    settings = {system.name: system.settings for system in systems}
    source = what.source or sample_folder()
    sounds, told = [], {}
    for kind in KINDS:
        chosen = choose_excerpts(source_clips(source, what.split, kind), what.excerpts, what.seconds)
        sounds += [replace(load_excerpt(part, kind, rate), name=_label(part.clip.name, part.start)) for part in chosen]
        told[kind] = {
            "source": str(what.source or "samples"),
            "split": what.split,
            "excerpts": len(chosen),
            "fingerprint": fingerprint(list({part.clip.name: part.clip for part in chosen}.values())),
        }
    code, judged, values = source_digest(_DECIDING), [], []
    for number, sound in enumerate(sounds):
        folder = out / "codec" / _slug(sound.name)
        for index, system in enumerate(systems):
            progress(sound.name, system.name, number * len(systems) + index, len(sounds) * len(systems))
            part = out / "runs" / f"coded-{_key(sound, system, settings[system.name], code)}"
            judged.append(_judged(part, sound, system))
            values.append(asdict(judged[-1]) | _collect(part, folder, system.name, out))
            del values[-1]["wav"]
    path = out / "rate_quality.json"
    by_kind = {kind: systems for kind in KINDS}
    results = {
        "title": "The shipped codec" if what.model is None else f"The codec {what.model.name}",
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {"vqkit": vqkit.__version__, "torch": torch.__version__, "av": version("av")},
        "sample_rate": rate,
        "codec": {key: value for key, value in settings[own[0].name].items() if key != "kbps"},
        "data": told,
        "systems": [{"name": one.name, "family": one.family, **settings[one.name]} for one in systems],
        "protocols": {kind: _protocols(kind, rate) for kind in KINDS},
        "notes": notes,
        "rows": [asdict(row) for row in rate_rows(judged, by_kind)],
        "sounds": [_original(sound, out) for sound in sounds],
        "values": values,
    }
    write_json(path, results)
    return path


def _own_systems(what: CodecDemo, notes: list[str]) -> list[SavedCodec]:
    """The codec at the rates that it has."""
    rates = load_codec(what.model).rates_kbps
    found: dict[int, SavedCodec] = {}
    for kbps in sorted(what.kbps):
        if kbps < rates[0] * (1 - 1e-9):
            notes.append(f"{kbps:g} kbps is left out: the lowest rate of this codec is {rates[0]:.3g}.")
        elif (stages := stages_within(rates, kbps)) in found:
            notes.append(f"{kbps:g} kbps is left out: this codec has no stage between {found[stages].kbps:g} and that.")
        else:
            found[stages] = SavedCodec(what.model, kbps)
    if not found:
        raise ValueError(f"kbps must name a rate from {rates[0]:.3g} up, got {', '.join(map(str, what.kbps))}")
    return list(found.values())


def _not_installed() -> list[str]:
    missing = [title for title, package in (("PESQ", "pesq"), ("STOI", "pystoi")) if find_spec(package) is None]
    if not missing:
        return []
    are = "is" if len(missing) == 1 else "are"
    return [f"{' and '.join(missing)} {are} not measured: pip install 'vqkit[perceptual]' and run this again."]


def _label(name: str, start: float) -> str:
    """Short name of an excerpt."""
    return Path(name).stem + (f" from {start:.3g} s" if start else "")


def _slug(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "-", name)


def _key(sound: Sound, system: System, settings: dict[str, Any], code: str) -> str:
    """Of all that decides what comes out."""
    heard = hashlib.sha256(sound.wav.numpy().tobytes()).hexdigest()
    metrics = list(listeners(sound.kind, sound.sample_rate, thorough=False))
    return key_of(
        sound=[sound.name, sound.kind, sound.sample_rate, heard],
        system=[system.name, system.family, settings],
        metrics=metrics,
        code=code,
    )


def _judged(part: Path, sound: Sound, system: System) -> Judged:
    """A system on a sound, coded and judged unless it is kept."""
    kept = read_json(part / "judged.json")
    if kept is not None:
        return Judged(**kept)
    (found,) = judge([sound], {sound.kind: [system]}, thorough=False, keep_wavs=True)
    assert found.wav is not None
    part.mkdir(parents=True, exist_ok=True)
    write_audio(part / "decoded.flac", found.wav, sound.sample_rate)
    if found.vqk is not None:
        write_bytes(part / "coded.vqk", found.vqk)
    bare = replace(found, wav=None, vqk=None)
    write_json(part / "judged.json", asdict(bare))  # last: its being there says that the part is complete
    return bare


def _collect(part: Path, folder: Path, name: str, out: Path) -> dict[str, str | None]:
    """Copy what a system made of a sound to where people look, and tell the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, str | None] = {"audio": None, "vqk": None}
    for field, file, suffix in (("audio", "decoded.flac", ".flac"), ("vqk", "coded.vqk", ".vqk")):
        if (part / file).is_file():
            target = folder / f"{_slug(name)}{suffix}"
            shutil.copyfile(part / file, target)
            paths[field] = target.relative_to(out).as_posix()
    return paths


def _original(sound: Sound, out: Path) -> dict[str, Any]:
    path = out / "codec" / _slug(sound.name) / "original.flac"
    write_audio(path, sound.wav, sound.sample_rate)
    seconds = sound.wav.shape[1] / sound.sample_rate
    told = {"name": sound.name, "group": sound.kind, "sample_rate": sound.sample_rate, "seconds": seconds}
    return told | {"original": path.relative_to(out).as_posix()}


def _protocols(kind: str, sample_rate: int) -> dict[str, dict[str, Any]]:
    told = {}
    for key, value in protocols_of(listeners(kind, sample_rate, thorough=False)).items():
        fields = asdict(value)
        told[key] = fields | fields.pop("parameters")
    return told
