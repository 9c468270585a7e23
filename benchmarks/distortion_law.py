"""The distortion law D ∝ K^(−2/d), measured on Gaussian vectors and on pieces of frames of real sound.

    python benchmarks/distortion_law.py [--out docs/results/primer] [--largest 1024] [--seed 0] [--threads 1]

One core, about three minutes. Writes law.json, law.md and law.png. See vqkit.compare.distortion for the theory and for the two starts.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from sample_frames import frames, pieces
from torch import Tensor

from vqkit import VQ
from vqkit.cache import write_json
from vqkit.compare.distortion import distortion, fitted_exponent, shannon_bound, split_codebooks, zador_distortion
from vqkit.files import write_whole
from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels, png_bytes
from vqkit.report.palette import Look, system_looks

DIMS = (1, 2, 4, 8, 16)
TRAIN, TEST, ITERATIONS = 65536, 32768, 20
GAUSSIAN, SAME, OTHER = "Gaussian", "sound, same clips", "sound, other clips"
STARTS = {"random": "from random vectors", "split": "by splitting"}
THEORY, SHANNON = "Gaussian of this covariance, Zador", "Gaussian of this covariance, Shannon"


def vectors(kind: str, dim: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Vectors to fit, and vectors held out to measure on."""
    if kind == GAUSSIAN:
        x = torch.randn(TRAIN + TEST, dim, generator=torch.Generator().manual_seed(seed))
        return x[:TRAIN], {GAUSSIAN: x[TRAIN:]}
    own = pieces(frames("train"), dim, TRAIN + TEST, seed)
    own = own[torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))]
    return own[:TRAIN], {SAME: own[TRAIN:], OTHER: pieces(frames("test"), dim, TEST, seed)}


def measure(kind: str, dim: int, largest: int, seed: int) -> list[dict]:
    """One curve for each set measured on and each start; D is a share of the set's own energy."""
    train, tests = vectors(kind, dim, seed)
    sizes = [1 << bits for bits in range(1, largest.bit_length())]
    random = [VQ(dim, size).fit(train, max_vectors=len(train), iterations=ITERATIONS, seed=seed) for size in sizes]
    found = {"random": random, "split": split_codebooks(train, largest, iterations=ITERATIONS, seed=seed)}
    curves = []
    for name, x in tests.items():
        covariance = torch.cov(x.T.double()).reshape(dim, dim) / x.square().mean()
        variance = float(torch.linalg.eigvalsh(covariance).log().mean().exp())
        kurtosis = float(((x - x.mean(0)) / x.std(0)).double().pow(4).mean())
        for start, codebooks in found.items():
            values = [distortion(q, x) / float(x.square().mean()) for q in codebooks]
            curves.append(
                {
                    "set": name,
                    "dim": dim,
                    "start": start,
                    "codebook_sizes": sizes,
                    "distortion": values,
                    "distortion_of_the_fit": [distortion(q, train) / float(train.square().mean()) for q in codebooks],
                    "law": -2 / dim,
                    "geometric_variance": variance,
                    "kurtosis": kurtosis,
                    "exponent": fitted_exponent(sizes[-6:], values[-6:]),
                    "times_zador": values[-1] / zador_distortion(sizes[-1], dim, variance),
                }
            )
    return curves


def table(curves: list[dict]) -> str:
    """Markdown: a row for each set and dimension, both starts side by side."""
    sizes = curves[0]["codebook_sizes"]
    lines = [
        f"Exponents: least squares over K = {sizes[-6:][0]} … {sizes[-1]}, on vectors held out from the fit. "
        f"“÷ Zador” is the distortion at K = {sizes[-1]} over that of the best codebook for Gaussian vectors of the same covariance "
        f"(a lower bound of it for d > 2).\n",
        "| vectors | d | kurtosis | law −2/d | exponent, random start | exponent, splitting | ÷ Zador, random start | ÷ Zador, splitting |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one, two in zip(curves[::2], curves[1::2], strict=True):
        lines.append(
            f"| {one['set']} | {one['dim']} | {one['kurtosis']:.3g} | {one['law']:.3f} | {one['exponent']:.3f} | {two['exponent']:.3f} "
            f"| {one['times_zador']:.2f} | {two['times_zador']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def draw(curves: list[dict], path: Path) -> None:
    """A row for each set, a panel for each dimension."""
    names = [GAUSSIAN, SAME, OTHER]
    looks = system_looks([*STARTS.values(), THEORY, SHANNON])
    figure, grid = panels(len(names) * len(DIMS), columns=len(DIMS), width=2.6, height=2.3)
    for place, axes in enumerate(grid):
        name, dim = names[place // len(DIMS)], DIMS[place % len(DIMS)]
        own = [c for c in curves if c["set"] == name and c["dim"] == dim]
        sizes, variance = own[0]["codebook_sizes"], own[0]["geometric_variance"]
        lines = {STARTS[c["start"]]: c["distortion"] for c in own}
        lines[THEORY] = [zador_distortion(size, dim, variance) for size in sizes]
        lines[SHANNON] = [shannon_bound(size, dim, variance) for size in sizes]
        left, bottom = place % len(DIMS) == 0, place >= len(grid) - len(DIMS)
        axis_style(axes, f"{name}, d = {dim}", "codes K" * bottom, "distortion, share of energy" * left)
        _panel(axes, sizes, lines, looks)
    handles = [look_handle(name, look) for name, look in looks.items()]
    for handle in handles:
        handle.set(
            linestyle=_line(str(handle.get_label())), **({"marker": ""} if "Gaussian" in handle.get_label() else {})
        )
    legend_below(figure, handles)
    write_whole(path, png_bytes(figure))


def _line(name: str) -> str:
    return {THEORY: "--", SHANNON: ":"}.get(name, "-")


def _panel(axes: Axes, sizes: Sequence[int], lines: dict[str, list[float]], looks: dict[str, Look]) -> None:
    for name, values in lines.items():
        marker = "" if name in (THEORY, SHANNON) else looks[name].marker
        axes.plot(sizes, values, _line(name), color=looks[name].colour, marker=marker, markersize=3.5, linewidth=1)
    log_axis(axes, "x", sizes)
    log_axis(axes, "y", [value for values in lines.values() for value in values])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/primer"))
    parser.add_argument(
        "--largest", type=int, default=1024, help="largest K, a power of two from 64; time grows with it"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0 leaves it alone")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    start, curves = time.perf_counter(), []
    for kind in (GAUSSIAN, "sound"):
        for dim in DIMS:
            curves += measure(kind, dim, arguments.largest, arguments.seed)
            print(f"{kind}, d = {dim}: exponent {curves[-1]['exponent']:.3f}, law {-2 / dim:.3f}", flush=True)
    curves.sort(
        key=lambda curve: (GAUSSIAN, SAME, OTHER).index(curve["set"])
    )  # stable: dimensions and starts stay in order
    command = "python " + " ".join(sys.argv)
    seconds = round(time.perf_counter() - start, 1)
    write_json(
        arguments.out / "law.json",
        {"command": command, "seconds": seconds, "torch": torch.__version__, "curves": curves},
    )
    text = f"# D ∝ K^(−2/d), measured\n\n`{command}`\n\n{table(curves)}"
    write_whole(arguments.out / "law.md", text.encode())
    draw(curves, arguments.out / "law.png")
    print(f"\n{text}\n{seconds:.0f} s; written to {arguments.out}")


if __name__ == "__main__":
    main()
