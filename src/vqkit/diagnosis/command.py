"""``vqkit doctor MODEL FOLDER``: examine a saved model's quantizer on the latents of a folder of sound or images."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torch import Tensor

from vqkit.device import usable_device
from vqkit.diagnosis.examine import doctor
from vqkit.diagnosis.latents import item_latents, open_model
from vqkit.diagnosis.page import write_page
from vqkit.progress import Progress
from vqkit.sources import check_not_in_sources
from vqkit.terminal import printable

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Examine; exit code 1 with ``--strict`` where a fault was found."""
    parser = argparse.ArgumentParser(
        prog="vqkit doctor",
        description="Find out what is wrong with a model's quantizer, why, and what a change would gain on this data.",
    )
    parser.add_argument("model", help="folder of a saved codec or image tokenizer, or the name of one that ships")
    parser.add_argument("folder", type=Path, help="folder, manifest or file of sound or images")
    parser.add_argument(
        "--vectors", type=int, default=1 << 14, help="latents to look at, half of them to fit changes to"
    )
    parser.add_argument("--no-trials", action="store_true", help="measure only, without trying changes on copies")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of the files")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write a page, too")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a fault is found")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(argv)
    if asked.vectors < 2:
        raise ValueError(f"--vectors is {asked.vectors}, it must be at least 2")
    if asked.seed < 0:  # Python's own generator would take −1 for 1
        raise ValueError(f"--seed is {asked.seed}, it must be at least 0")
    if asked.html is not None:
        check_not_in_sources(asked.html, asked.folder, asked.model, own=".html")
    device = usable_device(asked.device)
    model = open_model(asked.model).to(device)
    latents = item_latents(model, asked.folder, asked.seed)  # encoded as the doctor asks for them
    with Progress("encoding") as bar:
        found = doctor(
            model.quantizer,
            _watched(latents, asked.vectors, bar),
            max_vectors=asked.vectors,
            trials=not asked.no_trials,
        )
    if asked.json:
        print(json.dumps({"model": asked.model, "source": str(asked.folder), **found.record()}))
    else:
        print("\n".join(printable(line) for line in str(found).splitlines()))
    if asked.html is not None:
        write_page(found, asked.html, title=f"Codebook doctor: {Path(asked.model).name} on {asked.folder.name}")
        print(f"report: {printable(asked.html)}", file=sys.stderr)
    return 1 if asked.strict and not found.healthy else 0


def _watched(latents: Iterable[Tensor], wanted: int, show: Callable[[float], None]) -> Iterator[Tensor]:
    """The latents, with the share of those that are wanted shown; then a line, since what follows on them takes as long again."""
    seen = 0
    for z in latents:
        seen += z[..., 0].numel()
        show(min(1.0, seen / wanted))
        if seen >= wanted:  # nobody asks for more
            _say(seen)
        yield z
    if 0 < seen < wanted:
        _say(seen)


def _say(vectors: int) -> None:
    print(f"{vectors} vectors are encoded, and now examined", file=sys.stderr, flush=True)
