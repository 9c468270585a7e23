"""``vqkit encode`` and ``vqkit decode``: sound files to ``.vqk`` files and back; files, folders and pipes."""

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from vqkit.coding.coded import Coded, Watch
from vqkit.coding.decode_file import decode_file
from vqkit.coding.encode_file import encode_file
from vqkit.coding.jobs import PIPE, SOUND_SUFFIXES, Job, find_jobs
from vqkit.coding.model import open_codec
from vqkit.coding.rate import Rate
from vqkit.coding.run import Manner, run
from vqkit.data import WRITTEN_SUFFIXES
from vqkit.models.waveform_codec import WaveformCodec

__all__ = ["main_decode", "main_encode"]

_VQK = ".vqk"


@dataclass(frozen=True)
class Encoding:
    """What is done to every file; picklable."""

    rate: Rate
    plain: bool
    licence: str
    metadata: dict[str, str]

    def __call__(self, codec: WaveformCodec, job: Job, watch: Watch) -> Coded:
        """Encode one."""
        options = {"plain": self.plain, "licence": self.licence, "metadata": self.metadata, "watch": watch}
        return encode_file(codec, _input(job), _output(job), self.rate, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Decoding:
    """What is done to every file; picklable."""

    suffix: str

    def __call__(self, codec: WaveformCodec, job: Job, watch: Watch) -> Coded:
        """Decode one."""
        return decode_file(codec, _input(job), _output(job), suffix=self.suffix, watch=watch)


def main_encode(argv: list[str]) -> int:
    """Encode; exit code 1 if some files of a folder could not be."""
    parser = argparse.ArgumentParser(
        prog="vqkit encode", description="Sound, also that of video, to .vqk files of any length, in constant memory."
    )
    _add_places(parser, "wav, flac, ogg, opus, mp3, mp4 …", "a .vqk file")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--kbps", type=float, help="keep as many stages as fit into this rate, before entropy coding")
    rates.add_argument("--max-bytes", type=int, help="keep as many stages as fit into a file of this size")
    rates.add_argument("--stages", type=int, help="keep so many stages")
    parser.add_argument("--plain", action="store_true", help="plain bits although the model has a prior")
    parser.add_argument("--licence", default="", help="of the content, for the header")
    parser.add_argument(
        "--meta", action="append", default=[], metavar="KEY=VALUE", help="for the header; may be repeated"
    )
    _add_options(parser)
    asked = parser.parse_args(argv)
    if Path(asked.source).suffix.lower() == _VQK:
        raise ValueError(
            f"{asked.source} is encoded already; `vqkit decode {asked.source}` makes sound of it, `vqkit thin` a smaller file"
        )
    if asked.target is not None and Path(asked.target).suffix.lower() in SOUND_SUFFIXES:
        raise ValueError(f"{asked.target}: encoding makes {_VQK} files; `vqkit decode` makes sound of them")
    rate = Rate(asked.kbps, asked.stages, asked.max_bytes)
    jobs = find_jobs(asked.source, asked.target, SOUND_SUFFIXES, _VQK)
    load = partial(open_codec, asked.model)
    return run(jobs, load, Encoding(rate, asked.plain, asked.licence, _metadata(asked.meta)), _how(asked), rate)


def main_decode(argv: list[str]) -> int:
    """Decode; exit code 1 if something was damaged, or some files of a folder could not be decoded."""
    parser = argparse.ArgumentParser(
        prog="vqkit decode", description="Sound of .vqk files; what is damaged in them is silent, and named."
    )
    _add_places(parser, "a .vqk file", "its suffix decides the format")
    formats = [suffix.removeprefix(".") for suffix in WRITTEN_SUFFIXES]
    parser.add_argument("--to", choices=formats, help="format, where no target's name says it (wav for files)")
    _add_options(parser)
    asked = parser.parse_args(argv)
    suffix = Path(asked.source).suffix.lower()
    if suffix in SOUND_SUFFIXES:
        raise ValueError(f"{asked.source} is no {_VQK} file; `vqkit encode {asked.source}` makes one of it")
    jobs = find_jobs(asked.source, asked.target, [_VQK], f".{asked.to or 'wav'}")
    if jobs[0].target == PIPE:
        if asked.to is None:
            raise ValueError(f"standard output has no suffix: give --to, one of {', '.join(formats)}")
    else:
        _check_sound(Path(jobs[0].target), asked.to)
    return run(jobs, partial(open_codec, asked.model), Decoding(f".{asked.to or 'wav'}"), _how(asked))


def _check_sound(target: Path, form: str | None) -> None:
    suffix = target.suffix.lower()
    if suffix == _VQK:
        raise ValueError(f"{target}: decoding makes sound; `vqkit encode` makes {_VQK} files of it")
    if suffix not in WRITTEN_SUFFIXES:
        raise ValueError(f"cannot write {target}: the suffix is {suffix!r}, allowed are {', '.join(WRITTEN_SUFFIXES)}")
    if form is not None and suffix != f".{form}":
        raise ValueError(f"--to {form} and the suffix of {target} disagree")


def _add_places(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    parser.add_argument("source", help=f"{source}; a folder of such; or - for standard input")
    parser.add_argument(
        "target",
        nargs="?",
        help=f"{target}; for a folder a folder, which gets the same tree; or - for standard output; beside the source by default",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="PATH", help="folder of a saved codec; by default the one that ships")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="files at once, each by a process of one thread"
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite targets that exist")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")


def _how(asked: argparse.Namespace) -> Manner:
    if asked.jobs < 1:
        raise ValueError(f"--jobs is {asked.jobs}, it must be at least 1")
    folder = asked.source != PIPE and Path(asked.source).is_dir()
    return Manner(asked.jobs, asked.force, asked.quiet, asked.json, folder)


def _metadata(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator) or name in found:
            raise ValueError(f"--meta {pair}: expected KEY=VALUE, each KEY once")
        found[name] = value
    return found


def _input(job: Job) -> str | BinaryIO:
    return sys.stdin.buffer if job.source == PIPE else job.source


def _output(job: Job) -> str | BinaryIO:
    if job.target == PIPE:
        return sys.stdout.buffer
    Path(job.target).parent.mkdir(parents=True, exist_ok=True)
    return job.target
