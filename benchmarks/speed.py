"""Speed and memory of quantizers and coders in one run: ratios to the limit of the machine, to a plain loop and to other libraries.

    python benchmarks/speed.py [--threads 1] [--repeats 5] [--large] [--busy] [--out docs/results/speed]

A limit is what cannot be avoided: the matrix products of a search alone, or one copy of the vectors. Every ratio compares two things
that alternate in this run, by the least time of each; only the machine's own numbers (copy bandwidth, one vector, coders) are absolute.
Codes are compared with the plain twin's, ties counted. With faiss installed (pip install faiss-cpu) it runs with the same codebooks, and
with a C++ compiler the compiled searches (vqkit.quantize.native) have rows of their own.
One core: two minutes, five with --repeats 15 and --large, which goes to a million vectors. --busy takes processor time of the one thread
instead of the clock's, for a machine on which other programs run: they still share caches and memory, so the numbers are still too high.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed_peers import beside_faiss, faiss_residual, memory, training
from timing import CLOCK, Call, fill, least

import vqkit
from vqkit.bitstream import StaticTables, fit_contexts
from vqkit.code_digest import commit
from vqkit.quantize import native

VECTORS = 8192
SYSTEMS: dict[str, tuple[int, Callable[[int], vqkit.Quantizer]]] = {
    "RVQ 8×1024": (128, lambda dim: vqkit.RVQ(dim, 1024, 8, init="uniform")),
    "RVQ 4×64": (120, lambda dim: vqkit.RVQ(dim, 64, 4, init="uniform")),
    "PVQ 4×64": (120, lambda dim: vqkit.PVQ(dim, 64, 4, init="uniform")),
    "IVQ yin-yang": (120, lambda dim: vqkit.IVQ(dim, init="uniform")),
    "IVQ bottom-up": (120, lambda dim: vqkit.IVQ(dim, variant="bottom-up", init="uniform")),
    "LooC 256×4": (128, lambda dim: vqkit.LooC(dim, 256, 4, init="uniform")),
    "FSQ 7·5·5·5·5": (128, lambda dim: vqkit.FSQ(dim, [7, 5, 5, 5, 5])),
    "LFQ 12": (128, lambda dim: vqkit.LFQ(dim, bits=12)),
}
PRODUCTS = {  # (calls, codes, dim) of the matrix products of a search
    "RVQ 8×1024": (8, 1024, 128), "RVQ 4×64": (4, 64, 120), "PVQ 4×64": (4, 64, 30), "LooC 256×4": (32, 256, 4),
}  # fmt: skip
# what grows, from RVQ 8×1024 of 128 dimensions and 2,048 vectors
GROWING = {
    "vectors": (1, 10, 100, 1000, 10_000), "codes": (16, 64, 256, 1024, 4096, 16_384), "dimensions": (8, 32, 128, 512),
    "stages": (1, 2, 4, 8, 16, 32),
}  # fmt: skip
PEER = "training step, times faster than vector-quantize-pytorch"
TABLES = (PEER, "coders", "machine")
GRIDS = {
    "systems": "system",
    "faiss": "beside FAISS with our codebooks",
    "growth": "RVQ 8×1024, dim 128, 2,048 vectors; what grows",
    "memory": "MiB that a call takes at most",
}


def coding(name: str, repeats: int) -> dict[str, Any]:
    """Encoding and decoding of one system beside its limits, its plain twin, and one vector."""
    dim, make = SYSTEMS[name]
    quantizer, z = fill(make(dim)), torch.randn(8, VECTORS // 8, dim)
    codes, copy = quantizer.encode(z), torch.empty_like(z)
    one, one_code = z[:1, :1].contiguous(), codes[:1, :1].contiguous()
    calls: dict[str, Call] = {
        "copy": lambda: copy.copy_(z),
        "encode": lambda: quantizer.encode(z),
        "decode": lambda: quantizer.decode(codes),
        "one encode": lambda: quantizer.encode(one),
        "one decode": lambda: quantizer.decode(one_code),
    }
    if name in PRODUCTS:
        count, size, width = PRODUCTS[name]
        calls["products"] = products(z.reshape(-1, dim)[:, :width].contiguous(), count, size)
    inner = getattr(quantizer, "quantizer", None)
    if isinstance(inner, vqkit.Residual):
        calls["plain decode"] = lambda: inner._decode_plain(codes, inner.num_stages)
        calls["plain encode"] = lambda: inner._encode_plain(z, None)
    seconds = least(calls, repeats)
    row: dict[str, Any] = {"vectors": VECTORS, "dim": dim}
    row["encode × copy"] = seconds["encode"] / seconds["copy"]
    row["decode × copy"] = seconds["decode"] / seconds["copy"]
    row["one vector encoded, ms"] = seconds["one encode"] * 1e3
    row["one vector decoded, ms"] = seconds["one decode"] * 1e3
    if "products" in seconds:
        row["encode × products"] = seconds["encode"] / seconds["products"]
    if "plain encode" in seconds:
        row["encode, times faster than plain"] = seconds["plain encode"] / seconds["encode"]
        row["decode, times faster than plain"] = seconds["plain decode"] / seconds["decode"]
        plain = inner._encode_plain(z, None)  # type: ignore[union-attr]
        row["codes equal to plain"] = float((plain == codes).double().mean())
    return row


def by_size(large: bool, repeats: int) -> dict[str, dict[str, Any]]:
    """RVQ 8×1024 with more and more vectors, codes, dimensions and stages, compiled where that is loaded."""
    found = {}
    for what, sizes in GROWING.items():
        for size in (*sizes, *((100_000, 1_000_000) if large and what == "vectors" else ())):
            shape = {"vectors": 2048, "codes": 1024, "dimensions": 128, "stages": 8, what: size}
            goes = 1 if shape["vectors"] > 10_000 else max(3, repeats // 3)
            found[f"{size:,} {what if size > 1 else what.removesuffix('s')}"] = grown(**shape, repeats=goes)
    return found


def grown(vectors: int, codes: int, dimensions: int, stages: int, repeats: int) -> dict[str, Any]:
    """Encoding and decoding of one such size beside the products, the plain loop, FAISS and a copy."""
    quantizer = fill(vqkit.RVQ(dimensions, codes, stages, init="uniform"))
    inner = quantizer.quantizer
    z = torch.randn(1, vectors, dimensions)
    quantizer.encode(torch.randn(1, 1024, dimensions))  # tables that are prepared once
    found, copy = quantizer.encode(z), torch.empty_like(z)
    calls: dict[str, Call] = {
        "encode": lambda: quantizer.encode(z),
        "decode": lambda: quantizer.decode(found),
        "copy": lambda: copy.copy_(z),
        "products": products(z.view(vectors, dimensions), stages, codes),
    }
    if vectors <= 10_000:
        calls["plain"] = lambda: inner._encode_plain(z, None)
    if vectors <= 10_000 and codes <= 4096:
        try:
            theirs = faiss_residual(quantizer, 1)
            calls["theirs"] = lambda: theirs.compute_codes(z[0].numpy())
        except ImportError:
            pass
    seconds = least(calls, repeats)
    row: dict[str, Any] = {
        "µs a vector": seconds["encode"] / vectors * 1e6,
        "encode × products": seconds["encode"] / seconds["products"],
    }
    for name, key in (("plain", "encode, × faster than plain"), ("theirs", "than FAISS")):
        if name in seconds:
            row[key] = seconds[name] / seconds["encode"]
    row["decode × copy"] = seconds["decode"] / seconds["copy"]
    return row


def products(x: torch.Tensor, count: int, codes: int) -> Call:
    """So many matrix products of the vectors and a table, in chunks whose scores stay in the cache."""
    table = torch.randn(x.shape[1], codes)
    rows = max(1, min(len(x), max(256, (1 << 20) // codes)))
    scores = torch.empty(rows, codes)

    def multiply() -> None:
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            for _ in range(count):
                torch.mm(part, table, out=scores[: len(part)])

    return multiply


def coders(repeats: int) -> dict[str, float]:
    """Range coder and context coder on codes of eight stages of 1024, skewed: megabytes of 16-bit codes a second, and × real time."""
    drawn = np.random.default_rng(0).geometric(0.01, (3000, 8)) % 1024
    codes, sizes = torch.from_numpy(drawn), (1024,) * 8
    found = {}
    for name, model in {
        "static": StaticTables.fit(sizes, [codes]), "context": fit_contexts(sizes, [codes], 4)
    }.items():  # fmt: skip
        data = model.encode(drawn, 0, 8)
        none = np.empty((len(drawn), 0), drawn.dtype)
        seconds = least(
            {
                "encode": lambda m=model: m.encode(drawn, 0, 8),
                "decode": lambda m=model, d=data, n=none: m.decode(d, n, 8),
            },  # type: ignore[misc]
            repeats,
        )
        for way, taken in seconds.items():
            found[f"{name} {way}: MB/s"] = drawn.size * 2 / taken / 1e6
            found[f"{name} {way}: × real time at 75 frames/s"] = len(drawn) / 75 / taken
    return found


def machine(threads: int, busy: bool) -> dict[str, Any]:
    """What it ran on."""
    names = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    x = torch.empty(1 << 24)
    y = torch.empty_like(x)
    seconds = least({"copy": lambda: y.copy_(x)}, 3)["copy"]
    found = {
        "cpu": names[0].split(": ")[1] if names else platform.processor(),
        "cores": len(names), "threads": threads, "torch": torch.__version__,
        "copy GB/s": x.numel() * 8 / seconds / 1e9, "clock": "processor time" if busy else "wall",
        "load average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None, "commit": commit(), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    for package in ("vector-quantize-pytorch", "faiss-cpu"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def compiles() -> bool:
    """Load the compiled searches, where that is possible."""
    try:
        native.load()
    except RuntimeError as error:
        print(error)
        return False
    return True


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.is_file() else ""


def report(results: dict[str, Any]) -> str:
    """Markdown."""
    lines: list[str] = []
    for key, title in GRIDS.items():
        rows = results[key]
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines += ["", f"| {title} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
        lines += [
            f"| {name} | " + " | ".join(_cell(row.get(column)) for column in columns) + " |"
            for name, row in rows.items()
        ]
    for title in TABLES:
        if results.get(title):
            lines += ["", f"| {title} | |", "| --- | ---: |"]
            lines += [f"| {name} | {_cell(value)} |" for name, value in results[title].items()]
    return "\n".join(lines[1:]) + "\n"


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def plot(results: dict[str, Any], path: Path) -> None:
    """Encoding and decoding as multiples of one copy of the vectors."""
    from matplotlib.figure import Figure

    names = list(results["systems"])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for shift, what in ((-0.2, "encode × copy"), (0.2, "decode × copy")):
        values = [results["systems"][name][what] for name in names]
        axes.bar(np.arange(len(names)) + shift, values, 0.38, label=what.replace(" × copy", ""))
    axes.axhline(1, color="gray", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("time, in copies of the vectors")
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    axes.legend()
    figure.savefig(path, dpi=120)


def measure(results: dict[str, Any], suffix: str, repeats: int) -> None:
    """Fill in the rows that there are with and without the compiled library."""
    for name in SYSTEMS:
        results["systems"][name + suffix] = coding(name, repeats)
        print(
            name + suffix, {key: _cell(value) for key, value in results["systems"][name + suffix].items()}, flush=True
        )
    for name, row in beside_faiss(repeats):
        results["faiss"][name + suffix] = row
        print(name + suffix, {key: _cell(value) for key, value in row.items()}, flush=True)
    results[PEER] |= {key + suffix: value for key, value in training(repeats).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="up to a million vectors")
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    parser.add_argument("--busy", action="store_true", help="processor time of one thread instead of the clock's")
    asked = parser.parse_args()
    if asked.busy:
        if asked.threads != 1:
            parser.error(f"--busy counts one thread, got --threads {asked.threads}")
        CLOCK.busy()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    results: dict[str, Any] = {"machine": machine(asked.threads, asked.busy), "systems": {}, "faiss": {}, PEER: {}}
    compiled = compiles()
    with native.without():
        measure(results, "", asked.repeats)
    if compiled:
        measure(results, ", compiled", asked.repeats)
    results["growth"] = by_size(asked.large, asked.repeats)
    results["memory"] = memory(compiled)
    results["coders"] = coders(asked.repeats)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "speed.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (asked.out / "speed.md").write_text(report(results))
    plot(results, asked.out / "speed.png")
    print(report(results))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
