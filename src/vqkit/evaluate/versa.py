"""What VERSA takes and gives: lists of sound files by key, and scores by key, a JSON object a line.

Conventions (facts of that toolkit, as of 2026)
    A ``.scp`` list for ``--io soundfile`` has a line for each sound: its key, which has no blanks, a blank, and the path. ``--gt`` and
    ``--pred`` are two lists with the same keys. A line of scores is an object with ``"key"`` and a number by the name of each metric; older
    versions write the same as a Python dictionary. Metrics that measure the same are called by VERSA's names, see `NAMES`; the others keep
    ours. A value that could not be measured is null.

References:
    Shi et al., "VERSA: A versatile evaluation toolkit for speech, audio, and music" (2024), arXiv:2412.17667.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vqkit.data import write_audio
from vqkit.evaluate.excerpts import Sound
from vqkit.evaluate.rate_quality import Judged
from vqkit.files import write_whole

__all__ = ["NAMES", "read_scores", "read_scp", "write_for_versa", "write_scores", "write_scp"]

NAMES = {"f0_correlation": "f0_corr", "si_sdr": "si_snr", "dnsmos": "dnsmos_overall"}
"""Our names of metrics, and VERSA's; ``pesq``, ``stoi`` and ``visqol`` are the same. F0 is found by other methods there."""

_Scores = Mapping[str, Mapping[str, float | None]]


def write_scp(path: str | Path, files: Mapping[str, str | Path]) -> Path:
    """Write a list of sound files.

    Args:
        path: path of the list.
        files: path of each sound by its key.

    Raises:
        ValueError: a key with blanks, or a path that the list cannot hold.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_scp(write_scp(f"{folder}/wav.scp", {"a": "/sounds/a b.wav"}))
        {'a': '/sounds/a b.wav'}
    """
    lines = []
    for key, file in files.items():
        if not key or re.search(r"\s", key):
            raise ValueError(f"a key of a list must have no blanks, got {key!r}")
        text = str(file)
        # a bar at the end makes it a command to run
        if not text or text != text.strip() or "\n" in text or text.endswith("|"):
            raise ValueError(f"a list cannot hold the path {text!r}")
        lines.append(f"{key} {text}\n")
    return write_whole(path, "".join(lines).encode())


def read_scp(path: str | Path) -> dict[str, str]:
    """Read a list of sound files.

    Raises:
        ValueError: a line without key or path, a key twice, or a command in place of a path.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), start=1):
        key, _, file = line.strip().partition(" ")
        if not key or not file.strip() or key in found or file.endswith("|"):
            raise ValueError(f"{path}, line {number}: expected a new key and a path, got {line!r}")
        found[key] = file.strip()
    return found


def write_scores(path: str | Path, scores: _Scores) -> Path:
    """Write scores, a line a sound.

    Args:
        path: path of the file.
        scores: by key, values by metric; our names become VERSA's.
    """
    lines = []
    for key, values in scores.items():
        renamed = {NAMES.get(name, name): value for name, value in values.items()}
        lines.append(json.dumps({"key": key, **renamed}, allow_nan=False, ensure_ascii=False) + "\n")
    return write_whole(path, "".join(lines).encode())


def read_scores(path: str | Path) -> dict[str, dict[str, float | None]]:
    """Read scores, ours or VERSA's; what is no number, such as recognised text, is left out.

    Returns:
        By key, values by metric; VERSA's names become ours.

    Raises:
        ValueError: a line that is no such object, or a key twice.
    """
    ours = {theirs: name for name, theirs in NAMES.items()}
    found: dict[str, dict[str, float | None]] = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        entry = _parsed(line)
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or entry["key"] in found:
            raise ValueError(f"{path}, line {number}: expected an object with a new key, got {line[:80]!r}")
        found[entry["key"]] = {
            ours.get(str(name), str(name)): value for name, value in entry.items() if _is_number(value)
        }
    return found


def write_for_versa(folder: str | Path, sounds: Sequence[Sound], judged: Sequence[Judged]) -> list[Path]:
    """Write the sounds of a comparison as VERSA takes them, and their scores as it gives them.

    Args:
        folder: folder for ``original.scp``, and a folder for each system with ``pred.scp`` and ``scores.jsonl``.
        sounds: the sounds; those of one system need not be all.
        judged: results of `vqkit.evaluate.rate_quality.judge` with ``keep_wavs``.

    Returns:
        The files of scores, in the order of the systems.

    Raises:
        ValueError: a result without waveform, or two names that differ only in what a key cannot hold.
    """
    folder = Path(folder).absolute()  # a list is read from wherever VERSA runs
    keys = _keys([sound.name for sound in sounds])
    systems = _keys(list(dict.fromkeys(one.system for one in judged)))
    originals = {keys[sound.name]: folder / "original" / f"{keys[sound.name]}.wav" for sound in sounds}
    for sound in sounds:
        _write_wav(originals[keys[sound.name]], sound.wav, sound.sample_rate)
    write_scp(folder / "original.scp", originals)
    rates = {sound.name: sound.sample_rate for sound in sounds}
    written = []
    for system, name in systems.items():
        own, home = [one for one in judged if one.system == system], folder / name
        files = {keys[one.sound]: home / "wav" / f"{keys[one.sound]}.wav" for one in own}
        for one in own:
            if one.wav is None:
                raise ValueError(f"{system} on {one.sound}: no waveform was kept, judge(…, keep_wavs=True) does")
            _write_wav(files[keys[one.sound]], one.wav, rates[one.sound])
        write_scp(home / "pred.scp", files)
        written.append(write_scores(home / "scores.jsonl", {keys[one.sound]: one.values for one in own}))
    return written


def _keys(names: Sequence[str]) -> dict[str, str]:
    """Names without blanks and separators of paths, by name."""
    keys = {name: re.sub(r"[^\w.\-]+", "_", name) for name in names}
    if len(set(keys.values())) < len(keys):
        raise ValueError(f"names must differ in letters, digits, '.', '-' or '_', got {', '.join(keys)}")
    return keys


def _write_wav(path: Path, wav: Any, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, wav, sample_rate)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        try:
            return ast.literal_eval(line.strip())  # only literals: nothing in it runs
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
