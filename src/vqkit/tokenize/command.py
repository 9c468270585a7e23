"""``vqkit tokenize SOURCE OUT``: a corpus of sound and images to sharded token files."""

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Self

from vqkit.progress import Progress as Bar
from vqkit.terminal import printable
from vqkit.tokenize.manifest import FAILURES, verify_tokens
from vqkit.tokenize.model_encoder import ModelEncoder
from vqkit.tokenize.ray_run import RayRunner
from vqkit.tokenize.run import Progress, TokenizeSettings, tokenize
from vqkit.tokenize.shard import FORMATS, PARQUET

__all__ = ["main"]

_PATIENCE_SECONDS = 10.0  # between lines of progress


def main(argv: list[str]) -> int:
    """Tokenize; exit code 1 if some items could not be."""
    parser = argparse.ArgumentParser(
        prog="vqkit tokenize",
        description="A corpus to token files: Parquet or webdataset shards with int16 codes, and a manifest with checksums. Interrupted "
        "or killed, the same command goes on.",
    )
    parser.add_argument("source", help="folder, .tar, .parquet, folder saved by datasets, or .scp list")
    parser.add_argument("target", help="folder for the token files")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="folder of a model for one kind of content; may be repeated; what ships by default",
    )
    parser.add_argument(
        "--kbps", type=float, help="highest rate of sound: as many stages as fit, before entropy coding"
    )
    parser.add_argument("--bpp", type=float, help="highest rate of images: as many stages as fit")
    parser.add_argument("--stages", type=int, help="keep so many stages")
    parser.add_argument("--format", choices=(*FORMATS, "both"), default=PARQUET)
    parser.add_argument(
        "--vqk", action="store_true", help="keep a .vqk file of each item, too: a column, or a member of the tar"
    )
    parser.add_argument(
        "--items-per-shard",
        type=int,
        default=128,
        metavar="N",
        help="items of a token file; files are done in parallel",
    )
    parser.add_argument("--column", help="column of tables; by default the first that holds sound or images")
    parser.add_argument(
        "--video-sound",
        action="store_true",
        help="take the sound of video; otherwise a --model must be a tokenizer of video",
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=0, metavar="N", help="processes of one thread each; all cores by default"
    )
    parser.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="on a Ray cluster; without an address one on this machine"
    )
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="where the networks run: cpu, cuda, cuda:1; with cuda each process takes a GPU",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="files that go through the networks together; 1 by default, 32 or more on a GPU",
    )
    parser.add_argument("--verify", action="store_true", help="check all files against their checksums in the end")
    parser.add_argument("--json", action="store_true", help="print the totals as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    asked = parser.parse_args(argv)
    if asked.jobs < 0:
        raise ValueError(f"--jobs is {asked.jobs}, it must be at least 0 (all cores)")
    if asked.batch < 1:
        raise ValueError(f"--batch is {asked.batch}, it must be at least 1")
    settings = TokenizeSettings(
        FORMATS if asked.format == "both" else (asked.format,), asked.items_per_shard, asked.column
    )
    encoder_of = partial(
        ModelEncoder,
        models=tuple(asked.model),
        kbps=asked.kbps,
        bpp=asked.bpp,
        stages=asked.stages,
        keep_vqk=asked.vqk,
        video_sound=asked.video_sound,
        device=asked.device,
        batch=asked.batch,
    )
    start = time.monotonic()
    with _Reporter(start, asked.quiet) as watch:
        totals = tokenize(
            asked.source,
            asked.target,
            encoder_of,
            settings,
            processes=asked.jobs or len(os.sched_getaffinity(0)),
            runner=None if asked.ray is None else RayRunner(asked.ray, asked.jobs),
            watch=watch,
        )
    checked = verify_tokens(asked.target) if asked.verify else 0
    if asked.json:
        print(json.dumps({"target": asked.target, "verified_files": checked, **totals}))
    elif not asked.quiet:
        lasting = " and ".join(kind for kind in ("sound", "video") if kind in watch.kinds)
        hours = f", {totals['seconds'] / 3600:.2f} h of {lasting}" if totals["seconds"] else ""
        checks = f"; {checked} files have their checksums" if checked else ""
        print(
            f"{printable(asked.target)}: {_count(totals['items'], 'item')}{hours}, {totals['codes']} codes, {totals['bytes']} bytes in "
            f"{_count(totals['shards'], 'shard')}, {totals['failed']} failed{checks}"
        )
    if totals["failed"]:
        print(
            f"vqkit: {_count(totals['failed'], 'item')} {'has' if totals['failed'] == 1 else 'have'} no codes, and "
            f"{printable(Path(asked.target) / FAILURES)} says why",
            file=sys.stderr,
        )
    return 1 if totals["failed"] else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


class _Reporter:
    """What there is to do, then a bar on a terminal, or a line now and then."""

    def __init__(self, start: float, quiet: bool) -> None:
        self._start, self._last, self._quiet = start, start, quiet
        self._bar = Bar("tokenizing", not quiet and sys.stderr is not None and sys.stderr.isatty())
        self._begun = False
        self.kinds: tuple[str, ...] = ()

    def __call__(self, progress: Progress) -> None:
        self.kinds = progress.kinds
        if self._quiet:
            return
        if not self._begun:
            self._begun = True
            there = f"{_count(progress.planned, 'item')} in {_count(progress.units, 'shard')}"
            if progress.complete:
                change = f"; {printable(progress.change)}" if progress.change else ""
                self._say(f"complete already: {there}{change}")
                return
            left = progress.left_out
            beside = f"; {left} file{'s' * (left != 1)} without sound, images or video left out" if left else ""
            self._say(f"{there}{beside}; processes start, which takes some seconds")
            return
        self._bar(progress.done / progress.units)
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._last < _PATIENCE_SECONDS:
            return
        self._last = now
        elapsed = now - self._start
        speed = f", {progress.seconds / elapsed:.2g} × real time" if progress.seconds and not progress.resumed else ""
        self._say(
            f"{progress.done} of {progress.units} shards, {progress.items} items, {progress.failed} failed{speed}"
        )

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._bar.__exit__(*reason)

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
