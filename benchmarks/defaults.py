"""Are the quantizers good as a newcomer writes them? Each system as written, and with other ways to start, learn and revive, on five tasks.

    python benchmarks/defaults.py [--choose 0 1] [--compare 2 3 4] [--steps 600] [--only VQ IVQ] [--tasks digits] [--out FOLDER]
    python benchmarks/defaults.py --report --out FOLDER

Tasks: Gaussian vectors; patches of the sample photographs; latents of the shipped codec on the sample clips (in these three the quantizer
learns alone, by Adam on its loss); a small convolutional VQ-VAE on scikit-learn's digits (encoder, quantizer and decoder from scratch),
as PyTorch starts its layers, and with latents of unit scale at the start. Nothing is tuned for a system.

A default is good if it uses ≥ 90 % of the codes at every position and its error is within 5 % of the best setting's. The least of
several noisy means is below all of them by chance: so the best setting is chosen on some seeds, and compared with the default on others.

Every task has a file of its own in FOLDER, to which each run is added when it is done: several processes can work on different tasks, and
what is there is not run again. Two cores: about 20 minutes for one seed of everything.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, pstdev, stdev
from typing import Any

import torch
from scipy.stats import t as students_t
from torch import Tensor, nn
from torch.nn import functional as F

import vqkit
from vqkit.cache import write_json
from vqkit.code_digest import commit
from vqkit.compare.codebooks import usage_of
from vqkit.data import list_clips, list_images, read_audio, read_image, sample_folder
from vqkit.files import write_whole
from vqkit.models import load_codec

Make = Callable[..., vqkit.Quantizer]

# at dim 48, as the README writes them; codebooks small enough to be filled by the sample data
CODEBOOKS: dict[str, Make] = {
    "VQ 512": lambda dim, **how: vqkit.VQ(dim, 512, **how),
    "RVQ 4×64": lambda dim, **how: vqkit.RVQ(dim, 64, 4, **how),
    "PVQ 4×64": lambda dim, **how: vqkit.PVQ(dim, 64, 4, **how),
    "GroupedRVQ 2×2×64": lambda dim, **how: vqkit.GroupedRVQ(dim, 64, num_groups=2, num_quantizers=2, **how),
    # the same pieces with a codebook each
    "PVQ 12×64": lambda dim, **how: vqkit.PVQ(dim, 64, 12, **how),
    "LooC 64 (d = 4)": lambda dim, **how: vqkit.LooC(dim, 64, 4, **how),
    "IVQ yin-yang": lambda dim, **how: vqkit.IVQ(dim, **how),
    "IVQ bottom-up": lambda dim, **how: vqkit.IVQ(dim, variant="bottom-up", **how),
    "IVQ top-down": lambda dim, **how: vqkit.IVQ(dim, variant="top-down", **how),
}
GRIDS: dict[str, Make] = {
    "FSQ 7·5·5·5·5": lambda dim: vqkit.FSQ(dim, [7, 5, 5, 5, 5]),
    "LFQ 8 bits": lambda dim: vqkit.LFQ(dim, bits=8),
    "ResidualFSQ 2×5·5·5": lambda dim: vqkit.ResidualFSQ(dim, [5, 5, 5], 2),
    "ResidualLFQ 4×6": lambda dim: vqkit.ResidualLFQ(dim, bits=6, num_quantizers=4),
}
SETTINGS: dict[str, dict[str, object]] = {
    "as written": {},
    "decay 0.99": {"decay": 0.99},
    "decay 0.97, threshold 0.3": {"decay": 0.97, "restart_threshold": 0.3},
    "restart": {"revive": "restart"},
    "restart, decay 0.99, threshold 0.1": {"revive": "restart", "decay": 0.99, "restart_threshold": 0.1},
    "gradient, uniform": {"update": "gradient", "init": "uniform", "revive": "none"},
    "gradient, uniform, restart": {"update": "gradient", "init": "uniform", "revive": "restart"},
    "gradient, uniform, cvq": {"update": "gradient", "init": "uniform", "revive": "cvq"},
    "gradient, kmeans": {"update": "gradient", "init": "kmeans", "revive": "none"},
    "gradient, kmeans, restart": {"update": "gradient", "init": "kmeans", "revive": "restart"},
    "gradient, kmeans, cvq": {"update": "gradient", "init": "kmeans", "revive": "cvq"},
    "ema, kmeans": {"update": "ema", "init": "kmeans", "revive": "none"},
    "ema, uniform, restart": {"update": "ema", "init": "uniform", "revive": "restart"},
}
# the IVQ paper says that its losses keep codes alive: alone, from its start, without them, and with our start
LOSSES = {"hierarchy_weight": 0.1, "structure_weight": 0.1}
IVQ_SETTINGS: dict[str, dict[str, object]] = {
    "paper (losses 0.1, uniform)": {"update": "gradient", "init": "uniform", "revive": "none", **LOSSES},
    "losses 0.1, kmeans, restart": {"update": "gradient", "init": "kmeans", "revive": "restart", **LOSSES},
}
# what it costs to force codes into use that one codebook for all pieces leaves out at some of them
FORCED: dict[str, dict[str, object]] = {
    "threshold 0.5": {"restart_threshold": 0.5},
    "even assignment": {"assignment": "balanced", "temperature": 0.01},
}
DIM, BATCH, IMAGES = 48, 512, 32  # an image has 16 latents: 512 vectors a step in every task


class Vectors:
    """A quantizer alone on vectors.

    Args:
        train: to draw batches from.
        test: held out.
    """

    def __init__(self, train: Tensor, test: Tensor) -> None:
        deviation, centre = train.std(), train.mean(dim=0)  # one scale for all dimensions: their balance stays
        self.train, self.test = (train - centre) / deviation, (test - centre) / deviation

    def run(self, quantizer: vqkit.Quantizer, steps: int) -> tuple[float, Tensor, Tensor]:
        """Train for so many steps.

        Returns:
            Error as a share of the variance, and codes, of the held-out vectors; and codes of vectors that were learned from.
        """
        learned = list(quantizer.parameters())
        optimizer = torch.optim.Adam(learned, 1e-3) if learned else None
        for _ in range(steps):
            z = self.train[torch.randint(len(self.train), (BATCH,))][None]
            out = quantizer(z)
            if optimizer is not None:
                optimizer.zero_grad()
                ((out.z_q - z).square().mean() + out.loss).backward()  # the first term teaches projections
                optimizer.step()
        quantizer.eval()
        z = self.test[None]
        codes = quantizer.encode(z)
        learned_from = quantizer.encode(self.train[None, :20_000])
        return float((quantizer.decode(codes) - z).square().mean() / z.var()), codes, learned_from


class Digits:
    """A VQ-VAE of two strided convolutions on scikit-learn's digits, enlarged to 16×16: 4×4 latents an image.

    Args:
        scaled: divide the latents by their standard deviation in the first batch, which is 0.045: convolutions as PyTorch starts them fade
            what passes through. The codecs and tokenizers of vqkit start so.
    """

    def __init__(self, scaled: bool = False) -> None:
        self.scaled = scaled
        from sklearn.datasets import load_digits

        images = torch.from_numpy(load_digits().images).float()[:, None] / 16
        self.images = F.interpolate(images, scale_factor=2, mode="bilinear")

    def run(self, quantizer: vqkit.Quantizer, steps: int) -> tuple[float, Tensor, Tensor]:
        """As `Vectors.run`, of the pixels of the last 500 images."""
        encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, DIM, 3, 1, 1)
        )
        decoder = nn.Sequential(
            nn.Conv2d(DIM, 64, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )  # fmt: skip
        train, test = self.images[:-500], self.images[-500:]
        modules = nn.ModuleList([encoder, quantizer, decoder])
        optimizer = torch.optim.Adam(modules.parameters(), 1e-3)
        scale = float(encoder(train[:64]).detach().std()) if self.scaled else 1.0
        for _ in range(steps):
            batch = train[torch.randint(len(train), (IMAGES,))]
            out = quantizer(encoder(batch).movedim(1, -1) / scale)
            optimizer.zero_grad()
            ((decoder(out.z_q.movedim(-1, 1)) - batch).square().mean() / 0.1 + out.loss).backward()
            optimizer.step()
        modules.eval()
        with torch.no_grad():
            out = quantizer(encoder(test).movedim(1, -1) / scale)
            error = (decoder(out.z_q.movedim(-1, 1)) - test).square().mean() / test.var()
            return float(error), out.codes, quantizer.encode(encoder(train).movedim(1, -1) / scale)


def gaussian() -> Vectors:
    """Independent components of variance one."""
    return Vectors(torch.randn(100_000, DIM), torch.randn(20_000, DIM))


def patches() -> Vectors:
    """4×4 RGB patches of the sample photographs."""

    def cut(split: str) -> Tensor:
        images = [read_image(item.path) for item in list_images(sample_folder(), split)]
        return torch.cat([F.unfold(image[None], 4, stride=4)[0].T for image in images])

    return Vectors(cut("train"), _some(cut("test"), 20_000))


def latents() -> Vectors:
    """What the shipped codec gives its quantizer for the sample clips."""
    codec = load_codec()

    def made(split: str) -> Tensor:
        sounds = [read_audio(clip.path, codec.sample_rate, 1).samples for clip in list_clips(sample_folder(), split)]
        return torch.cat([codec.analyze(sound[None])[0] for sound in sounds])

    return Vectors(made("train"), _some(made("test"), 20_000))


def _some(vectors: Tensor, most: int) -> Tensor:
    return vectors[torch.randperm(len(vectors))[:most]]


TASKS: dict[str, Callable[[], Vectors | Digits]] = {
    "gaussian": gaussian,
    "patches": patches,
    "latents": latents,
    "digits": Digits,
    "scaled-digits": lambda: Digits(scaled=True),
}
GOOD = 1.05  # error beside the best setting's up to which a default is good


def usage(quantizer: vqkit.Quantizer, codes: Tensor) -> dict[str, float]:
    """Shares of codes that occur: at the least position, and in the least codebook as a whole, all positions that share it together.

    Of an alphabet that the vectors cannot fill, a quarter of their number is all. ``entropy`` is that of the least position, and
    ``mean_entropy`` the mean over positions, in bits as a share of log₂ K.
    """
    found = usage_of(quantizer)
    found.update(codes)
    report = found.compute()
    fillable = codes[..., 0].numel() // 4
    positions = [use.usage * use.codebook_size / min(use.codebook_size, fillable) for use in report.per_piece]
    bits = [use.entropy_bits / math.log2(use.codebook_size) for use in report.per_piece]
    books = [use.usage for use in report.per_stage] if any(found.shared) else positions
    least = {"usage": min(positions), "whole": min(books), "entropy": min(bits)}
    return {**{name: min(1.0, value) for name, value in least.items()}, "mean_entropy": mean(bits)}


def measure(task: Vectors | Digits, make: Make, how: dict[str, object], steps: int, seed: int) -> dict[str, float]:
    """Train and judge one quantizer with one seed."""
    torch.manual_seed(seed)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the bad settings say of themselves
        quantizer = make(DIM, **how).train()
        error, codes, learned_from = task.run(quantizer, steps)
    seconds = time.process_time() - begin
    own = usage(quantizer, learned_from)["usage"]
    return {**usage(quantizer, codes), "own_usage": own, "error": error, "seconds": seconds}


Runs = dict[str, dict[str, dict[str, dict[str, float]]]]
"""What was measured on a task: system → setting → seed → numbers."""


class Record:
    """Runs of one task, in a file that has each of them as soon as it is done.

    Args:
        path: the file; what it has is not run again.
        steps: of training.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self.held: dict[str, Any] = {"commit": "", "steps": steps, "runs": {}}
        if path.exists():
            self.held = json.loads(path.read_text())
            if self.held["steps"] != steps:
                raise ValueError(f"{path} has runs of {self.held['steps']} steps, not {steps}: take another --out")

    def numbers(self, system: str, setting: str, seed: int, run: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Numbers of one run, which is made unless the file has it."""
        runs = self.held["runs"].setdefault(system, {}).setdefault(setting, {})
        if str(seed) not in runs:
            runs[str(seed)] = found = run()
            if commit() not in self.held["commit"].split(", "):  # every commit that a number is from
                self.held["commit"] = ", ".join(filter(None, [self.held["commit"], commit()]))
            write_json(self.path, self.held)
            print(self.path.stem, system, setting, seed, " ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
        return runs[str(seed)]


def settings_of(system: str) -> dict[str, dict[str, object]]:
    """Everything a system is run with, what it is as written first."""
    if system in GRIDS:
        return {"as written": {}}
    found = {**SETTINGS}
    if system.startswith("IVQ"):
        found |= IVQ_SETTINGS
    if system.startswith("LooC"):
        found |= FORCED
    return found


def run_task(task: Vectors | Digits, record: Record, systems: list[str], asked: argparse.Namespace) -> None:
    """As written with all seeds; all settings with the seeds to choose by; the chosen one with the seeds to compare by."""
    makes = {**CODEBOOKS, **GRIDS}

    def run(system: str, setting: str, seed: int) -> float:
        how = settings_of(system)[setting]
        return record.numbers(system, setting, seed, lambda: measure(task, makes[system], how, asked.steps, seed))[
            "error"
        ]

    for system in systems:
        for seed in asked.compare:
            run(system, "as written", seed)
    for system in systems:
        names = [name for name in settings_of(system) if not asked.settings or name in (*asked.settings, "as written")]
        if len(names) > 1:
            errors = {name: mean(run(system, name, seed) for seed in asked.choose) for name in names}
            for seed in asked.compare:
                run(system, min(errors, key=errors.__getitem__), seed)


def ratio(runs: dict[str, dict[str, dict[str, float]]], setting: str, without: list[str]) -> dict[str, float]:
    """Error as written beside that of another setting, over the seeds that both were run with.

    Args:
        runs: of one system and task.
        setting: the other one.
        without: seeds to leave out, because the setting was chosen by them.

    Returns:
        ``ratio``, the geometric mean; ``low`` and ``high``, its 95 % interval by Student's t of the paired logarithms (0 and infinity for
        fewer than two seeds); ``seeds``, their number.
    """
    written = runs["as written"]
    seeds = [seed for seed in written if seed in runs[setting] and seed not in without]
    logs = [math.log(written[seed]["error"] / runs[setting][seed]["error"]) for seed in seeds]
    if not logs:
        return {"seeds": 0}
    centre, half = mean(logs), math.inf
    if len(logs) > 1:
        half = float(students_t.ppf(0.975, len(logs) - 1)) * stdev(logs) / len(logs) ** 0.5
    high = math.exp(centre + half) if half < math.inf else math.inf
    return {"ratio": math.exp(centre), "low": math.exp(centre - half), "high": high, "seeds": len(logs)}


def beside(runs: dict[str, dict[str, dict[str, float]]], choose: list[str]) -> str:
    """Words for a table: the default beside the best setting by the seeds to choose by, or, without such runs, beside every other one."""
    by = {
        name: mean(found[seed]["error"] for seed in choose)
        for name, found in runs.items()
        if choose and all(seed in found for seed in choose)
    }
    if len(by) > 1 and min(by, key=by.__getitem__) == "as written":
        return f"itself the best of {len(by)}"
    names = [min(by, key=by.__getitem__)] if len(by) > 1 else [name for name in runs if name != "as written"]
    cells = []
    for name in names:
        found = ratio(runs, name, choose if len(by) > 1 else [])
        if not found["seeds"]:
            continue
        spread = f", {found['low']:.2f} to {found['high']:.2f}" if found["seeds"] > 1 else ""
        cells.append(f"{name}: {found['ratio']:.2f} ({found['seeds']}{spread}), {judged(found)}")
    return "; ".join(cells)


def judged(found: dict[str, float]) -> str:
    """Whether the default is good, worse, or neither can be said."""
    if found["seeds"] > 1 and found["low"] > GOOD:
        return "worse"
    if found["ratio"] <= GOOD:
        return "good"
    return "not separated"


def report(records: dict[str, dict[str, Any]], choose: list[int]) -> str:
    """Markdown: use and error of every system as written, task by task, and all runs."""
    lines: list[str] = []
    for task, record in records.items():
        lines += [
            f"## {task}",
            "",
            f"Commit {record['commit']}, {record['steps']} steps.",
            "",
            "| system | least position: held out | learned from | codebook as a whole | entropy: least, mean | error (seeds) | "
            "error × another setting's (seeds, 95 %) |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for system, runs in record["runs"].items():
            written = list(runs.get("as written", {}).values())
            if not written:
                continue
            cells = [f"{mean(run[key] for run in written):.0%}" for key in ("usage", "own_usage", "whole")]
            cells.append(", ".join(f"{mean(run[key] for run in written):.2f}" for key in ("entropy", "mean_entropy")))
            errors = [run["error"] for run in written]
            cells.append(f"{mean(errors):.4f} ± {pstdev(errors):.4f} ({len(errors)})")
            lines.append(f"| {system} | {' | '.join(cells)} | {beside(runs, [str(seed) for seed in choose])} |")
        lines += ["", "<details><summary>every run</summary>", ""]
        lines += ["| system | setting | least use | errors (seed) |", "| --- | --- | ---: | --- |"]
        for system, runs in record["runs"].items():
            for setting, by_seed in runs.items():
                if by_seed:
                    found = ", ".join(f"{by_seed[seed]['error']:.4f} ({seed})" for seed in sorted(by_seed, key=int))
                    lines.append(
                        f"| {system} | {setting} | {min(r['usage'] for r in by_seed.values()):.0%} | {found} |"
                    )
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", type=int, nargs="*", default=[0, 1], help="seeds to choose the best setting by")
    parser.add_argument("--compare", type=int, nargs="+", default=[2, 3, 4], help="seeds to compare it by")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs="+", default=[], help="systems whose names begin so")
    parser.add_argument(
        "--settings", nargs="+", default=[], help="these settings and what is as written; all by default"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--report", action="store_true", help="only write tables.md of what is in OUT")
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    systems = [name for name in (*CODEBOOKS, *GRIDS) if not asked.only or name.startswith(tuple(asked.only))]
    for name in [] if asked.report else asked.tasks:
        torch.manual_seed(0)
        run_task(TASKS[name](), Record(asked.out / f"{name}.json", asked.steps), systems, asked)
    paths = {name: asked.out / f"{name}.json" for name in TASKS}
    records = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    write_whole(asked.out / "tables.md", report(records, asked.choose).encode())


if __name__ == "__main__":
    main()
