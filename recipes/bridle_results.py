"""What BRIDLE's pretraining is worth at a size that one core carries: the tables of docs/results/bridle.

  python recipes/bridle_results.py DATA OUT --task digits --steps 600 --seeds 2    (a run each; what is done is not done again)
  python recipes/bridle_results.py DATA OUT --table                                (only the tables, of what is there)

DATA is a folder with a manifest: labelled sound, ``images/*.npz``. The videos of the task ``motion`` are drawn into OUT. Every system has
the same encoder, the same data, seeds 0 to SEEDS − 1 and the same number of encoder steps; a linear probe (vqkit probe) reads the test
items once. OUT/tables.md is written anew whenever a run has finished.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit import FSQ, IVQ, RVQ, VQ, LooC, Quantizer
from vqkit.files import write_whole
from vqkit.generate.motion import write_motions
from vqkit.models import Bridle
from vqkit.models.bridle import Stack
from vqkit.pretraining import FineTuning, Labelled, Result, finetune, list_labelled, pooled_features, probe
from vqkit.training import (
    AudioDataModule,
    BridleModule,
    ImageDataModule,
    Optimisation,
    PatchAutoencoderModule,
    VideoDataModule,
    train,
)

PLAIN = {"revive": "restart", "decay": 0.9}  # those of the tiny presets; why stands in docs/results/bridle
SMALL = {"encoder": Stack(64, 2, 4), "predictor": Stack(64, 1, 4), "estimator": Stack(64, 1, 4)}
UNTRAINED = ("statistics", "random")
NAMES = {"statistics": "pixels or log-mel statistics", "random": "random weights; fine-tuned: from scratch"}


@dataclass(frozen=True)
class Labels:
    """What a classifier is to tell, and with how many labels.

    Args:
        label: column of the manifest.
        where: which items have it.
        folds: of cross-validation; 0 takes the splits.
        most: use at most so many items of each split, evenly spread; 0 uses all.
        unseen: column whose values in the test and validation items must not be among the training items, such as the speaker.
    """

    label: str = "label"
    where: str | None = None
    folds: int = 0
    most: int = 0
    unseen: str | None = None


@dataclass(frozen=True)
class Task:
    """What is learned from and measured.

    Args:
        modality: of the data.
        preset: of the model.
        source: of unlabelled and labelled data, under DATA.
        labels: by name.
        tuned: the labels that are fine-tuned on as well; the first ones by default.
        options: of the model.
        batch_size: items a step.
        mask_ratio: share of the patches that is hidden; the published one by default.
        learning_rate: peak of encoder and tokenizer.
        crops: whether training images are boxes of random size and place.
    """

    modality: str
    preset: str
    source: str
    labels: dict[str, Labels]
    tuned: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    mask_ratio: float | None = None
    learning_rate: float = 1e-3
    crops: bool = True


TASKS = {
    # Speakers of the test fold also speak in the others. Languages: most have one to three speakers, so that who
    # knows the speaker knows the language; with unseen speakers that does not help.
    "sound": Task(
        "audio",
        "audio-tiny",
        "",
        {
            "events": Labels(where="group=events", folds=5),
            "instruments": Labels(where="subset=notes", folds=4),
            "speakers": Labels("speaker", "group=speech", folds=4, most=400),
            "languages, unseen speakers": Labels("language", "group=speech", most=300, unseen="speaker"),
            "languages, same speakers": Labels("language", "group=speech", folds=4, most=400),
        },
        tuned="instruments",  # the smallest: 144 notes
    ),
    "emoji": Task("image", "image-tiny", "images/emoji32.npz", {"groups": Labels()}, batch_size=64),
    "digits": Task(
        "image",
        "image-tiny",
        "images/mnist10k.npz",
        {"500 labels": Labels(most=500)},
        options={"channels": 1, "size": (28, 28), "statistics": (0.13, 0.31), **SMALL},
        # nine visible patches of 49 are mostly ground: with 0.8 hidden, 500 steps made the features worse than random ones
        mask_ratio=0.6,
        learning_rate=2e-3,
        crops=False,
    ),
    "motion": Task(
        "video",
        "video-tiny",
        "",
        {"motion": Labels()},
        options={"size": (8, 32, 32), "patch": (2, 4, 4)},
        batch_size=16,
    ),
}


def codebooks(name: str, dim: int = 64) -> Quantizer:
    """The tokenizer's quantizer of a system."""
    return {
        "VQ": lambda: VQ(dim, 512, **PLAIN),
        "RQ uniform": lambda: RVQ(dim, 128, 4, init="uniform", **PLAIN),
        "RQ k-means": lambda: RVQ(dim, 128, 4, **PLAIN),
        "VQ 10 bits": lambda: VQ(dim, 1024, **PLAIN),
        "RQ 10 bits": lambda: RVQ(dim, 32, 2, **PLAIN),
        # the side findings: more and larger codebooks, and codes that learn by gradient
        "RQ 8 codebooks": lambda: RVQ(dim, 128, 8, **PLAIN),
        "RQ 1024 codes": lambda: RVQ(dim, 1024, 4, **PLAIN),
        "RQ gradient": lambda: RVQ(dim, 128, 4, update="gradient", revive="restart"),
        "IVQ": lambda: IVQ(60),
        "LooC": lambda: LooC(dim, 128, 4),
        "FSQ": lambda: FSQ(dim, levels=[8, 5, 5, 5]),
    }[name]()


