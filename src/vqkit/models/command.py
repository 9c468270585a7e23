"""``vqkit fit-prior`` and ``vqkit export``: what is made of a saved model."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from vqkit.data import MAX_MEGAPIXELS, list_items
from vqkit.device import usable_device
from vqkit.modality import IMAGE, VIDEO
from vqkit.models.export.codec import export_onnx
from vqkit.models.export.int8 import to_int8
from vqkit.models.loading import load_codec, load_tokenizer, shipped_folder
from vqkit.models.prior import CodingCost, codes_of, coding_cost, fit_prior
from vqkit.models.prior_file import PRIOR_FILE, save_prior
from vqkit.models.prior_signals import image_signals, sound_signals, video_signals
from vqkit.models.prior_split import prior_split
from vqkit.models.tokenizer import Tokenizer
from vqkit.progress import Progress

__all__ = ["main_export", "main_fit_prior"]


def main_fit_prior(argv: list[str]) -> int:
    """Fit priors, measure them on held-out sound or images, save one beside the weights."""
    parser = argparse.ArgumentParser(
        prog="vqkit fit-prior",
        description="Fit the probabilities of a model's codes; files that it writes are then smaller than plain bits.",
    )
    parser.add_argument("model", type=Path, help="folder of a saved codec or image tokenizer")
    parser.add_argument(
        "data", type=Path, help="folder of sound, images or video, with splits or without, or a manifest"
    )
    parser.add_argument(
        "--coding",
        choices=("best", "static", "context", "network"),
        default="best",
        help="which one to save: best is static or context, whichever is smaller; network, smaller yet, takes minutes to train",
    )
    parser.add_argument("--network-steps", type=int, default=600, help="training steps of the network")
    parser.add_argument("--classes", type=int, default=32, help="number of classes of each context, 1 to 64")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="minutes of sound or video to fit; a quarter as many to measure"
    )
    parser.add_argument(
        "--megapixels", type=float, default=50.0, help="megapixels of images to fit; a quarter as many to measure"
    )
    parser.add_argument(
        "--max-megapixels", type=float, default=MAX_MEGAPIXELS, metavar="N", help="refuse larger images"
    )
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(argv)
    if not asked.model.is_dir():
        raise ValueError(f"no such folder: {asked.model}; a model is a folder that save_pretrained wrote")
    device = usable_device(asked.device)
    model = load_tokenizer(asked.model).to(device)
    what = model.modality
    items = list_items(asked.data, what)
    fitted, measured = (
        codes_of(model, _signals(model, part, asked, share))
        for part, share in zip(prior_split(items, asked.data, f"{what.item}s"), (1.0, 0.25), strict=True)
    )
    priors = {coding: fit_prior(model, fitted, coding, asked.classes) for coding in ("static", "context")}
    if asked.coding == "network":
        with Progress("network") as watch:
            priors["network"] = fit_prior(model, fitted, "network", steps=asked.network_steps, watch=watch)
    costs = [coding_cost(prior, measured) for prior in (None, *priors.values())]
    print(_table(model, costs, len(fitted), len(measured)))
    best = min(costs, key=lambda cost: cost.files_rate).coding if asked.coding == "best" else asked.coding
    if best == "plain":
        print(f"nothing is saved: plain bits are the smallest; more {what.plural} to fit may change that")
        return 0
    save_prior(asked.model, priors[best])
    print(f"{asked.model / PRIOR_FILE}: {best}, {len(priors[best].to_bytes())} bytes")
    return 0


def main_export(argv: list[str]) -> int:
    """Write a codec as ONNX."""
    parser = argparse.ArgumentParser(
        prog="vqkit export", description="Write a codec as encoder.onnx (wav → codes) and decoder.onnx (codes → wav)."
    )
    parser.add_argument("model", type=Path, help="folder of a saved codec, or the name of one that ships")
    parser.add_argument("folder", type=Path, help="folder for the files")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite files that are there")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="also encoder.int8.onnx and decoder.int8.onnx: half as large, faster on a CPU",
    )
    asked = parser.parse_args(argv)
    asked.model = shipped_folder(asked.model) or asked.model
    if not asked.model.is_dir():
        raise ValueError(f"no such folder: {asked.model}; a model is a folder that save_pretrained wrote")
    kinds = ("onnx", "int8.onnx") if asked.int8 else ("onnx",)
    for name in [f"{part}.{kind}" for part in ("encoder", "decoder") for kind in kinds]:
        if (asked.folder / name).exists() and not asked.force:
            raise ValueError(f"{asked.folder / name} exists; -f overwrites it")
    codec = load_codec(asked.model)
    for path in export_onnx(codec, asked.folder):
        print(f"{path}: {path.stat().st_size} bytes")
        if asked.int8:
            small = to_int8(path, codec.quantizer.dim)
            print(f"{small}: {small.stat().st_size} bytes")
    return 0


def _signals(model: Tokenizer, items: list[Any], asked: argparse.Namespace, share: float) -> Iterator[Tensor]:
    if model.modality is IMAGE:
        return image_signals(model, items, asked.megapixels * share, asked.max_megapixels)
    if model.modality is VIDEO:
        return video_signals(model, items, asked.minutes * share)
    return sound_signals(model, items, asked.minutes * share)


def _table(model: Tokenizer, costs: list[CodingCost], fitted: int, measured: int) -> str:
    what, plain = model.modality, costs[0].codes_rate
    lines = [
        f"{type(model).__name__}, {plain:.4g} {what.rate_unit}; {what.count(fitted)} to fit, {measured} held out",
        "",
        f"| coding | bits per code | {what.rate_unit} of the codes | saved | {what.rate_unit} of the files | tables, bytes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {cost.coding} | {cost.bits_per_code:.3f} | {cost.codes_rate:.4f} | {1 - cost.codes_rate / plain:.1%} "
        f"| {cost.files_rate:.4f} | {cost.tables_bytes:,} |"
        for cost in costs
    ]
    return "\n".join([*lines, ""])
