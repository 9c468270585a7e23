"""Which gradient through a codebook is best? The same small VQ-VAE with each, on scikit-learn's digits.

    python benchmarks/gradients.py [--seeds 0 1 2] [--steps 600] [--out runs/gradients]

Encoder, quantizer and decoder are those of the digits task of benchmarks/defaults.py, from scratch; VQ 256 and RVQ 4×64, codebooks learned
by moving averages and by gradient. Numbers: error of the pixels of held-out images as a share of their variance, mean ± standard deviation
over seeds, and the least share of codes used at any position. One core: half a minute a run.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, pstdev

import torch
from defaults import DIM, Digits, least_usage

import vqkit

GRADIENTS = ["straight-through", "rotation", "nsvq", "diveq", "soft"]


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("runs/gradients"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = Digits()
    systems = {
        "VQ 256": lambda **how: vqkit.VQ(DIM, 256, **how),
        "RVQ 4×64": lambda **how: vqkit.RVQ(DIM, 64, 4, **how),
    }
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    print("| system, update | " + " | ".join(GRADIENTS) + " |\n| --- |" + " ---: |" * len(GRADIENTS))
    for name, make in systems.items():
        for update in ("ema", "gradient"):
            row = results.setdefault(f"{name}, {update}", {})
            for gradient in GRADIENTS:
                for seed in asked.seeds:
                    torch.manual_seed(seed)
                    quantizer = make(update=update, gradient=gradient).train()
                    error, codes = task.run(quantizer, asked.steps)
                    usage = least_usage(codes, quantizer.code_sizes)
                    row.setdefault(gradient, []).append({"error": error, "usage": usage})
            cells = []
            for runs in row.values():
                errors = [run["error"] for run in runs]
                cells.append(f"{mean(errors):.4f} ± {pstdev(errors):.4f}, {min(run['usage'] for run in runs):.0%}")
            print(f"| {name}, {update} | " + " | ".join(cells) + " |", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "gradients.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
