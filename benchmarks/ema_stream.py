"""A codebook that learns by moving averages from a stream, against k-means that has all vectors at once.

    python benchmarks/ema_stream.py [--out docs/results/primer] [--seeds 2] [--threads 1]

One core, about two minutes. Writes ema.json, ema.md, ema_16.png and ema_320.png.
256 codes for pieces of 16 coefficients, of which the training clips have plenty, and for whole frames of 320, of which they have few. The
stream passes over the training vectors several times in batches: shuffled, or as the clips are (music first, then speech, each clip from
its beginning to its end). Measured on the clips held out.
"""

import argparse
import itertools
import statistics
import sys
import time
from pathlib import Path

import torch
from matplotlib.lines import Line2D
from sample_frames import frames, pieces
from torch import Tensor

from vqkit import VQ
from vqkit.cache import write_json
from vqkit.compare.distortion import distortion
from vqkit.files import write_whole
from vqkit.report.figures import axis_style, legend_below, log_axis, panels, png_bytes
from vqkit.report.palette import COLOURS

CODES = 256
SETTINGS = {16: (1024, 8), 320: (256, 20)}  # dim: batch size, passes
DECAYS = (0.9, 0.99, 0.999)
ORDERS = {"shuffled": "shuffled batches", "clips": "the clips' own order"}
STARTS = {
    "uniform": {"init": "uniform", "revive": "none"},
    "uniform, restart": {"init": "uniform", "revive": "restart", "restart_threshold": 0.1},
    "k-means of the first batch": {"init": "kmeans", "revive": "none"},
    "k-means of the first batch, restart": {"init": "kmeans", "revive": "restart", "restart_threshold": 0.1},
}
BATCH_KMEANS = "batch k-means on everything"
LOOKS = {
    "uniform": {"color": COLOURS[0], "linestyle": "-", "marker": "o", "markersize": 3},
    "uniform, restart": {"color": COLOURS[5], "linestyle": "--", "marker": "o", "markersize": 3},
    "k-means of the first batch": {"color": COLOURS[1], "linestyle": "-", "marker": "^", "markersize": 3},
    "k-means of the first batch, restart": {"color": COLOURS[4], "linestyle": "--", "marker": "^", "markersize": 3},
    BATCH_KMEANS: {"color": COLOURS[6], "linestyle": ":", "marker": "s", "markersize": 3},
}


def stream(train: Tensor, test: Tensor, order: str, decay: float, start: str, seed: int) -> dict:
    """Train on the stream; measure at powers of two of batches and, in the last pass, eight times."""
    torch.manual_seed(seed)
    dim, (size, passes) = train.shape[1], SETTINGS[train.shape[1]]
    q = VQ(dim, CODES, update="ema", decay=decay, **STARTS[start])
    rounds = len(train) // size
    moments = {1 << n for n in range(20)} | {rounds * (passes - 1) + rounds * k // 8 for k in range(1, 9)}
    seen, held_out = [], []
    for step in range(rounds * passes):
        if step % rounds == 0:
            place = torch.randperm(len(train)) if order == "shuffled" else torch.arange(len(train))
        q.train()(train[None, place[step % rounds * size :][:size]])
        if step + 1 in moments:
            seen.append((step + 1) * size)
            held_out.append(distortion(q.eval(), test) / float(test.square().mean()))
    used = len(q.eval().encode(train[None]).unique())
    final = {"on_train": distortion(q, train), "used": used, "worst": max(held_out[-8:]), "final": held_out[-1]}
    return {
        "dim": dim,
        "order": order,
        "decay": decay,
        "start": start,
        "seed": seed,
        "seen": seen,
        "held_out": held_out,
        **final,
    }


def batch(train: Tensor, test: Tensor, seed: int) -> dict:
    """K-means on everything; each iteration sees all vectors once."""
    seen, held_out = [], []
    for iterations in (1, 2, 4, 8, 25):
        q = VQ(train.shape[1], CODES).fit(train, max_vectors=len(train), iterations=iterations, seed=seed)
        seen.append(iterations * len(train))
        held_out.append(distortion(q, test) / float(test.square().mean()))
    used = len(q.encode(train[None]).unique())
    final = {"on_train": distortion(q, train), "used": used, "worst": held_out[-1], "final": held_out[-1]}
    return {
        "dim": train.shape[1],
        "order": "all at once",
        "start": "k-means",
        "seed": seed,
        "seen": seen,
        "held_out": held_out,
        **final,
    }


def mean(runs: list[dict], what: str) -> str:
    """Mean over seeds ± spread."""
    values = [run[what] for run in runs]
    if what == "used":
        return f"{statistics.fmean(values):.0f}"
    return f"{statistics.fmean(values):.4f}" + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else "")


