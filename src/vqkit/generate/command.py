"""``vqkit generate image``, ``music``, ``pairs`` and ``motion``."""

import argparse
import json
import sys
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from vqkit.device import usable_device
from vqkit.files import check_not_source
from vqkit.progress import Progress
from vqkit.terminal import printable

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Generate; errors are raised, and `vqkit.cli` makes one line of them."""
    parser = argparse.ArgumentParser(
        prog="vqkit generate", description="Make images, or music for a video, from tokens."
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="image | music | pairs | motion")
    image = kinds.add_parser("image", help="a grid of images, of a class or of none")
    image.add_argument(
        "--class", dest="classes", action="append", metavar="C", help="what they show; may be repeated: a row each"
    )
    image.add_argument("--count", type=int, default=16, help="images (of each class)")
    image.add_argument("--columns", type=int, help="images in a row")
    image.add_argument("--enlarge", type=int, default=1, metavar="N", help="enlarge each image by a whole factor")
    image.add_argument("--out", required=True, metavar="FILE", help="png, jpg or webp")
    image.add_argument("--tokenizer", metavar="FOLDER", help="image tokenizer, where it is not in the model's folder")
    _add_options(image, temperature=1.0)
    music = kinds.add_parser("music", help="music for a video, in a copy of it whose picture is untouched")
    music.add_argument("--video", required=True, metavar="FILE", help="film of any length")
    music.add_argument("--out", required=True, metavar="FILE", help="mp4, mkv or mov")
    _add_options(music, temperature=1.0)
    pairs = kinds.add_parser(
        "pairs", help="a folder of paired clips to learn from: drawn scenes that follow synthetic music"
    )
    pairs.add_argument(
        "--out", required=True, metavar="FOLDER", help="clips that exist in it are kept: an interrupted call goes on"
    )
    for split, count in (("train", 120), ("valid", 24), ("test", 24)):
        pairs.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"{split} clips ({count})")
    pairs.add_argument(
        "--soundfont",
        metavar="FILE",
        help="instruments that FluidSynth plays the music with (Debian: fluidsynth, timgm6mb-soundfont); without, it is synthesised",
    )
    pairs.add_argument("--seconds", type=float, default=8.0, help="duration of a clip")
    pairs.add_argument(
        "--seed", type=int, default=0, help="seed of the random numbers: the same seed makes the same clips"
    )
    pairs.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    motion = kinds.add_parser("motion", help="a folder of labelled videos to learn from: the class is a kind of motion")
    motion.add_argument(
        "--out", required=True, metavar="FOLDER", help="clips that exist in it are kept: an interrupted call goes on"
    )
    for split, count in (("train", 400), ("valid", 80), ("test", 160)):
        motion.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"{split} clips ({count})")
    motion.add_argument("--frames", type=int, default=32, help="number of frames of a clip (32)")
    motion.add_argument("--size", type=int, default=48, help="side of the picture in pixels (48)")
    motion.add_argument(
        "--seed", type=int, default=0, help="seed of the random numbers: the same seed makes the same clips"
    )
    motion.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    asked = parser.parse_args(argv)
    if asked.kind == "pairs":
        return _pairs(asked)
    if asked.kind == "motion":
        return _motion(asked)
    if Path(asked.out).exists() and not asked.force:
        raise FileExistsError(f"{asked.out} exists already; -f overwrites it")
    if not Path(asked.out).absolute().parent.is_dir():  # before minutes of work
        raise FileNotFoundError(f"no such folder: {Path(asked.out).parent}")
    return _image(asked) if asked.kind == "image" else _music(asked)


def _add_options(parser: argparse.ArgumentParser, temperature: float) -> None:
    parser.add_argument(
        "--model", required=True, metavar="FOLDER", help="a generator and the models whose codes it learned"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers: the same seed makes the same")
    parser.add_argument(
        "--temperature", type=float, default=temperature, help="temperature of sampling; 0 takes the most probable"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="sample from the K most probable codes only")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="and from those of this probability only")
    parser.add_argument(
        "--guidance",
        type=float,
        default=None,
        metavar="G",
        help="strength of class or video; 1 as learned (the default)",
    )
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an output that exists")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def _sampling(asked: argparse.Namespace) -> dict[str, Any]:
    guidance = 1.0 if asked.guidance is None else asked.guidance
    return {"temperature": asked.temperature, "top_k": asked.top_k, "top_p": asked.top_p, "guidance": guidance}


def _image(asked: argparse.Namespace) -> int:
    import torch

    from vqkit.data.image.writer import WRITTEN_IMAGE_SUFFIXES, write_image
    from vqkit.generate.image import ImageGenerator, image_grid

    if Path(asked.out).suffix.lower() not in WRITTEN_IMAGE_SUFFIXES:
        raise ValueError(f"cannot write {asked.out}: allowed suffixes are {', '.join(WRITTEN_IMAGE_SUFFIXES)}")
    device = usable_device(asked.device)
    makes = ImageGenerator.from_folder(asked.model, asked.tokenizer)
    names = asked.classes or [None]
    columns = asked.columns
    if columns is None:
        columns = asked.count if len(names) > 1 else ceil(sqrt(max(1, asked.count)))
    image_grid(torch.zeros(1, 1, 1, 1), columns, enlarge=asked.enlarge)  # what cannot be is said before minutes of work
    for name in names:
        if name is not None:
            makes.generator.class_index(name)  # before anything is made
    makes.generator.to(device)
    makes.tokenizer.to(device)
    made = []
    with Progress("generating images", not asked.quiet) as progress:
        for row, name in enumerate(names):
            made.append(
                makes(
                    asked.count,
                    name,
                    seed=asked.seed,
                    watch=lambda share, r=row: progress((r + share) / len(names)),  # type: ignore[misc]
                    **_sampling(asked),
                )
            )
    grid = image_grid(torch.cat(made), columns, enlarge=asked.enlarge)
    write_image(asked.out, grid, overwrite=asked.force)
    _say(asked, {"out": asked.out, "images": len(names) * asked.count, "size": list(makes.size), "seed": asked.seed})
    return 0


def _music(asked: argparse.Namespace) -> int:
    from vqkit.data.video.with_sound import check_container
    from vqkit.generate.music import MusicGenerator

    check_container(asked.out)
    if not Path(asked.video).is_file():
        there = Path(asked.video).exists()
        raise FileNotFoundError(f"--video {asked.video} is no file" if there else f"no such file: {asked.video}")
    check_not_source(asked.out, asked.video)
    device = usable_device(asked.device)
    makes = MusicGenerator.from_folder(asked.model).to(device)
    with Progress("generating music", not asked.quiet) as progress:
        done = makes.score_video(
            asked.video, asked.out, seed=asked.seed, overwrite=asked.force, watch=progress, **_sampling(asked)
        )
    _say(asked, {"out": asked.out, "seconds": round(done.seconds, 3), "pictures": done.pictures, "seed": asked.seed})
    return 0


def _pairs(asked: argparse.Namespace) -> int:
    from vqkit.generate.kept_settings import settings_known
    from vqkit.generate.paired.clips import write_pairs

    with Progress("drawing clips", not asked.quiet) as progress:
        made = write_pairs(
            asked.out,
            train=asked.train,
            valid=asked.valid,
            test=asked.test,
            seconds=asked.seconds,
            seed=asked.seed,
            soundfont=asked.soundfont,
            watch=progress,
        )
    if not asked.quiet:
        known = f" of {asked.seconds:g} s, seed {asked.seed}" if settings_known(asked.out) else ""
        print(f"{printable(asked.out)}: {_count(len(made), 'clip')}{known}")
    return 0


def _motion(asked: argparse.Namespace) -> int:
    from vqkit.generate.kept_settings import settings_known
    from vqkit.generate.motion import write_motions

    sizes = {name: getattr(asked, name) for name in ("train", "valid", "test", "frames", "size", "seed")}
    with Progress("drawing clips", not asked.quiet) as progress:
        made = write_motions(asked.out, watch=progress, **sizes)
    if not asked.quiet:
        kinds = len({path.parent.name for path in made})
        known = f", seed {asked.seed}" if settings_known(asked.out) else ""
        print(f"{printable(asked.out)}: {_count(len(made), 'clip')} of {_count(kinds, 'kind')} of motion{known}")
    return 0


def _say(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    if asked.json:
        print(json.dumps(found))
    elif not asked.quiet:
        what = [f"{found['seconds']} seconds"] if "seconds" in found else []
        what += [_count(found[name + "s"], name) for name in ("image", "picture") if name + "s" in found]
        print(f"{printable(asked.out)}: {', '.join(what)}, seed {asked.seed}", file=sys.stdout)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
