"""Are the quantizers good as a newcomer writes them? Each system as written, and with other ways to start, learn and revive, on four tasks.

    python benchmarks/defaults.py [--seeds 0 1 2] [--steps 600] [--only VQ IVQ] [--out FOLDER]

Tasks: Gaussian vectors; patches of the sample photographs; latents of the shipped codec on the sample clips (in these three the quantizer
learns alone, by Adam on its loss); a small convolutional VQ-VAE on scikit-learn's digits (encoder, quantizer and decoder from scratch),
as PyTorch starts its layers, and with latents of unit scale at the start.
Nothing is tuned for a system. Two numbers on held-out data: the least share of codes used at any position of the code, and the error
(of the vectors, or of the pixels) as a share of the variance. A default is good if it uses ≥ 90 % everywhere and its error is within 5 % of
the best setting's. Two cores: about 25 minutes for one seed.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vqkit
from vqkit.data import list_clips, list_images, read_audio, read_image, sample_folder
from vqkit.models import load_codec

Make = Callable[..., vqkit.Quantizer]

# at dim 48, as the README writes them; codebooks small enough to be filled by the sample data
CODEBOOKS: dict[str, Make] = {
    "VQ 512": lambda dim, **how: vqkit.VQ(dim, 512, **how),
    "RVQ 4×64": lambda dim, **how: vqkit.RVQ(dim, 64, 4, **how),
    "PVQ 4×64": lambda dim, **how: vqkit.PVQ(dim, 64, 4, **how),
    "GroupedRVQ 2×2×64": lambda dim, **how: vqkit.GroupedRVQ(dim, 64, num_groups=2, num_quantizers=2, **how),
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
    "decay 0.97, threshold 0.3": {"decay": 0.97, "restart_threshold": 0.3},
    "gradient, uniform": {"update": "gradient", "init": "uniform", "revive": "none"},
    "gradient, uniform, restart": {"update": "gradient", "init": "uniform", "revive": "restart"},
    "gradient, uniform, cvq": {"update": "gradient", "init": "uniform", "revive": "cvq"},
    "gradient, kmeans": {"update": "gradient", "init": "kmeans", "revive": "none"},
    "gradient, kmeans, restart": {"update": "gradient", "init": "kmeans", "revive": "restart"},
    "gradient, kmeans, cvq": {"update": "gradient", "init": "kmeans", "revive": "cvq"},
    "ema, kmeans": {"update": "ema", "init": "kmeans", "revive": "none"},
    "ema, kmeans, restart": {"update": "ema", "init": "kmeans", "revive": "restart"},
    "ema, uniform, restart": {"update": "ema", "init": "uniform", "revive": "restart"},
}
# the IVQ paper says that its losses keep codes alive: alone, from its start, and with ours
IVQ_SETTINGS: dict[str, dict[str, object]] = {
    "paper (losses 0.1, uniform)": {
        "update": "gradient", "init": "uniform", "revive": "none", "hierarchy_weight": 0.1, "structure_weight": 0.1,
    },
    "losses 0.1, kmeans, restart": {
        "update": "gradient", "init": "kmeans", "revive": "restart", "hierarchy_weight": 0.1, "structure_weight": 0.1,
    },
}  # fmt: skip
DIM, BATCH = 48, 512


class Vectors:
    """A quantizer alone on vectors.

    Args:
        train: to draw batches from.
        test: held out.
    """

    def __init__(self, train: Tensor, test: Tensor) -> None:
        deviation, centre = train.std(), train.mean(dim=0)  # one scale for all dimensions: their balance stays
        self.train, self.test = (train - centre) / deviation, (test - centre) / deviation

    def run(self, quantizer: vqkit.Quantizer, steps: int) -> tuple[float, Tensor]:
        """Error as a share of the variance, and codes, of the held-out vectors after so many steps."""
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
        return float((quantizer.decode(codes) - z).square().mean() / z.var()), codes


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

    def run(self, quantizer: vqkit.Quantizer, steps: int) -> tuple[float, Tensor]:
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
        scale = float(encoder(train[:64]).std()) if self.scaled else 1.0
        for _ in range(steps):
            batch = train[torch.randint(len(train), (64,))]
            out = quantizer(encoder(batch).movedim(1, -1) / scale)
            optimizer.zero_grad()
            ((decoder(out.z_q.movedim(-1, 1)) - batch).square().mean() / 0.1 + out.loss).backward()
            optimizer.step()
        modules.eval()
        with torch.no_grad():
            out = quantizer(encoder(test).movedim(1, -1) / scale)
            return float((decoder(out.z_q.movedim(-1, 1)) - test).square().mean() / test.var()), out.codes


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


def least_usage(codes: Tensor, sizes: tuple[int, ...]) -> float:
    """The smallest share of codes that occur, over the positions of the code; of an alphabet that the vectors cannot fill, of theirs."""
    table = codes.flatten(end_dim=-2)
    return min(1.0, *(len(table[:, i].unique()) / min(size, len(table) // 4) for i, size in enumerate(sizes)))


def measure(task: Vectors | Digits, make: Make, how: dict[str, object], steps: int, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the bad settings say of themselves
        quantizer = make(DIM, **how).train()
        error, codes = task.run(quantizer, steps)
    return {"usage": least_usage(codes, quantizer.code_sizes), "error": error, "seconds": time.perf_counter() - begin}


def table(results: dict[str, dict[str, dict[str, list[dict[str, float]]]]]) -> str:
    """Markdown: a row for each system and setting, usage and error of each task."""
    tasks = list(results)
    lines = ["| system | setting | " + " | ".join(f"{name}: usage, error (× best)" for name in tasks) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(tasks))
    for system in results[tasks[0]]:
        for setting in results[tasks[0]][system]:
            cells = []
            for name in tasks:
                runs = results[name][system]
                error = mean(run["error"] for run in runs[setting])
                best = min(mean(run["error"] for run in other) for other in runs.values())
                usage = min(run["usage"] for run in runs[setting])
                good = usage >= 0.9 and error <= 1.05 * best
                cells.append(
                    f"{'**' if good else ''}{usage:.0%}, {error:.4f} ({error / best:.2f}){'**' if good else ''}"
                )
            lines.append(f"| {system} | {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs="+", default=[], help="systems whose names begin so")
    parser.add_argument("--settings", nargs="+", default=[], help="settings of these names only; all by default")
    parser.add_argument("--tasks", nargs="+", default=["gaussian", "patches", "latents", "digits", "scaled-digits"])
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    known: dict[str, Callable[[], Vectors | Digits]] = {
        "gaussian": gaussian,
        "patches": patches,
        "latents": latents,
        "digits": Digits,
    }
    known["scaled-digits"] = lambda: Digits(scaled=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = {}
    for name in asked.tasks:
        task = known[name]()
        for system, make in {**CODEBOOKS, **GRIDS}.items():
            if asked.only and not any(system.startswith(begin) for begin in asked.only):
                continue
            settings: dict[str, dict[str, object]] = {"as written": {}} if system in GRIDS else {**SETTINGS}
            if system.startswith("IVQ"):
                settings |= IVQ_SETTINGS
            for setting, how in settings.items():
                if asked.settings and setting not in asked.settings:
                    continue
                runs = [measure(task, make, how, asked.steps, seed) for seed in asked.seeds]
                results.setdefault(name, {}).setdefault(system, {})[setting] = runs
                print(
                    name,
                    system,
                    setting,
                    " ".join(f"{r['usage']:.0%} {r['error']:.4f} {r['seconds']:.1f}s" for r in runs),
                    flush=True,
                )
        (asked.out / "defaults.json").write_text(json.dumps(results, indent=1) + "\n")
    (asked.out / "defaults.md").write_text(table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
