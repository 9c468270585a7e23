"""Training throughput against ranks on gloo, with the bytes that ranks exchange beside the cost model of docs/distributed.md, in one run.

    python benchmarks/ranks.py [--ranks 1 2 4] [--rounds 5] [--steps 5] [--out docs/results/distributed-throughput]

As many processes as the most ranks are started once, of one thread each. Every round trains each quantizer on 1, 2, … of them in turn (DDP
within a process group, codebooks within the same one by `vqkit.ranks.exchange_within`), with the same batch a rank; the others wait. So
what other programs do to the machine they do to all, and ratios are medians over the rounds. More ranks than cores are marked: they show
what an exchange costs and not how training scales. Time in an exchange includes waiting for the slowest rank.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import vqkit
from vqkit.code_digest import commit
from vqkit.models import SpectralCodec
from vqkit.ranks import exchange_within

STAGES, CODES, DIM = 8, 256, 64
BATCH, SECONDS, RATE = 4, 1.0, 16000
CLUSTERS, ROWS = 4 * CODES * (DIM + 2), 4 * CODES * DIM
EXCHANGES = {  # keyword arguments, then collectives and bytes of a step as docs/distributed.md has them, with R ranks
    "gradient": ({"update": "gradient", "revive": "none"}, 1, lambda ranks: 8),
    "ema": ({"update": "ema", "revive": "none"}, 2, lambda ranks: 8 + STAGES * CLUSTERS),
    "ema, restart": (
        {"update": "ema", "revive": "restart"},
        3,
        lambda ranks: 8 + STAGES * (CLUSTERS + 8 * ranks + 8 * CODES + ROWS),
    ),
}


class Exchanges:
    """Counts and times what a process exchanges, the network's gradient and the rest apart."""

    def __init__(self) -> None:
        self.reset()
        self._in_gradient = False

    def reset(self) -> None:
        self.calls = {"gradient": 0, "quantizer": 0}
        self.bytes, self.seconds = dict(self.calls), dict.fromkeys(self.calls, 0.0)

    def watch(self) -> None:
        """Wrap the functions of torch.distributed that vqkit and the hook below call."""
        for name in ("all_reduce", "all_gather", "broadcast"):
            setattr(dist, name, self._counted(getattr(dist, name), 1 if name == "all_gather" else 0))

    def _counted(self, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            part = "gradient" if self._in_gradient else "quantizer"
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[part] += time.perf_counter() - start
            self.calls[part] += 1
            self.bytes[part] += args[place].numel() * args[place].element_size()
            return result

        return counted

    def hook(self, group: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        """DDP's all-reduce, one bucket after the other: nothing overlaps, so that it can be timed."""
        self._in_gradient = True
        dist.all_reduce(bucket.buffer(), group=group)
        self._in_gradient = False
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer() / dist.get_world_size(group))
        return done


class Trained(nn.Module):
    def __init__(self, exchange: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        quantizer = vqkit.RVQ(DIM, CODES, STAGES, init="uniform", **EXCHANGES[exchange][0])  # type: ignore[arg-type]
        sizes = {"encoder_width": 96, "encoder_blocks": 3, "decoder_width": 96, "decoder_blocks": 3}
        self.codec = SpectralCodec(quantizer, sample_rate=RATE, **sizes)  # type: ignore[arg-type]
        self.codec.initialize(0.1 * torch.randn(2, 1, RATE))

    def forward(self, wav: Tensor) -> Tensor:
        out = self.codec(wav)
        return (out.signal - wav).square().mean() + out.quantized.loss


def run(rank: int, world: int, counts: list[int], rounds: int, steps: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    groups = {count: dist.new_group(list(range(count))) for count in counts}
    exchanges = Exchanges()
    exchanges.watch()
    plans = [(exchange, count) for exchange in EXCHANGES for count in counts]
    models: dict[tuple[str, int], tuple[Any, Any]] = {}
    for exchange, count in plans:
        if rank < count:
            with exchange_within(groups[count]):  # it is initialized on the batch of these ranks
                model: Any = Trained(exchange)
            if count > 1:
                model = DistributedDataParallel(model, process_group=groups[count])
                model.register_comm_hook(groups[count], exchanges.hook)
            models[exchange, count] = model, torch.optim.Adam(model.parameters(), 1e-4)
    wav = 0.1 * torch.randn(BATCH, 1, round(SECONDS * RATE), generator=torch.Generator().manual_seed(rank))
    rows: dict[str, list[dict[str, Any]]] = {f"{exchange}|{count}": [] for exchange, count in plans}
    for number in range(rounds + 1):  # the first one warms up
        for exchange, count in plans:
            dist.barrier()
            if rank >= count:
                continue
            with exchange_within(groups[count]):
                row = timed(*models[exchange, count], wav, steps, exchanges)
            if number:
                rows[f"{exchange}|{count}"].append(row)
    dist.barrier()
    if rank == 0:
        Path(out).write_text(json.dumps(rows))
    dist.destroy_process_group()


def timed(model: Any, optimizer: Any, wav: Tensor, steps: int, exchanges: Exchanges) -> dict[str, Any]:
    exchanges.reset()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        optimizer.zero_grad()
        model(wav).backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    return {
        "seconds_a_step": seconds / steps,
        "cpu_seconds_a_step": (time.process_time() - cpu) / steps,
        **{f"{part}_share": exchanges.seconds[part] / seconds for part in exchanges.seconds},
        **{f"{part}_calls": exchanges.calls[part] / steps for part in exchanges.calls},
        **{f"{part}_bytes": exchanges.bytes[part] / steps for part in exchanges.bytes},
    }


def summary(rows: dict[str, list[dict[str, Any]]], counts: list[int], cores: int) -> list[dict[str, Any]]:
    """Medians over the rounds, with ratios to one rank of the same round."""
    table = []
    for exchange, (_, calls, model_bytes) in EXCHANGES.items():
        alone = rows[f"{exchange}|{counts[0]}"]
        for count in counts:
            own = rows[f"{exchange}|{count}"]
            ratios = [one["seconds_a_step"] / row["seconds_a_step"] for one, row in zip(alone, own, strict=True)]
            cpu = [row["cpu_seconds_a_step"] / one["cpu_seconds_a_step"] for one, row in zip(alone, own, strict=True)]
            median = {key: statistics.median(row[key] for row in own) for key in own[0]}
            counted = median["quantizer_bytes"]
            expected = 0 if count == 1 else model_bytes(count)
            assert counted == expected, f"{exchange} on {count} ranks: {counted} bytes, the cost model says {expected}"
            assert median["quantizer_calls"] == (0 if count == 1 else calls)
            table.append(
                {
                    "exchange": exchange,
                    "ranks": count,
                    "more_ranks_than_cores": count > cores,
                    "steps_per_second": 1 / median["seconds_a_step"],
                    "clips_per_second": count * BATCH / median["seconds_a_step"],
                    "speed_against_one_rank": statistics.median(ratios) * count,
                    "speed_range": [min(ratios) * count, max(ratios) * count],
                    "cpu_a_clip_against_one_rank": statistics.median(cpu),
                    **median,
                    "cost_model_bytes": expected,
                }
            )
    return table


def on_paper(gigabytes: float, microseconds: float) -> list[dict[str, Any]]:
    """A step's exchanges by the cost model: a ring for bytes, a tree for the start of each collective."""
    table = []
    for exchange, (_, calls, model_bytes) in EXCHANGES.items():
        for ranks in (8, 64, 1024, 8192):
            size = model_bytes(ranks)
            ring = 2 * (ranks - 1) / ranks * size / (gigabytes * 1e9)
            start = calls * 2 * (ranks - 1).bit_length() * microseconds * 1e-6
            row = {"exchange": exchange, "ranks": ranks, "collectives": calls, "bytes": size}
            table.append(row | {"milliseconds": 1e3 * (ring + start), "of_it_bytes": ring / (ring + start)})
    return table


def report(results: dict[str, Any]) -> str:
    lines = [
        "# Throughput against ranks",
        "",
        f"`{results['command']}`, commit {results['commit']}; {results['machine']}.",
        "",
        f"A SpectralCodec with RVQ {STAGES}×{CODES} of {DIM} dimensions, {results['parameters']:,} parameters, trained on {BATCH} clips of "
        f"{SECONDS:g} s a rank and step, on gloo over loopback, one thread a process. Medians of {results['rounds']} rounds of "
        f"{results['steps']} steps, in which all rows alternate; in brackets the range of the rounds.",
        "",
        "| codebooks | ranks | speed, × one rank | processor time a clip, × one rank | steps/s | clips/s "
        "| time in the quantizer's exchanges | in the gradient's | collectives | counted bytes | cost model |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["measured"]:
        low, high = row["speed_range"]
        ranks = f"{row['ranks']} (more than cores)" if row["more_ranks_than_cores"] else str(row["ranks"])
        lines.append(
            f"| {row['exchange']} | {ranks} | {row['speed_against_one_rank']:.2f} ({low:.2f} … {high:.2f}) "
            f"| {row['cpu_a_clip_against_one_rank']:.2f} | {row['steps_per_second']:.2f} "
            f"| {row['clips_per_second']:.1f} | {row['quantizer_share']:.1%} | {row['gradient_share']:.1%} | {row['quantizer_calls']:.0f} "
            f"| {row['quantizer_bytes']:,.0f} | {row['cost_model_bytes']:,} |"
        )
    lines += [
        "",
        "Speed counts clips: N ranks that cost nothing extra would be N × one rank. What to keep in mind:",
        "",
        f"- {results['cores']} cores, shared with other programs (load {results['load']:.1f} at the end): where more programs run than "
        "there are cores, more ranks also get more of the machine, so the speed says little; the processor time that rank 0 needs for a "
        "clip says what ranks cost beside their own work;",
        "- rows with more ranks than cores show that training works there, and what waiting costs;",
        "- time in an exchange includes waiting for the slowest rank;",
        "- the gradient's all-reduce does not overlap with the backward pass here, so that it can be timed; DDP overlaps it;",
        "- bytes are what each rank gives to a collective. They equal the cost model of [distributed.md](../../distributed.md) exactly; "
        "the benchmark fails where they do not. The k-means of a first step is counted in the tests.",
        "",
        "## On paper, for many ranks",
        "",
        f"The same step by the cost model: bytes through a ring of {results['gigabytes']:g} GB/s a link, and for the start of each "
        f"collective a tree of {results['microseconds']:g} µs a hop, there and back. These two numbers are assumptions (--gigabytes, "
        "--microseconds), the bytes are not.",
        "",
        "| codebooks | ranks | collectives | bytes a rank | ms a step | of it for bytes |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["on_paper"]:
        lines.append(
            f"| {row['exchange']} | {row['ranks']:,} | {row['collectives']} | {row['bytes']:,} | {row['milliseconds']:.3f} | "
            f"{row['of_it_bytes']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--ranks", type=int, nargs="+", default=[1, 2, 4], help="the first is what the others are compared with"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of a row in a round")
    parser.add_argument("--gigabytes", type=float, default=25.0, help="a second and link, for the numbers on paper")
    parser.add_argument("--microseconds", type=float, default=5.0, help="a hop, for the numbers on paper")
    parser.add_argument("--out", type=Path, default=Path("runs/ranks"))
    asked = parser.parse_args()
    if asked.ranks[0] != 1:
        parser.error(f"--ranks begins with {asked.ranks[0]}, it must begin with 1: all ratios are to one rank")
    os.environ["OMP_NUM_THREADS"] = "1"
    world, cores = max(asked.ranks), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/rows.json"
        arguments = (world, asked.ranks, asked.rounds, asked.steps, f"{folder}/store", out)
        torch.multiprocessing.spawn(run, arguments, nprocs=world)  # type: ignore[no-untyped-call]
        rows = json.loads(Path(out).read_text())
    words = f"--ranks {' '.join(map(str, asked.ranks))} --rounds {asked.rounds} --steps {asked.steps}"
    results = {
        "command": f"python benchmarks/ranks.py {words}",
        "commit": commit(),
        "machine": f"{platform.machine()}, {cores} cores, torch {torch.__version__}",
        "cores": cores,
        "load": os.getloadavg()[0],
        "rounds": asked.rounds,
        "steps": asked.steps,
        "gigabytes": asked.gigabytes,
        "microseconds": asked.microseconds,
        "parameters": sum(parameter.numel() for parameter in Trained("gradient").parameters()),
        "measured": summary(rows, asked.ranks, cores),
        "on_paper": on_paper(asked.gigabytes, asked.microseconds),
        "rows": rows,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (asked.out / "README.md").write_text(report(results))
    print(report(results))


if __name__ == "__main__":
    main()
