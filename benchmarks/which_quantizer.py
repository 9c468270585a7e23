"""Which quantizer should I use? Every system of vqkit at 8, 16, 24 and 48 bits a vector, fitted to the same vectors.

    python benchmarks/which_quantizer.py [--seeds 0 1 2] [--bits 8 16 24 48] [--out docs/results/which-quantizer]

Vectors of dim 48: cosine transforms of short frames of the sample clips, latents that the shipped codec gives its quantizer for them, and
4×4 RGB patches of the sample photographs; training split to fit, test split to judge. Each system as a newcomer writes it, `fit` offline:
no encoder adapts, which is the hardest case for grids, whose users train their projections. Numbers: SNR in dB on held-out vectors (mean ±
standard deviation over seeds), effective bits (entropy of each code, summed), time to encode. One quiet core: a quarter of an hour.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import vqkit
from vqkit.code_digest import commit
from vqkit.data import list_clips, list_images, read_audio, read_image, sample_folder
from vqkit.files import write_whole
from vqkit.models import load_codec
from vqkit.report.figures import axis_style, legend_below, look_handle, panels, png_bytes
from vqkit.report.palette import system_looks

DIM = 48
Make = Callable[[], vqkit.Quantizer]
ONE_SEED = ("QINCo",)  # its fit trains networks


def systems(bits: int) -> dict[str, Make]:
    """Systems of about so many bits a vector at dim 48."""
    d, stages = DIM, bits // 8
    made: dict[str, Make] = {
        "RVQ (256 a stage)": lambda: vqkit.RVQ(d, 256, stages),
        "RVQ, beam 8": lambda: vqkit.RVQ(d, 256, stages, beam=8),
        "PVQ (8 bits a piece)": lambda: vqkit.PVQ(d, 256, stages),
        "OPQ: Rotated(PVQ)": lambda: vqkit.Rotated(vqkit.PVQ(d, 256, stages)),
        "LooC (6 segments)": lambda: vqkit.LooC(d, 1 << bits * 8 // d, 8),
        "Rotated(LooC)": lambda: vqkit.Rotated(vqkit.LooC(d, 1 << bits * 8 // d, 8)),
        "ResidualFSQ ([4]·4 a stage)": lambda: vqkit.ResidualFSQ(d, [4] * 4, stages),
        "ResidualLFQ (8 a stage)": lambda: vqkit.ResidualLFQ(d, 8, stages),
        "Projected(8, RVQ)": lambda: vqkit.Projected(d, vqkit.RVQ(8, 256, stages)),
        "SimVQ stages": lambda: vqkit.Residual([vqkit.SimVQ(d, 256, seed=i) for i in range(stages)]),
        "BSQ": lambda: vqkit.BSQ(d, bits),
    }
    if bits == 8:
        made |= {
            "VQ": lambda: vqkit.VQ(d, 256),
            "FSQ [8,6,5]": lambda: vqkit.FSQ(d, [8, 6, 5]),
            "LFQ": lambda: vqkit.LFQ(d, 8),
            "VQ on the sphere of 8": lambda: vqkit.Projected(d, vqkit.VQ(8, 256, unit=True), bound="sphere"),
            "RandomProjection": lambda: vqkit.RandomProjection(d, 256),
        }
    if bits >= 16:
        made["GainShape (VQ 16, RVQ)"] = lambda: vqkit.GainShape(
            vqkit.VQ(1, 16), vqkit.RVQ(d, [16, *[256] * (stages - 1)], stages)
        )
        made |= {
            "GroupedRVQ (2 groups)": lambda: vqkit.GroupedRVQ(d, 16, stages, 2),
            "RVQ, one shared codebook": lambda: vqkit.RVQ(d, 256, stages, shared=True),
            "Sum (VQ and RVQ, 24 dims each)": lambda: vqkit.Sum(d, [vqkit.VQ(24, 256), vqkit.RVQ(24, 256, stages - 1)]),
        }
    if bits in (16, 24):  # its fit takes minutes a stage
        made["QINCo (256 a stage)"] = lambda: vqkit.QINCo(d, 256, stages)
    if bits == 24:
        made |= {
            f"IVQ {variant}": lambda variant=variant: vqkit.IVQ(d, variant=variant)
            for variant in ("yin-yang", "bottom-up", "top-down")
        }
        made["FSQ 2×[8]·8"] = lambda: vqkit.FSQ(d, [8] * 8)
    if bits == 48:
        made["TurboQuant, 1 bit a coordinate (64 with the length)"] = lambda: vqkit.TurboQuant(d, 1)
        made["IVQ yin-yang, two of them"] = lambda: vqkit.Residual([vqkit.IVQ(d), vqkit.IVQ(d)])
    return made


def vectors(split: str) -> dict[str, Tensor]:
    """Vectors of dim 48 by task."""
    codec = load_codec()
    sounds = [read_audio(clip.path, codec.sample_rate, 1).samples for clip in list_clips(sample_folder(), split)]
    latents = torch.cat([codec.analyze(sound[None])[0] for sound in sounds])
    frames = torch.cat([sound[0, : len(sound[0]) // DIM * DIM].reshape(-1, DIM) for sound in sounds])
    basis = torch.linalg.qr(torch.cos(torch.pi / DIM * (torch.arange(DIM)[:, None] + 0.5) * torch.arange(DIM)))[0]
    cosines = frames @ basis
    cosines = cosines[cosines.square().mean(dim=1) > 1e-7]
    images = [read_image(item.path) for item in list_images(sample_folder(), split)]
    pixels = torch.cat([torch.nn.functional.unfold(image[None], 4, stride=4)[0].T for image in images])
    return {"sound, cosine frames": cosines, "codec latents": latents, "image patches": pixels}


def measure(make: Make, train: Tensor, test: Tensor, seed: int) -> dict[str, float]:
    """One fit, judged."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantizer = make()
        begin = time.perf_counter()
        quantizer.fit(train, seed=seed).eval()
    fitted = time.perf_counter() - begin
    begin = time.perf_counter()
    codes = quantizer.encode(test[None])
    seconds = (time.perf_counter() - begin) * 10_000 / len(test)
    left = (quantizer.decode(codes)[0] - test).square().sum() / (test - test.mean(dim=0)).square().sum()
    effective = 0.0
    for column in codes[0].T:
        share = column.unique(return_counts=True)[1] / len(column)
        effective -= float((share * share.log2()).sum())
    return {
        "bits": quantizer.bits_per_vector,
        "snr": float(-10 * left.log10()),
        "effective": effective,
        "fit_seconds": fitted,
        "encode_seconds": seconds,
        "floats": quantizer.codebook_numel,
    }