def table(runs: list[dict], reference: list[dict]) -> str:
    """Markdown: a row for each setting."""
    columns = ("final", "worst", "on_train", "used")
    lines = [
        "| order | γ | start | held-out distortion at the end | worst in the last pass | distortion on the stream's vectors | codes used |",
        "|---|---:|---|---:|---:|---:|---:|",
        f"| all at once | | k-means, 25 iterations | {' | '.join(mean(reference, c) for c in columns)} |",
    ]
    for order, decay, start in itertools.product(ORDERS, DECAYS, STARTS):
        own = [r for r in runs if (r["order"], r["decay"], r["start"]) == (order, decay, start)]
        lines.append(f"| {ORDERS[order]} | {decay} | {start} | {' | '.join(mean(own, c) for c in columns)} |")
    return "\n".join(lines) + "\n"


def draw(runs: list[dict], reference: list[dict], path: Path) -> None:
    """A panel for each order and γ: distortion over vectors seen, mean over seeds."""
    figure, grid = panels(len(ORDERS) * len(DECAYS), columns=len(DECAYS), width=3.5, height=2.6, share_y=True)
    values = [value for r in runs + reference for value in r["held_out"]]
    for axes, (order, decay) in zip(grid, itertools.product(ORDERS, DECAYS), strict=True):
        first, last = decay == DECAYS[0], order == list(ORDERS)[-1]
        axis_style(axes, f"{ORDERS[order]}, γ = {decay}", "vectors seen" * last, "held-out distortion" * first)
        for start in STARTS:
            own = [r for r in runs if (r["order"], r["decay"], r["start"]) == (order, decay, start)]
            axes.plot(own[0]["seen"], _mean_curve(own), **LOOKS[start])
        axes.plot(reference[0]["seen"], _mean_curve(reference), **LOOKS[BATCH_KMEANS])
        axes.set_xscale("log")
        log_axis(axes, "y", values)
    legend_below(figure, [Line2D([], [], label=name, **look) for name, look in LOOKS.items()])
    write_whole(path, png_bytes(figure))


def _mean_curve(runs: list[dict]) -> list[float]:
    return torch.tensor([run["held_out"] for run in runs]).mean(dim=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/primer"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0 leaves it alone")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    begin = time.perf_counter()
    seeds = range(arguments.seeds)
    command = "python " + " ".join(sys.argv)
    text = f"# Moving averages on a stream against batch k-means\n\n`{command}`\n\n"
    every = []
    for dim, (size, passes) in SETTINGS.items():
        train, test = frames("train").reshape(-1, dim), pieces(frames("test"), dim, 16384)
        settings = itertools.product(seeds, ORDERS, DECAYS, STARTS)
        runs = [stream(train, test, order, decay, start, seed) for seed, order, decay, start in settings]
        reference = [batch(train, test, seed) for seed in seeds]
        every += runs + reference
        draw(runs, reference, arguments.out / f"ema_{dim}.png")
        text += (
            f"{CODES} codes, d = {dim}, {len(train):,} training vectors, {passes} passes in batches of {size}, mean and spread of seeds "
            f"0 … {seeds[-1]}; distortion as a share of the energy.\n\n{table(runs, reference)}\n"
        )
        print(f"d = {dim}: {time.perf_counter() - begin:.0f} s", flush=True)
    seconds = round(time.perf_counter() - begin, 1)
    write_json(
        arguments.out / "ema.json", {"command": command, "seconds": seconds, "torch": torch.__version__, "runs": every}
    )
    write_whole(arguments.out / "ema.md", (text.rstrip() + "\n").encode())
    print(f"\n{text}\n{seconds:.0f} s; written to {arguments.out}")


if __name__ == "__main__":
    main()
