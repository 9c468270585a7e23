"""``vqkit encode`` and ``vqkit decode``: sound, image and video files to ``.vqk`` files and back; files, folders and pipes."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vqkit.coding.jobs import PIPE, Job, find_jobs
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.kinds import (
    KINDS,
    SOUND,
    kind_in,
    kind_named,
    kind_of_file,
    open_models,
    sniffed,
    wanted_kind,
)
from vqkit.coding.names import VQK, decoded_names, encoded_names
from vqkit.coding.one_file import DecodeOne, EncodeOne, standard_input
from vqkit.coding.option_checks import (
    WRITTEN,
    check_kinds,
    check_megapixels,
    check_rate,
    check_sound_options,
    check_target,
    shown_source,
)
from vqkit.coding.options import add_options, add_places
from vqkit.coding.rate import Rate
from vqkit.coding.run import Manner, run
from vqkit.data.content import content_of_file
from vqkit.modality import MODALITIES

__all__ = ["main_decode", "main_encode"]

_READ = frozenset(suffix for kind in KINDS for suffix in kind.read)


@dataclass
class _Found:
    """Kinds and faults of the ``.vqk`` files of a run, found when their targets are named."""

    suffixes: Mapping[Kind, str]
    asked: Kind | None
    kinds: dict[str, Kind] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def names(self, path: Path) -> list[str]:
        name = str(path)
        try:
            self.kinds[name] = kind_in(path)
        except (ValueError, OSError) as error:
            self.faults[name] = str(error)
        kind = self.kinds.get(name, SOUND)
        return decoded_names(path, self.suffixes[kind], kind.read, asked=kind == self.asked)

    def job(self, job: Job) -> Job:
        if not job.is_open:
            return job
        if job.source not in self.kinds and job.source not in self.faults:
            self.names(Path(job.source))
        return replace(job, kind=self.kinds.get(job.source), fault=self.faults.get(job.source, ""))


def main_encode(argv: list[str]) -> int:
    """Encode; exit code 1 if some files of a folder could not be."""
    parser = argparse.ArgumentParser(
        prog="vqkit encode",
        description="Sound, also that of films, images and video to .vqk files: sound of any length in constant memory, images in tiles.",
    )
    add_places(parser, "wav, flac, ogg, opus, mp3, mp4 …, or png, jpg, webp, tif …", "a .vqk file")
    parser.add_argument(
        "--as",
        dest="modality",
        choices=[modality.word for modality in MODALITIES],
        help="code only this; a film is coded as its sound unless this says video",
    )
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument(
        "--kbps",
        type=float,
        help="highest rate of sound or video before entropy coding: as many stages as fit; where the codes of sound are refined, frames "
        "get one more or less, as it is heard",
    )
    rates.add_argument(
        "--max-bytes",
        type=int,
        help="keep as many stages as fit into a file of this size; of images the finest step, where the model has steps",
    )
    rates.add_argument("--stages", type=int, help="keep so many stages")
    parser.add_argument(
        "--bpp",
        type=float,
        help="highest rate of images: the finest step, or as many stages, as fit into so many bits a pixel of the file",
    )
    parser.add_argument(
        "--rate-weight",
        type=float,
        metavar="LAMBDA",
        help="spend stages where they help: every frame or cell keeps those that lower the squared error of its latent vector by more "
        "than LAMBDA a bit; readers of format version 3 are needed",
    )
    parser.add_argument("--plain", action="store_true", help="plain bits although the model has a prior")
    parser.add_argument("--licence", default="", help="licence of the content, for the header")
    parser.add_argument(
        "--meta", action="append", default=[], metavar="KEY=VALUE", help="text for the header; may be repeated"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse sound of which something is missing or cannot be decoded, instead of silence and a warning",
    )
    parser.add_argument(
        "--level-rounds",
        type=int,
        help="how often sound is encoded and decoded to bring the decoded levels near its own, each as slow as doing it once; 0 encodes "
        "once (default: what the codec names, 0 for most)",
    )
    parser.add_argument(
        "--refine-steps",
        type=int,
        help="how often the codes of sound are then changed by listening to what they decode to, each as slow as decoding three times; 20 "
        "for the best quality, 0 for speed (default: what the codec names, 0 for most)",
    )
    add_options(parser)
    asked = parser.parse_args(argv)
    check_megapixels(asked)
    if asked.refine_steps is not None and not 0 <= asked.refine_steps <= 1000:
        raise ValueError(f"--refine-steps is {asked.refine_steps}, it must be in 0 … 1000")
    if asked.level_rounds is not None and not 0 <= asked.level_rounds <= 16:
        raise ValueError(f"--level-rounds is {asked.level_rounds}, it must be in 0 … 16")
    if Path(asked.source).suffix.lower() == VQK or content_of_file(asked.source) == "vqk":
        raise ValueError(
            f"{asked.source} is encoded already; `vqkit decode {asked.source}` decodes it, `vqkit thin` a smaller file"
        )
    if asked.target is not None and Path(asked.target).suffix.lower() in _READ:
        kind = kind_named(asked.target)
        raise ValueError(f"{asked.target}: encoding makes {VQK} files; `vqkit decode` makes {kind.name} of them")
    rate = Rate(asked.kbps, asked.stages, asked.max_bytes, asked.bpp, asked.rate_weight)
    pipe, wanted = None, wanted_kind(asked.modality)
    kind_of = partial(kind_of_file, wanted=wanted)
    jobs = find_jobs(asked.source, asked.target, _READ, encoded_names, kind_of)
    if asked.source == PIPE:
        kind, pipe = sniffed(standard_input(), wanted)
        jobs = [replace(job, kind=kind) for job in jobs]
    else:
        # what is nothing we know may be sound all the same
        jobs = [replace(job, kind=job.kind or kind_of(job.source) or SOUND) if job.is_open else job for job in jobs]
    jobs = _only(wanted, jobs, Path(asked.source).is_dir())
    check_rate(rate, [job for job in jobs if job.is_open])
    check_sound_options(asked, [job for job in jobs if job.is_open])
    encode = EncodeOne(
        Encoding(
            rate,
            asked.plain,
            asked.licence,
            _metadata(asked.meta),
            asked.max_megapixels,
            asked.strict,
            asked.level_rounds,
            asked.refine_steps,
            choose=not asked.model,
        ),
        pipe,
        asked.force,
    )
    return run(jobs, _loading(jobs, asked), encode, _how(asked), rate)


def main_decode(argv: list[str]) -> int:
    """Decode; exit code 1 if something was damaged, or some files of a folder could not be decoded."""
    parser = argparse.ArgumentParser(
        prog="vqkit decode",
        description="Sound, images and video of .vqk files; what is damaged in them is silent or gray, and named.",
    )
    add_places(parser, "a .vqk file", "its suffix decides the format")
    formats = [suffix.removeprefix(".") for suffix in WRITTEN]
    parser.add_argument(
        "--to",
        choices=formats,
        help="format, where no target's name says it (for files wav of sound, png of images, mp4 of video)",
    )
    add_options(parser)
    asked = parser.parse_args(argv)
    check_megapixels(asked)
    if Path(asked.source).is_fifo():
        raise ValueError(f"{asked.source} is a pipe, which can be read once: give - and the pipe as standard input")
    if Path(asked.source).suffix.lower() in _READ:
        raise ValueError(f"{asked.source} is no {VQK} file; `vqkit encode {asked.source}` makes one of it")
    wished = None if asked.to is None else kind_named(f"x.{asked.to}")
    found = _Found({kind: f".{asked.to}" if kind == wished else kind.written[0] for kind in KINDS}, wished)
    jobs = find_jobs(asked.source, asked.target, [VQK], found.names)
    if jobs[0].target == PIPE and asked.to is None:
        raise ValueError(f"standard output has no suffix: give --to, one of {', '.join(formats)}")
    if asked.target not in (None, PIPE) and not Path(asked.source).is_dir():
        check_target(Path(jobs[0].target), asked.to)
    if asked.source == PIPE:  # what it holds is found out when it is read
        jobs = [replace(jobs[0], kind=wished if jobs[0].target == PIPE else kind_named(jobs[0].target))]
    else:
        jobs = [found.job(job) for job in jobs]
    check_kinds(jobs, wished, asked.to)
    decode = DecodeOne(found.suffixes, asked.force, asked.max_megapixels, bool(asked.model))
    return run(jobs, _loading(jobs, asked), decode, _how(asked))


def _only(wanted: Kind | None, jobs: list[Job], folder: bool) -> list[Job]:
    """The jobs of a folder that are of the kind that ``--as`` names; the others are passed over.

    Raises:
        ValueError: none is.
    """
    if wanted is None:
        return jobs
    other = [job for job in jobs if job.is_open and job.kind != wanted]
    if other and (not folder or len(other) == sum(job.is_open for job in jobs)):
        kind = other[0].kind
        assert kind is not None
        raise ValueError(f"--as {wanted.modality.word}: {shown_source(other[0])} holds {kind.name}")
    return [
        replace(job, passed_over=f"{job.kind.name}, and --as says {wanted.modality.word}")
        if job in other and job.kind is not None
        else job
        for job in jobs
    ]


def _loading(jobs: list[Job], asked: argparse.Namespace) -> partial[dict[Kind, Any]]:
    kinds = [kind for kind in KINDS if any(job.kind == kind for job in jobs)]
    return partial(open_models, kinds, asked.model if kinds else [])  # no kind: no file that can be read


def _how(asked: argparse.Namespace) -> Manner:
    if asked.jobs < 1:
        raise ValueError(f"--jobs is {asked.jobs}, it must be at least 1")
    folder = asked.source != PIPE and Path(asked.source).is_dir()
    return Manner(asked.jobs, asked.force, asked.skip_existing, asked.quiet, asked.json, folder)


def _metadata(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator) or name in found:
            raise ValueError(f"--meta {pair}: expected KEY=VALUE, each KEY once")
        found[name] = value
    return found