def main() -> None:
    """Measure everything and write results.json and report.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 16, 24, 48])
    parser.add_argument("--out", type=Path, default=Path("docs/results/which-quantizer"))
    parser.add_argument("--resume", action="store_true", help="go on from the results in OUT")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, test = vectors("train"), vectors("test")
    version, saved = commit(), asked.out / "results.json"
    results: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = {}
    if asked.resume and saved.exists():
        before = json.loads(saved.read_text())
        if before["commit"] != version:  # the codec whose latents are coded may be another one
            raise SystemExit(
                f"{saved} is of commit {before['commit']}, this is {version}: one table, one commit; leave out --resume"
            )
        results = before["results"]
    chosen = {}
    for task in train:
        mean_, scale = train[task].mean(dim=0), train[task].std()
        fit, judged = (train[task] - mean_) / scale, (test[task] - mean_) / scale
        chosen[task] = fit[torch.randperm(len(fit))[:20_000]], judged[torch.randperm(len(judged))[:5000]]
    for number, seed in enumerate(asked.seeds):  # a seed of everything before the next: a long run leaves what it has
        for task, (fit, judged) in chosen.items():
            for bits in asked.bits:
                for name, make in systems(bits).items():
                    runs = results.setdefault(task, {}).setdefault(str(bits), {}).setdefault(name, [])
                    if len(runs) > number or (number and name.startswith(ONE_SEED)):
                        continue
                    runs.append(measure(make, fit, judged, seed))
                    print(task, bits, name, f"{runs[-1]['snr']:.2f} dB", flush=True)
                record = {"commit": version, "seeds": asked.seeds[: number + 1], "results": results}
                write_whole(saved, (json.dumps(record, indent=1) + "\n").encode())
    write_report(asked.out, record)


def write_report(folder: Path, record: dict[str, Any]) -> None:
    """The tables and the plot."""
    write_whole(folder / "report.md", report(record).encode())
    write_whole(folder / "rates.png", png_bytes(figure(record)))


def figure(record: dict[str, Any]) -> Figure:
    """SNR against nominal bits, a panel for each task; systems that are there at every rate but perhaps the first."""
    results = record["results"]
    rates = list(next(iter(results.values())))
    rows = [by_rate[rate] for by_rate in results.values() for rate in rates[-3:]]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    looks = system_looks(names)
    drawing, axes_of = panels(len(results), 3, 4.4, 4.0)
    for axes, (task, by_rate) in zip(axes_of, results.items(), strict=True):
        axis_style(axes, task, "bits a vector", "SNR (dB)")
        for name in names:
            runs = [by_rate[rate][name] for rate in rates if name in by_rate[rate]]
            look = looks[name]
            axes.plot(
                [run[0]["bits"] for run in runs],
                [mean(r["snr"] for r in run) for run in runs],
                color=look.colour, marker=look.marker, linestyle=look.line, linewidth=1.2, markersize=5,
            )  # fmt: skip
    legend_below(drawing, [look_handle(name, looks[name]) for name in names])
    return drawing


def report(record: dict[str, Any]) -> str:
    """Markdown: a table for each rate, systems by their mean SNR; times stay in results.json, since only a quiet machine can judge them."""
    results, seeds = record["results"], " ".join(map(str, record["seeds"]))
    rates = " ".join(next(iter(results.values())))
    lines = [
        "# Which quantizer: every system at equal rate",
        "",
        f"`python benchmarks/which_quantizer.py --seeds {seeds} --bits {rates}`, commit {record['commit']}. SNR in dB on held-out vectors",
        "(mean ± standard deviation over seeds; QINCo has one); bits: nominal, and effective (entropy of the codes) on codec latents;",
        "floats stored in codebooks. `fit` alone, no encoder that adapts. The plot has what is measured at every rate from 16 bits on.",
        "",
        "![SNR against bits](rates.png)",
    ]
    tasks = list(results)
    for bits in results[tasks[0]]:
        lines += ["", f"## {bits} bits a vector", "", "| system | " + " | ".join(tasks) + " | bits | floats |"]
        lines.append("| --- |" + " ---: |" * (len(tasks) + 2))
        names = sorted(
            results[tasks[0]][bits], key=lambda n: -mean(r["snr"] for t in tasks for r in results[t][bits][n])
        )
        for name in names:
            cells = []
            for task in tasks:
                found = [r["snr"] for r in results[task][bits][name]]
                best = max(mean(r["snr"] for r in other) for other in results[task][bits].values())
                cell = f"{mean(found):.2f} ± {pstdev(found):.2f}"
                cells.append(f"**{cell}**" if mean(found) >= best - 0.05 else cell)
            runs = results["codec latents"][bits][name]
            cells.append(f"{runs[0]['bits']:.1f}, {mean(r['effective'] for r in runs):.1f}")
            cells.append(f"{runs[0]['floats']:,.0f}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
