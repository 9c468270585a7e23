"""The fused residual search (Triton) beside the plain stages on an accelerator, in one run, as ratios to the matrix products alone.

    python benchmarks/accelerator.py [--device cuda] [--vectors 65536] [--out runs/accelerator]

With --device cpu (TRITON_INTERPRET=1, a few hundred vectors) it only shows that everything runs: an interpreter's times mean nothing.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vqkit
from vqkit.code_digest import commit
from vqkit.quantize.fused import FusedSearch
from vqkit.quantize.search import plain_paths

SYSTEMS: dict[str, Callable[[], vqkit.Quantizer]] = {
    "RVQ 8×1024, 128 dims": lambda: vqkit.RVQ(128, 1024, 8, init="uniform"),
    "RVQ 4×64, 120 dims": lambda: vqkit.RVQ(120, 64, 4, init="uniform"),
    "IVQ yin-yang, 120 dims": lambda: vqkit.IVQ(120, init="uniform"),
}


def least(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The least seconds of a call that has ended on the device."""
    found = float("inf")
    for _ in range(repeats + 1):  # the first compiles
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found = min(found, time.perf_counter() - start)
    return found


def measured(name: str, device: torch.device, vectors: int, repeats: int) -> dict[str, Any]:
    """One system."""
    quantizer = SYSTEMS[name]().eval().to(device)
    for table in quantizer.codebooks:
        table.normal_()
    residual = quantizer.quantizer  # type: ignore[union-attr]
    assert isinstance(residual, vqkit.Residual)
    z = torch.randn(1, vectors, quantizer.dim, device=device)
    pieces = [[book.weight for book in stage._piece_codebooks() or []] for stage in residual.sequence]
    fused = FusedSearch([[table.detach().float() for table in stage] for stage in pieces])
    sizes = [bounds.item() for bounds in fused._bounds.diff()]
    tables = [torch.randn(quantizer.dim, size, device=device) for size in sizes]
    with torch.inference_mode(), plain_paths():
        plain = residual._encode_plain(z, None)[0]
        seconds = {
            "products": least(lambda: [z[0] @ table for table in tables], device, repeats),
            "plain": least(lambda: residual._encode_plain(z, None), device, repeats),
            "fused": least(lambda: fused(z[0]), device, repeats),
        }
        equal = float((fused(z[0]) == plain).double().mean())
    return {
        "vectors": vectors,
        "fused × products": seconds["fused"] / seconds["products"],
        "fused, times faster than plain": seconds["plain"] / seconds["fused"],
        "vectors a second, fused": vectors / seconds["fused"],
        "codes equal to plain": equal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--vectors", type=int, default=65536)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"))
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        parser.error("on the CPU the kernel runs in Triton's interpreter only: set TRITON_INTERPRET=1")
    torch.manual_seed(0)
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter on the CPU"
    results: dict[str, Any] = {"device": named, "torch": torch.__version__, "commit": commit()}
    for name in SYSTEMS:
        results[name] = measured(name, device, asked.vectors, asked.repeats)
        print(name, results[name], flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "accelerator.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
