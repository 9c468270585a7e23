"""``vqkit fit-prior`` and ``vqkit export``: what is made of a saved model."""

import argparse
import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from torch import Tensor

from vqkit.data import MAX_MEGAPIXELS, AudioClips, Clip, list_clips
from vqkit.data.unreadable import readable
from vqkit.modality import IMAGE
from vqkit.models.audio.prior import CodingCost, codes_of, coding_cost, fit_prior
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.export.codec import export_onnx
from vqkit.models.loading import load_codec, saved_modality
from vqkit.models.prior_file import PRIOR_FILE, save_prior
from vqkit.models.prior_split import prior_split
from vqkit.types import need

__all__ = ["main_export", "main_fit_prior"]

_CLIP_SECONDS = 60.0


def main_fit_prior(argv: list[str]) -> int:
    """Fit priors, measure them on held-out sound or images, save one beside the weights."""
    parser = argparse.ArgumentParser(
        prog="vqkit fit-prior",
        description="Fit the probabilities of a model's codes; files that it writes are then smaller than plain bits.",
    )
    parser.add_argument("model", type=Path, help="folder of a saved codec or image tokenizer")
    parser.add_argument("data", type=Path, help="folder of sound or images, with splits or without, or a manifest")
    parser.add_argument("--coding", choices=("best", "static", "context"), default="best", help="which one to save")
    parser.add_argument("--classes", type=int, default=32, help="of each context, 1 to 64")
    parser.add_argument("--minutes", type=float, default=60.0, help="of sound to fit; a quarter of it to measure")
    parser.add_argument("--megapixels", type=float, default=50.0, help="of images to fit; a quarter of it to measure")
    parser.add_argument(
        "--max-megapixels", type=float, default=MAX_MEGAPIXELS, metavar="N", help="refuse larger images"
    )
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(argv)
    if not asked.model.is_dir():
        raise ValueError(f"no such folder: {asked.model}; a model is a folder that save_pretrained wrote")
    if saved_modality(asked.model) is IMAGE:
        need("PIL", "image")
        command = import_module("vqkit.models.image.prior_command")
        command.fit_for_images(
            asked.model,
            asked.data,
            asked.coding,
            asked.classes,
            asked.megapixels,
            asked.device,
            asked.max_megapixels,
        )
        return 0
    need("soundfile", "audio")
    codec = load_codec(asked.model).to(asked.device)
    clips = list_clips(asked.data)
    train, held_out = prior_split(clips, asked.data, "clips")
    fitted = codes_of(codec, _sound(codec, train, asked.minutes))
    measured = codes_of(codec, _sound(codec, held_out, asked.minutes / 4))
    priors = {coding: fit_prior(codec, fitted, coding, asked.classes) for coding in ("static", "context")}
    costs = [coding_cost(codec, prior, measured) for prior in (None, *priors.values())]
    print(_table(codec, costs, sum(map(len, fitted)), sum(map(len, measured))))
    best = min(costs, key=lambda cost: cost.files_kbps).coding if asked.coding == "best" else asked.coding
    if best == "plain":
        print("nothing is saved: plain bits are the smallest; more sound to fit may change that")
        return 0
    save_prior(asked.model, priors[best])
    print(f"{asked.model / PRIOR_FILE}: {best}, {len(priors[best].to_bytes())} bytes")
    return 0


def main_export(argv: list[str]) -> int:
    """Write a codec as ONNX."""
    parser = argparse.ArgumentParser(
        prog="vqkit export", description="Write a codec as encoder.onnx (wav → codes) and decoder.onnx (codes → wav)."
    )
    parser.add_argument("model", type=Path, help="folder of a saved codec")
    parser.add_argument("folder", type=Path, help="for the files")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite files that are there")
    asked = parser.parse_args(argv)
    if not asked.model.is_dir():
        raise ValueError(f"no such folder: {asked.model}; a model is a folder that save_pretrained wrote")
    for name in ("encoder.onnx", "decoder.onnx"):
        if (asked.folder / name).exists() and not asked.force:
            raise ValueError(f"{asked.folder / name} exists; -f overwrites it")
    for path in export_onnx(load_codec(asked.model), asked.folder):
        print(f"{path}: {path.stat().st_size} bytes")
    return 0


def _sound(codec: WaveformCodec, clips: list[Clip], minutes: float) -> Iterator[Tensor]:
    """So many minutes of clips in a fixed random order, at most one minute of each."""
    left = minutes * 60

    def read(clip: Clip) -> Tensor:
        return AudioClips([clip], codec.sample_rate, codec.channels, min(_CLIP_SECONDS, left))[0]

    for _, wav in readable(random.Random(0).sample(clips, len(clips)), lambda clip: clip.path, read):
        yield wav
        left -= wav.shape[-1] / codec.sample_rate
        if left <= 0:
            return


def _table(codec: WaveformCodec, costs: list[CodingCost], fitted: int, measured: int) -> str:
    plain = costs[0].codes_kbps
    lines = [
        f"{type(codec).__name__}, {codec.bitrate_kbps():.4g} kbit/s; {fitted} frames to fit, {measured} held out",
        "",
        "| coding | bits per code | kbit/s of the codes | saved | kbit/s of the files | tables, bytes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {cost.coding} | {cost.bits_per_code:.3f} | {cost.codes_kbps:.3f} | {1 - cost.codes_kbps / plain:.1%} "
        f"| {cost.files_kbps:.3f} | {cost.tables_bytes:,} |"
        for cost in costs
    ]
    return "\n".join([*lines, ""])
