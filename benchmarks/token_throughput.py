"""Throughput of ``vqkit tokenize`` beside the loop that a user would write, in one run, in hours of sound per core-hour.

    python benchmarks/token_throughput.py FOLDER [--minutes 10] [--jobs 2] [--batch 8] [--device cuda]

The loop reads a file, encodes it, and saves the codes as ``.npy``, on one thread; it loads the model once, which is not counted. The
command is counted whole: planning, starting processes, loading a model in each, checksums and manifest. Processor time of a process and its
children is what other programs on the machine disturb least; the start, which does not grow with the corpus, is measured apart. With
--batch the command runs once more with files that go through the networks together, and the codes of both runs are compared.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vqkit.data import list_clips, read_audio
from vqkit.models import load_codec
from vqkit.tokenize import TokenDataset


def cpu_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def plain_loop(paths: list[Path], target: Path) -> tuple[float, float]:
    codec = load_codec()
    start, wall = cpu_seconds(resource.RUSAGE_SELF), time.perf_counter()
    for number, path in enumerate(paths):
        wave = read_audio(path, codec.sample_rate, codec.channels).samples
        np.save(target / f"{number}.npy", codec.encode(wave[None])[0].T.numpy().astype(np.int16))
    return cpu_seconds(resource.RUSAGE_SELF) - start, time.perf_counter() - wall


def codes_of(target: Path) -> np.ndarray:
    dataset = TokenDataset(target)
    return np.concatenate([dataset[index].codes.flatten().numpy() for index in range(len(dataset))])


def command(corpus: Path, target: Path, jobs: int, *options: object) -> tuple[float, float, dict]:
    start, wall = cpu_seconds(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-m", "vqkit", "tokenize", corpus, target, "-j", jobs, "--items-per-shard", 64, "--json"]
    words += options
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    spent = cpu_seconds(resource.RUSAGE_CHILDREN) - start
    return spent, time.perf_counter() - wall, json.loads(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of sound")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--batch", type=int, default=1, help="files that go through the networks together, in a second run"
    )
    parser.add_argument("--device", default="cpu", help="of the command")
    asked = parser.parse_args()
    on = ("--device", asked.device)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    chosen, seconds = [], 0.0
    for clip in list_clips(asked.folder):
        if seconds < asked.minutes * 60:
            chosen.append(clip.path)
            seconds += clip.seconds
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for part, paths in (("corpus", chosen), ("one", chosen[:1])):
            (work / part).mkdir()
            for number, path in enumerate(paths):
                shutil.copy(path, work / part / f"{number:05d}{path.suffix}")
        (work / "loop").mkdir()
        loop, loop_wall = plain_loop(chosen, work / "loop")
        start, _, _ = command(work / "one", work / "first", 1, *on)
        whole, wall, totals = command(work / "corpus", work / "tokens", asked.jobs, *on)
        if asked.batch > 1:
            options = (*on, "--batch", asked.batch)
            batched, batched_wall, _ = command(work / "corpus", work / "batched", asked.jobs, *options)
            one, other = codes_of(work / "tokens"), codes_of(work / "batched")
    assert abs(totals["seconds"] - seconds) < 0.01 * seconds, "both have to encode the same sound"
    growing = whole - asked.jobs * start  # of each process its own start
    rows = [
        ("plain loop", loop, loop_wall),
        (f"vqkit tokenize -j {asked.jobs}", whole, wall),
        ("  without the start of its processes", growing, float("nan")),
    ]
    if asked.batch > 1:
        rows += [
            (f"vqkit tokenize -j {asked.jobs} --batch {asked.batch}", batched, batched_wall),
            ("  without the start of its processes", batched - asked.jobs * start, float("nan")),
        ]
    print(f"{len(chosen)} clips, {seconds / 60:.1f} minutes")
    for label, cpu, elapsed in rows:
        print(
            f"{label:<40} {seconds / cpu:7.1f} h of sound per core-hour   {loop / cpu:5.2f} × the loop   wall {elapsed:6.1f} s"
        )
    if asked.batch > 1:
        print(f"{int((one != other).sum())} of {one.size} codes differ between the two runs of the command")


if __name__ == "__main__":
    main()
