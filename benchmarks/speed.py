"""Speed and memory of quantizers and coders in one run: ratios to the limit of the machine, to a plain loop and to other libraries.

    python benchmarks/speed.py [--threads 1] [--repeats 5] [--large] [--busy] [--out docs/results/speed]

A limit is what cannot be avoided: the matrix products of a search alone, or one copy of the vectors. Every ratio compares two things
that alternate in this run, by the least time of each; only the machine's own numbers (copy bandwidth, one vector, coders) are absolute.
Codes are compared with the plain twin's, ties counted. With faiss installed (pip install faiss-cpu) it runs with the same codebooks, and
with a C++ compiler the compiled searches (vqkit.quantize.native) have rows of their own.
One core: three minutes; --large goes to a million vectors. --busy takes processor time of the one thread instead of the clock's, for a
machine on which other programs run: they still share caches and memory, so the numbers are still too high.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vqkit
from vqkit.bitstream import StaticTables, fit_contexts
from vqkit.code_digest import commit
from vqkit.quantize import native

Call = Callable[[], object]
VECTORS = 8192
clock = time.perf_counter
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
COMPILED = tuple(SYSTEMS)
PRODUCTS = {  # (calls, codes, dim) of the matrix products of a search
    "RVQ 8×1024": (8, 1024, 128), "RVQ 4×64": (4, 64, 120), "PVQ 4×64": (4, 64, 30), "LooC 256×4": (32, 256, 4),
}  # fmt: skip
PEER = "training step, times faster than vector-quantize-pytorch"
SIZES = "microseconds a vector, RVQ 8×1024, compiled where possible"
TABLES = ("faiss", PEER, SIZES, "memory", "coders", "machine")
MEMORY = """
import resource, torch
from {module} import {name} as Made
torch.set_grad_enabled(False)
quantizer = Made({arguments}).eval()
z = torch.randn(1, 4096, 32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
quantizer(z)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def least(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """The least seconds of each of several calls that alternate; what takes microseconds is called often."""
    found: dict[str, float] = {}
    often: dict[str, int] = {}
    for name, call in calls.items():
        call()
        start = clock()
        call()
        often[name] = max(1, min(200, round(0.005 / max(clock() - start, 1e-6))))
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            for _ in range(often[name]):
                call()
            taken = (clock() - start) / often[name]
            found[name] = min(found.get(name, taken), taken)
    return found


def fill(quantizer: vqkit.Quantizer) -> vqkit.Quantizer:
    """Codebooks of noise."""
    for table in quantizer.codebooks:
        table.normal_()
    return quantizer.eval()


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
        x, table = z.reshape(-1, dim)[:, :width].contiguous(), torch.randn(width, size)
        scores = torch.empty(len(x), size)

        def products() -> None:
            for _ in range(count):
                torch.mm(x, table, out=scores)

        calls["products"] = products
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


def beside_faiss(repeats: int) -> dict[str, Any]:
    """FAISS's greedy residual quantizer with the codebooks of ours; nothing without faiss."""
    try:
        import faiss
    except ImportError:
        return {}
    faiss.omp_set_num_threads(torch.get_num_threads())
    dim, make = SYSTEMS["RVQ 8×1024"]
    quantizer, z = fill(make(dim)), torch.randn(1, VECTORS // 4, dim)
    theirs = faiss.ResidualQuantizer(dim, 8, 10)
    theirs.max_beam_size = 1
    faiss.copy_array_to_vector(torch.cat(quantizer.codebooks).flatten().numpy(), theirs.codebooks)
    theirs.is_trained = True
    theirs.compute_codebook_tables()
    x, codes = z[0].numpy(), quantizer.encode(z)
    packed = theirs.compute_codes(x)
    seconds = least(
        {
            "encode": lambda: quantizer.encode(z), "their encode": lambda: theirs.compute_codes(x),
            "decode": lambda: quantizer.decode(codes), "their decode": lambda: theirs.decode(packed),
        },
        repeats,
    )  # fmt: skip
    equal = np.abs(theirs.decode(packed) - quantizer.decode(codes)[0].numpy()).max(axis=1) < 1e-3
    return {
        "encode, times faster than FAISS": seconds["their encode"] / seconds["encode"],
        "decode, times faster than FAISS": seconds["their decode"] / seconds["decode"],
        "vectors equal to FAISS's": float(equal.mean()),
    }


def training(repeats: int) -> dict[str, float]:
    """Training steps with EMA, times faster than vector-quantize-pytorch."""
    from vector_quantize_pytorch import ResidualVQ

    found = {}
    for size, stages, dim in ((64, 4, 120), (1024, 8, 128)):
        z = torch.randn(8, 300, dim)
        ours = vqkit.RVQ(dim, size, stages, update="ema", init="uniform", revive="none").train()
        peer = ResidualVQ(dim=dim, codebook_size=size, num_quantizers=stages).train()

        def step(loss: Callable[[Tensor], Tensor], z: Tensor = z) -> None:
            with torch.enable_grad():
                loss(z.detach().requires_grad_()).backward()

        def of_ours(z: Tensor, q: vqkit.Quantizer = ours) -> Tensor:
            out = q(z)
            return out.loss + out.z_q.square().mean()

        def of_peer(z: Tensor, q: Any = peer) -> Tensor:
            out = q(z)
            return out[2].sum() + out[0].square().mean()

        seconds = least({"ours": lambda: step(of_ours), "theirs": lambda: step(of_peer)}, repeats)
        found[f"RVQ {stages}×{size}"] = seconds["theirs"] / seconds["ours"]
    return found


def by_size(large: bool, repeats: int) -> dict[str, float]:
    """Microseconds a vector of RVQ 8×1024 from one vector to many."""
    dim, make = SYSTEMS["RVQ 8×1024"]
    quantizer = fill(make(dim))
    found = {}
    for count in (1, 10, 100, 1000, 10_000, *((100_000, 1_000_000) if large else ())):
        z = torch.randn(1, count, dim)
        calls: dict[str, Call] = {"encode": lambda z=z: quantizer.encode(z)}  # type: ignore[misc]
        found[str(count)] = least(calls, 1 if count > 10_000 else repeats)["encode"] / count * 1e6
    return found


def memory() -> dict[str, float]:
    """Growth of peak memory while 4,096 vectors are quantized, beyond what imports and tables took; each in a process of its own."""
    systems = {
        "ours": ("vqkit", "VQ", "32, 65536"),
        "theirs": ("vector_quantize_pytorch", "VectorQuantize", "dim=32, codebook_size=65536"),
    }
    kilobytes = {}
    for name, (module, made, arguments) in systems.items():
        script = MEMORY.format(module=module, name=made, arguments=arguments)
        kilobytes[name] = int(subprocess.check_output([sys.executable, "-W", "ignore", "-c", script]))
    return {f"VQ of 65,536 codes, 4,096 vectors: {name}, MiB": value / 1024 for name, value in kilobytes.items()}


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
    columns = list(dict.fromkeys(key for row in results["systems"].values() for key in row))
    lines = ["| system | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in results["systems"].items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    for title in TABLES:
        if results.get(title):
            lines += ["", f"| {title} | |", "| --- | ---: |"]
            lines += [f"| {name} | {_cell(value)} |" for name, value in results[title].items()]
    return "\n".join(lines) + "\n"


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
        global clock
        clock = time.thread_time
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    results: dict[str, Any] = {"machine": machine(asked.threads, asked.busy), "systems": {}}
    compiled = compiles()
    with native.without():
        for name in SYSTEMS:
            results["systems"][name] = coding(name, asked.repeats)
            print(name, {key: _cell(value) for key, value in results["systems"][name].items()}, flush=True)
        results["faiss"] = beside_faiss(asked.repeats)
        results[PEER] = training(asked.repeats)
    if compiled:
        for name in COMPILED:
            row = results["systems"][f"{name}, compiled"] = coding(name, asked.repeats)
            print(f"{name}, compiled", {key: _cell(value) for key, value in row.items()}, flush=True)
        results["faiss"] |= {f"compiled: {key}": value for key, value in beside_faiss(asked.repeats).items()}
        results[PEER] |= {f"{key}, compiled": value for key, value in training(asked.repeats).items()}
    results[SIZES] = by_size(asked.large, asked.repeats)
    results["memory"] = memory()
    results["coders"] = coders(asked.repeats)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "speed.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (asked.out / "speed.md").write_text(report(results))
    plot(results, asked.out / "speed.png")
    print(report(results))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
