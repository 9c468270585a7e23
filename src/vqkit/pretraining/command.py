"""``vqkit pretrain``, ``vqkit probe`` and ``vqkit finetune``."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vqkit.device import usable_device
from vqkit.files import write_whole
from vqkit.models.bridle import Bridle
from vqkit.pretraining.finetune import FineTuning, finetune
from vqkit.pretraining.head import HeadSettings
from vqkit.pretraining.labelled import list_labelled
from vqkit.pretraining.linear_probe import pooled_features, probe
from vqkit.pretraining.results import Result
from vqkit.pretraining.usage_page import write_usage_page
from vqkit.saved import CONFIG
from vqkit.sources import check_not_in_sources
from vqkit.terminal import printable
from vqkit.training.bridle.usage import USAGE_FILE
from vqkit.training.command import main as train_command

__all__ = ["main_finetune", "main_pretrain", "main_probe"]


def main_pretrain(argv: Sequence[str]) -> int:
    """Run the phases of a recipe, and write the page about the use of the codebooks."""
    return train_command(argv, "vqkit pretrain", _write_page)


def _write_page(folder: Path) -> None:
    if (folder / USAGE_FILE).is_file():
        print(f"use of the codebooks: {printable(write_usage_page(folder))}")


def main_probe(argv: Sequence[str]) -> int:
    """Train a linear classifier on the features of a run's frozen encoder."""
    parser = _parser("probe", "Train a linear layer on a frozen encoder's features, and report the test items once.")
    _add_settings(parser, HeadSettings())
    parser.add_argument(
        "--pool-over",
        choices=("all", "time"),
        default="all",
        help="features that are averaged: all, as published, or over time only, which keeps bands and places apart (all)",
    )
    asked = parser.parse_args(list(argv))
    bridle, data = _model_and_data(asked)
    rows = partial(pooled_features, over=asked.pool_over)
    _report(asked, "probe", probe(bridle, data, HeadSettings(**_settings(asked)), rows))
    return 0


def main_finetune(argv: Sequence[str]) -> int:
    """Train a run's encoder and a classifier together."""
    parser = _parser("finetune", "Train encoder and classifier on labels, and report the test items once.")
    _add_settings(parser, FineTuning())
    parser.add_argument("--layer-decay", type=float, default=0.75, help="factor of the rate from block to block")
    parser.add_argument("--drop-path", type=float, default=0.1, help="share of items that skip the last block")
    parser.add_argument("--mixup", type=float, default=0.5, help="share of sounds that are mixed")
    parser.add_argument("--mask-frames", type=int, default=192, help="longest blank stretch of time")
    parser.add_argument("--mask-bands", type=int, default=48, help="most neighbouring blank bands")
    parser.add_argument("--frozen", action="store_true", help="train the classifier alone, with the same augmentation")
    parser.add_argument(
        "--frozen-drop-path",
        action="store_true",
        help="with --frozen: let the encoder drop paths while the classifier learns, as in the published code",
    )
    asked = parser.parse_args(list(argv))
    bridle, data = _model_and_data(asked)
    more = {name: getattr(asked, name) for name in ("layer_decay", "drop_path", "mixup", "mask_frames", "mask_bands")}
    how = FineTuning(**_settings(asked), **more, unfrozen=not asked.frozen, frozen_drop_path=asked.frozen_drop_path)
    _report(asked, "finetune", finetune(bridle, data, how))
    return 0


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"vqkit {command}", description=description)
    parser.add_argument("run", type=Path, help="folder of a pretraining, or of a saved Bridle")
    parser.add_argument(
        "--data.source",
        "--source",
        dest="source",
        required=True,
        metavar="FOLDER",
        help="labelled files: manifest or class folders",
    )
    parser.add_argument("--label", default="label", help="column of the manifest; classes are separated by ;")
    parser.add_argument("--where", metavar="COLUMN=VALUE", help="use the items with this value in the manifest only")
    parser.add_argument("--folds", type=int, default=0, help="cross-validation with so many folds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--out", type=Path, help=f"file of the result; {command}.json in the folder of the run by default"
    )
    return parser


def _add_settings(parser: argparse.ArgumentParser, defaults: HeadSettings) -> None:
    for name, text in {
        "learning_rate": "peak of AdamW's learning rate",
        "epochs": "passes over the training items; the best one on the validation items counts",
        "batch_size": "items a step",
        "weight_decay": "of AdamW",
        "seed": "of the start and the order of the items",
        "chosen_on": "items on which the epoch is chosen; test, as in the published code, makes the scores too high",
    }.items():
        value = getattr(defaults, name)
        choices = ("valid", "test") if name == "chosen_on" else None
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), default=value, choices=choices, help=f"{text} ({value})"
        )


def _settings(asked: argparse.Namespace) -> dict[str, Any]:
    names = ("learning_rate", "epochs", "batch_size", "weight_decay", "seed", "chosen_on")
    return {name: getattr(asked, name) for name in names}


def _model_and_data(asked: argparse.Namespace) -> tuple[Bridle, Any]:
    if not asked.run.is_dir():
        raise ValueError(f"no such folder: {asked.run}; it is one that vqkit pretrain or save_pretrained wrote")
    folder = asked.run if (asked.run / CONFIG).is_file() else asked.run / Bridle.saved_as
    if not folder.is_dir():
        raise ValueError(f"{asked.run} holds no pretrained model: there is no folder {Bridle.saved_as} in it")
    if asked.out is not None:
        check_not_in_sources(asked.out, asked.source, folder, own=("probe.json", "finetune.json"))
    device = usable_device(asked.device)
    bridle = Bridle.from_pretrained(folder).to(device)
    data = list_labelled(asked.source, bridle.modality, label=asked.label, where=asked.where, folds=asked.folds)
    return bridle, data


def _report(asked: argparse.Namespace, command: str, result: Result) -> None:
    path = asked.out or asked.run / f"{command}.json"
    write_whole(path, result.to_json().encode())
    print(result.to_json() if asked.json else "\n".join(result.lines()), end="" if asked.json else "\n")
