"""How many seconds of sound the codec codes in a second of one core, each way.

    python benchmarks/real_time.py [--model CODEC] [--kbps 3] [--goes 5] [--out FILE]

The sound is the sample speech and music, one after the other. Everything runs in one process and one thread, in turns, and the least of
several times counts. Two numbers a row: by the clock, which other programs on the machine slow down, and by the processor's time of this
process. "plain" takes the plain twin of every fast path: of oneDNN's linear layers, of the fast Fourier transform and of the search. Beside
it stand the parameters, and the multiplications and additions (one of each together) that the plain twins make for a second of sound. One
core: about a minute. Prints a table; --out also writes it as JSON.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vqkit.cache import write_json
from vqkit.code_digest import commit
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models import AudioCodec
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.quantize.search import plain_paths


def sample_sound(sample_rate: int, seconds: float) -> torch.Tensor:
    """The sample clips joined: (1, samples)."""
    clips = [clip for group in ("speech", "music") for clip in list_clips(sample_folder(), "test", group)]
    joined = torch.cat([read_audio(clip.path, sample_rate, 1).samples for clip in clips], dim=-1)
    samples = round(seconds * sample_rate)
    return joined.repeat(1, -(-samples // joined.shape[-1]))[:, :samples]


def work(codec: AudioTokenizer, wav: torch.Tensor, kbps: float) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    file = codec.compress(wav, codec.sample_rate, kbps)

    def plain(function: Callable[[], Any]) -> Any:
        with plain_paths():
            return function()

    found: dict[str, Callable[[], Any]] = {}
    efforts = {(0, 0), (1, 0), (codec.level_rounds, 0), (codec.level_rounds, codec.refine_steps), (0, 3), (0, 20)}
    for rounds, steps in sorted(efforts):
        found[f"encode, {rounds} rounds, {steps} steps"] = lambda rounds=rounds, steps=steps: codec.compress(  # type: ignore[misc]
            wav, codec.sample_rate, kbps, level_rounds=rounds, refine_steps=steps
        )
    found["decode"] = lambda: codec.decompress(file)
    for name in list(found):
        found[f"{name}, plain"] = lambda one=found[name]: plain(one)  # type: ignore[misc]
    return found


def measured(tasks: dict[str, Callable[[], Any]], seconds: float, goes: int) -> dict[str, dict[str, float]]:
    """× real time by the clock and by the processor's time, the best of several turns."""
    least = {name: [float("inf"), float("inf")] for name in tasks}
    for _ in range(goes):
        for name, task in tasks.items():
            clock, processor = time.perf_counter(), time.process_time()
            task()
            spent = time.perf_counter() - clock, time.process_time() - processor
            least[name] = [min(pair) for pair in zip(least[name], spent, strict=True)]
    return {name: {"by_clock": seconds / clock, "by_processor": seconds / cpu} for name, (clock, cpu) in least.items()}


@torch.no_grad()
def counted(codec: AudioTokenizer) -> dict[str, float]:
    """Parameters, and multiply–adds a second of sound in millions: of the networks, and of the search of all stages."""
    second = torch.zeros(1, codec.channels, codec.sample_rate)
    frames = round(codec.frame_rate)
    found: dict[str, float] = {"parameters": sum(parameter.numel() for parameter in codec.parameters())}
    tasks = {"encoder": lambda: codec.analyze(second), "decoder": lambda: codec.synthesize(codec.analyze(second))}
    with plain_paths():
        for name, task in tasks.items():
            with FlopCounterMode(display=False) as counter:
                task()
            found[name] = counter.get_total_flops() / 2e6
    found["decoder"] -= found["encoder"]
    found["search"] = codec.quantizer.codebook_numel * frames / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder of save_pretrained; the codec that ships by default")
    parser.add_argument("--kbps", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--goes", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec = AudioCodec.from_pretrained(arguments.model)
    wav = sample_sound(codec.sample_rate, arguments.seconds)
    rows = measured(work(codec, wav, arguments.kbps), arguments.seconds, arguments.goes)
    print("| × real time, one core | by the clock | by the processor's time |\n|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['by_clock']:.1f} | {row['by_processor']:.1f} |")
    cost = counted(codec)
    print(
        ", ".join(f"{name} {value:,.0f}" for name, value in cost.items()) + " (million multiply–adds a second of sound)"
    )
    if arguments.out:
        record = {"commit": commit(), "kbps": arguments.kbps, "seconds": arguments.seconds, "rows": rows, "cost": cost}
        write_json(arguments.out, record)


if __name__ == "__main__":
    main()
