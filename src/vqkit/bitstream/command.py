"""``vqkit inspect`` and ``vqkit thin``: what is in a ``.vqk`` file, and the same file at a lower bitrate."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vqkit.bitstream.editing import thin
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fitting import thin_to_fit
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.inspection import inspect
from vqkit.bitstream.reader import VqkReader
from vqkit.files import NewFile
from vqkit.stages import stages_within
from vqkit.terminal import printable

__all__ = ["main_inspect", "main_thin"]


def main_inspect(argv: list[str]) -> int:
    """Print what files say about themselves; exit code 1 if one is damaged, ends early or, of several, is no such file."""
    parser = argparse.ArgumentParser(prog="vqkit inspect", description="Describe .vqk files; nothing is decoded.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    asked = parser.parse_args(argv)
    intact = True
    for path in asked.files:
        try:
            found = inspect(_existing(path))
        except (ValueError, OSError) as error:
            text = str(error) if str(path) in str(error) else f"{path}: {error}"
            if len(asked.files) == 1:
                raise ValueError(text) from None
            if asked.json:
                print(json.dumps({"file": str(path), "error": str(error)}), flush=True)
            print(f"vqkit: {printable(text)}", file=sys.stderr, flush=True)
            intact = False
            continue
        intact = intact and found["complete"] and not found["damage"] and not found["pending_bytes"]
        text = json.dumps({"file": str(path), **found}) if asked.json else "\n".join(_described(path, found))
        print(text, flush=True)
    return 0 if intact else 1


def main_thin(argv: list[str]) -> int:
    """Copy a file without its last stages; exit code 1 if it is damaged or ends early, and so does the copy."""
    parser = argparse.ArgumentParser(
        prog="vqkit thin", description="Lower the rate of a .vqk file without decoding it."
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--kbps", type=float, help="highest rate of sound: as many stages as fit into this rate, before entropy coding"
    )
    how.add_argument(
        "--bpp",
        type=float,
        help="highest rate of an image: as many stages as fit into so many bits a pixel of the file",
    )
    how.add_argument("--max-bytes", type=int, help="as many stages as fit into a file of this size")
    how.add_argument("--stages", type=int, help="keep so many stages")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the target")
    asked = parser.parse_args(argv)
    if asked.target.exists() and not asked.force:
        raise ValueError(f"{asked.target} exists; -f overwrites it")
    source, stages, size = _existing(asked.source), asked.stages, asked.source.stat().st_size
    try:
        found = inspect(source)
    except ValueError as error:
        raise BitstreamError(f"{source}: {error}") from None
    if asked.bpp is not None or asked.max_bytes is not None:
        if asked.bpp is not None and not _header(source).pixels:
            raise BitstreamError(f"{source} has no pixels, so no --bpp: give --stages or --max-bytes")
        with source.open("rb") as file, _target(asked) as new:
            stages, _ = thin_to_fit(file, new.file, max_bytes=asked.max_bytes, bpp=asked.bpp)
    else:
        stages = _stages(source, asked.kbps) if stages is None else stages
        with _target(asked) as new:
            thin(source, new.file, stages)
    before, after = size, asked.target.stat().st_size
    print(printable(f"{asked.target}: {stages} stages, {after} bytes of {before}"), flush=True)
    lacks = _lacks(found)
    for line in lacks:
        print(printable(f"vqkit: warning: {source}: {line}"), file=sys.stderr)
    return 1 if lacks else 0


def _target(asked: argparse.Namespace) -> NewFile:
    return NewFile(asked.target, overwrite=asked.force, make_folders=True, devices=True)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    raise ValueError(
        f"{path} is {'a folder' if path.is_dir() else 'no file'}" if path.exists() else f"no such file: {path}"
    )


def _header(path: Path) -> VqkHeader:
    with VqkReader(path) as reader:
        return reader.header


def _stages(path: Path, most: float) -> int:
    rates = _header(path).rates_kbps
    if not rates:
        raise BitstreamError(f"{path} has no time, so no --kbps: give --stages or --max-bytes")
    return stages_within(rates, most, "--kbps", f"{path} has", "kbit/s")


def _described(path: Path, found: dict[str, Any]) -> list[str]:
    """Return lines for a terminal, with the control characters of the file's own texts made harmless."""
    lines = [
        f"{path}: version {found['format_version']}, {found['file_bytes']} bytes, {found['frames']} frames in {found['chunks']} chunks"
    ]
    if found["seconds"] is not None:
        lines.append(
            f"  {found['seconds']:.3f} s at {found['frame_rate']:g} frames/s{_rate(found['kbps'], ' kbit/s in all', 3)}"
        )
    if found["sample_rate"] and found["image_size"]:
        size, grid = "×".join(map(str, reversed(found["image_size"]))), "×".join(map(str, reversed(found["grid"])))
        lines.append(f"  video: {size} pixels in {grid} cells")
    elif found["sample_rate"]:
        lines.append(
            f"  sound: {found['sample_rate']} Hz, {found['channels'] or '?'} channels, {found['length']} samples"
        )
    if found["bpp"] is not None:
        size, grid = "×".join(map(str, reversed(found["image_size"]))), "×".join(map(str, reversed(found["grid"])))
        lines.append(f"  image: {size} pixels in {grid} cells{_rate(found['bpp'], ' bits a pixel in all', 4)}")
    lines.append(f"  model: {found['model'] or 'not stated'}, weights {found['model_hash'][:16] or 'not stated'}")
    lines.append(
        f"  coding: {found['coding']}; stages of {found['codes_per_stage']} codes, sizes {found['code_sizes']}"
    )
    held = found["stages"][1]  # a thinned file's header still tells how many there were
    for stages, size in enumerate(found["thinned_bytes"][:held], start=1):
        kbps, bpp = found["thinned_kbps"][stages - 1], found["thinned_bpp"][stages - 1]
        rate = _rate(kbps, " kbit/s", 3) or _rate(bpp, " bits a pixel", 4)
        lines.append(f"  {stages} stages: {size} bytes{rate}")
    if found["variable_stages"]:
        lines.append(f"  stages differ from frame to frame: {found['count_bytes']} bytes say how many each has")
    if found["licence"]:
        lines.append(f"  licence: {found['licence']}")
    lines += [f"  {name}: {value}" for name, value in found["metadata"].items()]
    lines += [f"  {line}" for line in _lacks(found)]
    return list(map(printable, lines))


def _lacks(found: dict[str, Any]) -> list[str]:
    """What is damaged or missing, a line each."""
    lines = [
        f"damaged: {damage['reason']} at byte {damage['offset']}, {damage['frames']} frames lost"
        for damage in found["damage"]
    ]
    if not found["complete"]:
        pending = f", and {found['pending_bytes']} bytes are no whole record" if found["pending_bytes"] else ""
        lines.append(f"unfinished: the end record is missing{pending}")
    elif found["pending_bytes"]:
        lines.append(f"damaged: {found['pending_bytes']} bytes follow the end that do not belong to the file")
    return lines


def _rate(value: float | None, unit: str, digits: int) -> str:
    return "" if value is None else f", {value:.{digits}f}{unit}"