def module(task: Task, system: str, seed: int, steps: int, iterations: int = 2) -> Any:
    """A training; the seed is that of the weights."""
    torch.manual_seed(seed)
    how = {"betas": (0.9, 0.95), "weight_decay": 1e-4}
    rate = Optimisation(learning_rate=task.learning_rate, warmup_steps=max(1, steps // 15), **how)
    if system == "MAE":
        hidden = 0.8 if task.mask_ratio is None else task.mask_ratio
        return PatchAutoencoderModule(Bridle.preset(task.preset, **task.options), optimisation=rate, mask_ratio=hidden)
    bridle = Bridle.preset(task.preset, codebooks(system.removesuffix(" joint")), **task.options)
    fresh = Optimisation(learning_rate=task.learning_rate, warmup_steps=max(1, steps // 30), **how)
    joint = system.endswith(" joint")
    return BridleModule(
        bridle, encoder=rate, tokenizer=fresh, joint=joint, mask_ratio=task.mask_ratio, iterations=iterations
    )


def data_of(task: Task, root: Path, seed: int) -> Any:
    """Training data without labels."""
    source = str(root / task.source)
    own = {"batch_size": task.batch_size, "valid_split": None, "seed": seed}
    if task.modality == "audio":
        return AudioDataModule(source, crop_seconds=1.0, short="pad", **own)
    if task.modality == "video":
        return VideoDataModule(source, **own)
    size = tuple(task.options.get("size", (32, 32)))
    crops = {"crop": "random", "crop_share": (0.6, 1.0)} if task.crops else {}
    return ImageDataModule(source, size=size, **crops, **own)


def statistics_of(bridle: Bridle, signals: Sequence[Tensor]) -> Tensor:
    """What needs no network.

    Of sound mean and standard deviation of every mel band over time; of an image all pixels at half its size; of video all pixels at a
    quarter of its size and half of its frames.
    """
    if bridle.modality == "image":
        return torch.nn.functional.avg_pool2d(torch.stack(list(signals)), 2).flatten(1)
    if bridle.modality == "video":
        return torch.nn.functional.avg_pool3d(torch.stack(list(signals)), (2, 4, 4)).flatten(1)
    rows = []
    for wave in signals:
        spectrum = bridle.front(wave[None])[0, 0]
        rows.append(torch.cat([spectrum.mean(0), spectrum.std(0)]))
    return torch.stack(rows)


def labelled(task: Task, root: Path, labels: Labels) -> Labelled:
    """The labelled items, without their warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = list_labelled(
            root / task.source, task.modality, label=labels.label, where=labels.where, folds=labels.folds
        )
    kept = [True] * len(data.items)
    if labels.unseen is not None:
        column = [item.labels.get(labels.unseen, "") for item in data.items]
        learned = {text for text, split in zip(column, data.splits, strict=True) if split == "train"}
        kept = [split == "train" or text not in learned for text, split in zip(column, data.splits, strict=True)]
        # there are hardly any unseen speakers of the same languages to choose with: every third of the test speakers chooses
        unseen = sorted(
            {text for text, keep, split in zip(column, kept, data.splits, strict=True) if keep and split != "train"}
        )
        splits = tuple(
            split if split == "train" else "valid" if text in unseen[::3] else "test"
            for text, split in zip(column, data.splits, strict=True)
        )
        data = replace(data, splits=splits)
        train_items = torch.tensor([split == "train" for split in splits])
        common = data.targets[train_items].sum(0) > 0
        tested = torch.tensor([keep and split == "test" for keep, split in zip(kept, splits, strict=True)])
        common &= data.targets[tested].sum(0) > 0  # languages that are both learned and tested
        kept = [keep and bool(row[common].sum()) for keep, row in zip(kept, data.targets, strict=True)]
        classes = tuple(compress(data.classes, common.tolist()))
        data = replace(data, targets=data.targets[:, common], classes=classes)
    if labels.most:
        chosen = [False] * len(kept)
        for split in sorted(set(data.splits)):
            places = [
                place for place, (keep, own) in enumerate(zip(kept, data.splits, strict=True)) if keep and own == split
            ]
            count = min(labels.most, len(places))
            for index in range(count):
                chosen[places[index * len(places) // count]] = True
        kept = [one and keep for one, keep in zip(chosen, kept, strict=True)]
    return replace(
        data,
        items=tuple(compress(data.items, kept)),
        names=tuple(compress(data.names, kept)),
        targets=data.targets[torch.tensor(kept)],
        splits=tuple(compress(data.splits, kept)),
        folds=tuple(compress(data.folds, kept)),
    )


def values(result: Any) -> dict[str, Any]:
    """The scores of a result."""
    scores = {name: [score.value, score.low, score.high] for name, score in result.scores.items()}
    return {**scores, "items": result.items, "classes": len(result.classes)}


def measure(task: Task, root: Path, bridle: Bridle, tune: int, known: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Probe with all labels, and fine-tune for so many epochs with some; what is known is not measured again."""
    ways: dict[str, Callable[[Labelled], Result]] = {"probe": lambda data: probe(bridle, data, **options)}
    if not options:
        ways["over time"] = lambda data: probe(bridle, data, features=partial(pooled_features, over="time"))
    tuned = task.tuned or next(iter(task.labels))
    found: dict[str, Any] = {name: dict(known.get(name, {})) for name in task.labels}
    for name, labels in task.labels.items():
        more = {"finetune": lambda data: finetune(bridle, data, FineTuning(epochs=tune))}
        for way, run_it in {**ways, **(more if tune and name == tuned else {})}.items():
            if way not in found[name]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found[name][way] = values(run_it(labelled(task, root, labels)))
    return found


def run(name: str, root: Path, out: Path, system: str, seed: int, steps: int, tune: int, iterations: int = 2) -> None:
    """Train and measure one system with one seed, as far as that is not done."""
    task, folder = TASKS[name], out / name / f"{system.replace(' ', '-')}-{seed}"
    done = folder / "measured.json"
    known = json.loads(done.read_text()) if done.is_file() else {}
    wanted = ["probe", *([] if system == "statistics" else ["over time", *(["finetune"] if tune else [])])]
    if known and all(f'"{way}"' in done.read_text() for way in wanted):
        return
    if name == "motion":
        root = out / "motion-videos"
        write_motions(root, seed=0)
    torch.manual_seed(seed)
    found: dict[str, Any] = {"system": system, "steps": 0 if system in UNTRAINED else steps}
    if system in UNTRAINED:
        bridle = Bridle.preset(task.preset, **task.options).eval()
        if system == "statistics":
            found["final"] = measure(task, root, bridle, 0, known.get("final", {}), features=statistics_of)
        else:  # fine-tuned, this is training from scratch
            found["final"] = measure(task, root, bridle, tune, known.get("final", {}))
    else:
        # all encoders learn for as many steps: those of BRIDLE in two phases, with a tokenizer phase between, or in one
        trained = module(task, system, seed, steps, iterations)
        total = steps if system == "MAE" or iterations == 1 else round(steps * 290 / 260)
        if not known:
            train(
                trained,
                data_of(task, root, seed),
                folder=str(folder),
                steps=total,
                seed=seed,
                save_every=200,
                progress=False,
            )
        if (folder / "iteration-1").is_dir():
            first = Bridle.from_pretrained(folder / "iteration-1")
            found["iteration 1"] = measure(task, root, first, 0, known.get("iteration 1", {}))
        last = "final" if system == "MAE" or iterations > 1 else "iteration 1"
        found[last] = measure(task, root, Bridle.from_pretrained(folder / "bridle"), tune, known.get(last, {}))
        if (folder / "usage.json").is_file():
            # the last record of each phase
            records = {record["phase"]: record for record in json.loads((folder / "usage.json").read_text())}
            names = ("usage", "entropy_bits", "ecu", "ecu_bridle")
            found["usage"] = {
                phase: [{key: stage[key] for key in names} for stage in record["stages"]]
                for phase, record in records.items()
            }
    write_whole(done, json.dumps(found, indent=1).encode())
    write_whole(out / "tables.md", tables(out).encode())
    print(name, system, seed, json.dumps(found), flush=True)


def tables(out: Path) -> str:
    """Mean and spread over the seeds, and the use of the codebooks, in Markdown."""
    lines = []
    for name in TASKS:
        rows: dict[str, list[dict[str, Any]]] = {}
        for file in sorted((out / name).glob("*/measured.json"), key=_order):
            found = json.loads(file.read_text())
            rows.setdefault(found["system"], []).append(found)
        for label in TASKS[name].labels if rows else ():
            lines += [
                f"## {name}: {label}",
                "",
                "| system | seeds | iteration 1, accuracy | final, accuracy | final, mAP | final, mean over time | fine-tuned, accuracy |",
                "|---|---:|---:|---:|---:|---:|---:|",
            ]
            for system, runs in rows.items():
                cells = [
                    _spread(runs, "iteration 1", label, "probe", "accuracy"),
                    _spread(runs, "final", label, "probe", "accuracy"),
                    _spread(runs, "final", label, "probe", "mAP"),
                    _spread(runs, "final", label, "over time", "accuracy"),
                    _spread(runs, "final", label, "finetune", "accuracy"),
                ]
                lines.append(f"| {NAMES.get(system, system)} | {len(runs)} | {' | '.join(cells)} |")
            lines.append("")
        used = {system: runs[0]["usage"] for system, runs in rows.items() if "usage" in runs[0]}
        if used:
            lines += [
                f"## {name}: use of the codebooks, seed 0",
                "",
                "| system | phase | codes used, % | entropy, bits | ECU | ECU of the published code |",
                "|---|---|---:|---:|---:|---:|",
            ]
        for system, phases in used.items():
            for phase, stages in phases.items():
                cells = [
                    ", ".join(f"{factor * stage[key]:.{digits}f}" for stage in stages)
                    for key, factor, digits in (
                        ("usage", 100, 0),
                        ("entropy_bits", 1, 1),
                        ("ecu", 1, 2),
                        ("ecu_bridle", 1, 3),
                    )
                ]
                lines.append(f"| {system} | {phase} | {' | '.join(cells)} |")
        if used:
            lines.append("")
    return "\n".join(lines)


def _order(file: Path) -> tuple[int, str]:
    known = ["statistics", "random", "MAE", "VQ", "RQ-uniform", "RQ-k-means"]
    system = file.parent.name.rpartition("-")[0]
    return known.index(system) if system in known else len(known), file.parent.name


def _spread(found: list[dict[str, Any]], *path: str) -> str:
    numbers = []
    for one in found:
        value: Any = one
        for part in path:
            value = value.get(part, {}) if isinstance(value, dict) else {}
        if value:
            numbers.append(100 * value[0])
    if not numbers:
        return "–"
    spread = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.1f}{spread}"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", choices=sorted(TASKS), default="sound")
    parser.add_argument("--systems", nargs="+", default=[*UNTRAINED, "MAE", "VQ", "RQ uniform", "RQ k-means"])
    parser.add_argument("--steps", type=int, default=600, help="of the encoder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, choices=(1, 2), default=2, help="of encoder phases")
    parser.add_argument("--tune", type=int, default=0, help="epochs of fine-tuning; 0 does none")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.table:
        for seed in range(asked.seeds):
            for system in asked.systems:
                run(asked.task, asked.data, asked.out, system, seed, asked.steps, asked.tune, asked.iterations)
    print(tables(asked.out))


if __name__ == "__main__":
    main()
