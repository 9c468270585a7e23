"""What BRIDLE's pretraining is worth at a size that one core carries: the tables of docs/results/bridle.

  python recipes/bridle_results.py DATA OUT --task events --steps 600 --seeds 3      (a run each; what is done is not done again)
  python recipes/bridle_results.py DATA OUT --table                                   (only the table, of what is there)

DATA is a folder with a manifest: labelled sound of the group ``events`` and unlabelled sound, ``images/*.npz``. Every system has the same
encoder, the same data, seeds 0 to SEEDS − 1 and the same number of encoder steps; a linear probe (vqkit probe) reads the test items once.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit import FSQ, IVQ, RVQ, VQ, LooC, Quantizer
from vqkit.files import write_whole
from vqkit.models import Bridle
from vqkit.pretraining import FineTuning, finetune, list_labelled, probe
from vqkit.training import (
    AudioDataModule,
    BridleModule,
    ImageDataModule,
    Optimisation,
    PatchAutoencoderModule,
    train,
)

PLAIN = {"revive": "restart", "decay": 0.9}  # those of the tiny presets; why stands in docs/results/bridle


@dataclass(frozen=True)
class Task:
    """What is learned from and measured."""

    modality: str
    preset: str
    pretrained_on: str
    labelled: str
    where: str | None
    folds: int
    options: dict[str, Any]
    batch_size: int


TASKS = {
    "events": Task("audio", "audio-tiny", "", "", "group=events", 5, {}, 32),
    "emoji": Task("image", "image-tiny", "images/emoji32.npz", "images/emoji32.npz", None, 0, {}, 64),
    "digits": Task(
        "image",
        "image-tiny",
        "images/mnist10k.npz",
        "images/mnist10k.npz",
        None,
        0,
        {"channels": 1, "size": (28, 28), "statistics": (0.13, 0.31)},
        64,
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
        "IVQ": lambda: IVQ(60),
        "LooC": lambda: LooC(dim, 128, 4),
        "FSQ": lambda: FSQ(dim, levels=[8, 5, 5, 5]),
    }[name]()


def module(task: Task, system: str, seed: int, steps: int) -> Any:
    """A training; the seed is that of the weights."""
    torch.manual_seed(seed)
    how = {"betas": (0.9, 0.95), "weight_decay": 1e-4}
    rate = Optimisation(learning_rate=1e-3, warmup_steps=max(1, steps // 15), **how)
    if system == "MAE":
        return PatchAutoencoderModule(Bridle.preset(task.preset, **task.options), optimisation=rate)
    bridle = Bridle.preset(task.preset, codebooks(system.removesuffix(" joint")), **task.options)
    fresh = Optimisation(learning_rate=1e-3, warmup_steps=max(1, steps // 30), **how)
    return BridleModule(bridle, encoder=rate, tokenizer=fresh, joint=system.endswith(" joint"))


def data_of(task: Task, root: Path, seed: int) -> Any:
    """Training data without labels."""
    source = str(root / task.pretrained_on)
    if task.modality == "audio":
        return AudioDataModule(
            source, crop_seconds=2.0, batch_size=task.batch_size, short="pad", valid_split=None, seed=seed
        )
    size = tuple(task.options.get("size", (32, 32)))
    crops = {"crop": "random", "crop_share": (0.6, 1.0)}
    return ImageDataModule(source, size=size, batch_size=task.batch_size, valid_split=None, seed=seed, **crops)


def statistics_of(bridle: Bridle, signals: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation of every mel band over time, or all pixels of an image at a quarter of its size."""
    if bridle.modality == "image":
        images = torch.stack(list(signals))
        return torch.nn.functional.avg_pool2d(images, 2).flatten(1)
    rows = []
    for wave in signals:
        spectrum = bridle.front(wave[None])[0, 0]
        rows.append(torch.cat([spectrum.mean(0), spectrum.std(0)]))
    return torch.stack(rows)


def labelled(task: Task, root: Path) -> Any:
    """The labelled items, without their warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list_labelled(root / task.labelled, task.modality, where=task.where, folds=task.folds)


def values(result: Any) -> dict[str, Any]:
    """The scores of a result."""
    return {name: [score.value, score.low, score.high] for name, score in result.scores.items()}


def measure(task: Task, root: Path, bridle: Bridle, tune: int) -> dict[str, Any]:
    """Probe, and fine-tune for so many epochs."""
    data = labelled(task, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {"probe": values(probe(bridle, data))}
        if tune:
            found["finetune"] = values(finetune(bridle, data, FineTuning(epochs=tune)))
    return found


def run(name: str, root: Path, out: Path, system: str, seed: int, steps: int, tune: int) -> None:
    """Train and measure one system with one seed, unless that is done."""
    task, folder = TASKS[name], out / name / f"{system.replace(' ', '-')}-{seed}"
    done = folder / "measured.json"
    if done.is_file():
        return
    torch.manual_seed(seed)
    found: dict[str, Any] = {}
    if system in ("statistics", "random"):
        bridle = Bridle.preset(task.preset, **task.options).eval()
        options = {"features": statistics_of} if system == "statistics" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found["final"] = {"probe": values(probe(bridle, labelled(task, root), **options))}
            if tune and system == "random":  # from scratch
                found["final"]["finetune"] = values(finetune(bridle, labelled(task, root), FineTuning(epochs=tune)))
    else:
        # all encoders learn for as many steps: those of BRIDLE in two phases, with a tokenizer phase between
        trained, total = module(task, system, seed, steps), steps if system == "MAE" else round(steps * 290 / 260)
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
            found["iteration 1"] = measure(task, root, Bridle.from_pretrained(folder / "iteration-1"), 0)
        found["final"] = measure(task, root, Bridle.from_pretrained(folder / "bridle"), tune)
        if (folder / "usage.json").is_file():
            last = json.loads((folder / "usage.json").read_text())[-1]
            found["usage"] = [[stage["usage"], stage["ecu"]] for stage in last["stages"]]
    write_whole(done, json.dumps(found, indent=1).encode())
    print(name, system, seed, found, flush=True)


def table(out: Path) -> str:
    """Mean and spread over the seeds, in Markdown."""
    lines = []
    for task in sorted(path.name for path in out.iterdir() if path.is_dir()):
        rows: dict[str, list[dict[str, Any]]] = {}
        for file in sorted((out / task).glob("*/measured.json")):
            rows.setdefault(file.parent.name.rpartition("-")[0], []).append(json.loads(file.read_text()))
        lines += [
            f"## {task}",
            "",
            "| system | seeds | iteration 1, accuracy | final, accuracy | final, mAP | fine-tuned, accuracy |",
        ]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        for system, found in rows.items():
            cells = [
                _spread(found, "iteration 1", "probe", "accuracy"),
                _spread(found, "final", "probe", "accuracy"),
                _spread(found, "final", "probe", "mAP"),
                _spread(found, "final", "finetune", "accuracy"),
            ]
            lines.append(f"| {system} | {len(found)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


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
    parser.add_argument("--task", choices=sorted(TASKS), default="events")
    parser.add_argument(
        "--systems", nargs="+", default=["statistics", "random", "MAE", "VQ", "RQ uniform", "RQ k-means"]
    )
    parser.add_argument("--steps", type=int, default=600, help="of the encoder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", type=int, default=0, help="epochs of fine-tuning; 0 does none")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.table:
        for seed in range(asked.seeds):
            for system in asked.systems:
                run(asked.task, asked.data, asked.out, system, seed, asked.steps, asked.tune)
    print(table(asked.out))


if __name__ == "__main__":
    main()
