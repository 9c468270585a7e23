"""Speed and memory of the nearest-code search and of a training step, as ratios to plain cdist and to vector-quantize-pytorch.

    python benchmarks/search.py [--repeats 5] [--threads 0]

Every ratio compares two things in one run, alternating between them, and takes medians; absolute times are not reported.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from vector_quantize_pytorch import ResidualVQ

from vqkit import RVQ
from vqkit.quantize.search import nearest


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> float:
    """Median time of theirs over median time of ours: above 1 we are faster."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):  # the first round warms up
        for call, kept in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            call()
            kept.append(time.perf_counter() - start)
    return statistics.median(times[1][1:]) / statistics.median(times[0][1:])


def step(quantizer: torch.nn.Module, z: torch.Tensor, loss: Callable[[object], torch.Tensor]) -> None:
    z = z.detach().requires_grad_()
    loss(quantizer(z)).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves it alone")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| what | vectors × codes × dim | times faster |\n|---|---|---|")
    for n, k, d in ((16384, 64, 120), (16384, 1024, 128), (4096, 16384, 32)):
        x, table = torch.randn(n, d), torch.randn(k, d)
        found = ratio(
            lambda x=x, t=table: nearest(x, t), lambda x=x, t=table: torch.cdist(x, t).argmin(1), arguments.repeats
        )
        print(f"| search, against cdist + argmin | {n} × {k} × {d} | {found:.2f} |")
    for k, stages, d in ((64, 4, 120), (1024, 8, 128)):
        z = torch.randn(8, 300, d)
        ours = RVQ(d, k, stages, update="ema", init="uniform").train()
        peer = ResidualVQ(dim=d, codebook_size=k, num_quantizers=stages).train()
        found = ratio(
            lambda q=ours, z=z: step(q, z, lambda out: out.loss + out.z_q.square().mean()),
            lambda q=peer, z=z: step(q, z, lambda out: out[2].sum() + out[0].square().mean()),
            arguments.repeats,
        )
        print(
            f"| RVQ training step with EMA, against vector-quantize-pytorch | 2400 × {stages}·{k} × {d} | {found:.2f} |"
        )


if __name__ == "__main__":
    main()
