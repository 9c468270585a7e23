"""A codec on a sound, kept on disk: coded and judged once, then used again.

out/runs/coded-KEY/    decoded.flac, coded.vqk and judged.json, under a key of all that decides them
out/codec/SOUND/       where people look: original.flac, and SYSTEM.flac and SYSTEM.vqk of every system
"""

import hashlib
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vqkit.cache import key_of, read_json, write_json
from vqkit.code_digest import code_digest
from vqkit.data import write_audio
from vqkit.evaluate.codecs import System
from vqkit.evaluate.excerpts import Sound
from vqkit.evaluate.listeners import listeners
from vqkit.evaluate.rate_quality import Judged, judge
from vqkit.files import write_whole

__all__ = ["kept_or_judged", "part_of", "place_original", "place_part"]


def part_of(out: Path, sound: Sound, system: System, settings: dict[str, Any]) -> Path:
    """Folder of a system on a sound.

    Args:
        out: folder of the run.
        sound: the sound, identified by its samples, not by their source.
        system: the codec.
        settings: settings of the system; the digest of the weights is among them.

    Returns:
        A folder that may not be there yet.
    """
    key = key_of(
        sound=[sound.name, sound.kind, sound.sample_rate, hashlib.sha256(sound.wav.numpy().tobytes()).hexdigest()],
        system=[system.name, system.family, settings],
        metrics=list(listeners(sound.kind, sound.sample_rate, thorough=False)),  # installing one measures again
        code=code_digest(type(system), "vqkit.evaluate.rate_quality", "vqkit.evaluate.listeners"),
    )
    return out / "runs" / f"coded-{key}"


def kept_or_judged(part: Path, sound: Sound, system: System) -> Judged:
    """Return the kept judgement of a system on a sound; without one, code and judge the sound now.

    Args:
        part: part from `part_of`.
        sound: the sound.
        system: the codec.

    Returns:
        Sizes and values, without the waveform.
    """
    kept = read_json(part / "judged.json")
    if kept is not None:
        return Judged(**kept)
    (found,) = judge([sound], {sound.kind: [system]}, thorough=False, keep_wavs=True)
    assert found.wav is not None
    part.mkdir(parents=True, exist_ok=True)
    write_audio(part / "decoded.flac", found.wav, sound.sample_rate)
    if found.vqk is not None:
        write_whole(part / "coded.vqk", found.vqk)
    bare = replace(found, wav=None, vqk=None)
    write_json(part / "judged.json", asdict(bare))  # last: where it is, the part is complete
    return bare


def place_part(part: Path, out: Path, sound: Sound, system: System) -> dict[str, str | None]:
    """Copy what a system made of a sound to where people look.

    Returns:
        ``audio`` and ``vqk``: paths relative to ``out``; None for codecs that write no ``.vqk`` file.
    """
    paths: dict[str, str | None] = {}
    for field, file, suffix in (("audio", "decoded.flac", ".flac"), ("vqk", "coded.vqk", ".vqk")):
        target = out / "codec" / _slug(sound.name) / f"{_slug(system.name)}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        there = (part / file).is_file()
        if there:
            shutil.copyfile(part / file, target)
        paths[field] = target.relative_to(out).as_posix() if there else None
    return paths


def place_original(out: Path, sound: Sound) -> dict[str, Any]:
    """Write the sound itself beside what became of it, and describe it as reports want it."""
    path = out / "codec" / _slug(sound.name) / "original.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, sound.wav, sound.sample_rate)
    seconds = sound.wav.shape[1] / sound.sample_rate
    told = {"name": sound.name, "group": sound.kind, "sample_rate": sound.sample_rate, "seconds": seconds}
    return told | {"original": path.relative_to(out).as_posix()}


def _slug(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "-", name)
