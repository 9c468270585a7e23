"""What the integer network of the entropy coder saves beside plain bits, static and context tables, and how fast it is.

    vqkit encode DATA/train runs/tokens/train --plain && vqkit encode DATA/test runs/tokens/test --plain
    python benchmarks/network_prior.py runs/tokens --model vqkit-codec-16khz-2 [--steps 600] [--out FOLDER]

All are fitted to the files of the train split and measured by coding those of the test split, chunk by chunk as files have it, at several
numbers of stages. Speed is that of one core, in seconds of sound a second. With --out the network is written as prior.vqe.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from vqkit.bitstream import EntropyModel, StaticTables, VqkReader, fit_contexts
from vqkit.bitstream.entropy_model import usual_chunk
from vqkit.bitstream.network_fit import fit_network
from vqkit.models.loading import load_tokenizer
from vqkit.models.prior import code_vectors
from vqkit.models.prior_file import read_prior, save_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path, help="folder of plain .vqk files, with train and test in it")
    parser.add_argument("--model", help="whose codes they are: the network starts from its codebooks")
    parser.add_argument("--classes", type=int, default=6, help="of the context tables")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--dim", type=int, default=24)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the network as prior.vqe; one that is there is measured")
    parser.add_argument("--every", type=int, default=1, help="measure every so many test files")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clips: dict[str, list[Tensor]] = {}
    for split in ("train", "test"):
        files = sorted((asked.tokens / split).rglob("*.vqk"))[:: asked.every if split == "test" else 1]
        readers = [VqkReader(path) for path in files]
        if not readers:
            raise SystemExit(f"{asked.tokens / split} holds no .vqk files")
        clips[split] = [reader.read() for reader in readers]
        header = readers[0].header
    chunk, sizes, rate = usual_chunk(header, header.largest_chunk), header.code_sizes, header.frame_rate or 1.0
    vectors = None if asked.model is None else code_vectors(load_tokenizer(asked.model).quantizer)
    begin, kept = time.process_time(), None if asked.out is None else read_prior(asked.out, sizes)
    network = kept or fit_network(
        sizes, clips["train"], chunk_frames=chunk, vectors=vectors, dim=asked.dim, width=asked.width, steps=asked.steps,
        seed=asked.seed,
    )  # fmt: skip
    fitted = time.process_time() - begin
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        save_prior(asked.out, network)
    models: dict[str, EntropyModel] = {
        "static": StaticTables.fit(sizes, clips["train"]),
        "context": fit_contexts(sizes, clips["train"], asked.classes, chunk),
        "network": network,
    }
    frames = {split: sum(map(len, parts)) for split, parts in clips.items()}
    print(f"{frames['train']} frames to fit ({fitted:.0f} s of processor time), {frames['test']} to measure")
    ends = header.stage_ends
    shown = [n for n in (1, 2, 3, 6, len(ends)) if n <= len(ends)]
    print("| coding | " + " | ".join(f"{n} stages, bits a frame" for n in shown) + " | bytes | decodes × real time |")
    print("|---" * (len(shown) + 3) + "|")
    plain = torch.tensor(sizes).log2()
    print("| plain | " + " | ".join(f"{float(plain[: ends[n - 1]].sum()):.2f}" for n in shown) + " | 0 | |")
    for name, model in models.items():
        stages, speed = measured(model, clips["test"], chunk, ends, rate)
        rows = [f"{8 * sum(stages[:n]) / frames['test']:.2f}" for n in shown]
        print(f"| {name} | " + " | ".join(rows) + f" | {len(model.to_bytes()):,} | {speed:.1f} |", flush=True)


def measured(
    model: EntropyModel, clips: list[Tensor], chunk: int, ends: tuple[int, ...], rate: float
) -> tuple[list[int], float]:
    """Bytes of each stage, and how many seconds of sound a second are decoded, as the first sixty chunks tell."""
    sizes, spent, decoded = [0] * len(ends), 0.0, 0
    parts = [part.numpy() for clip in clips for part in clip.split(chunk)]
    for number, part in enumerate(parts):
        for stage, (start, stop) in enumerate(zip((0, *ends), ends, strict=False)):
            data = model.encode(part, start, stop)
            sizes[stage] += len(data)
            if number < 60:
                begin = time.process_time()
                assert (model.decode(data, part[:, :start], stop) == part[:, start:stop]).all()
                spent += time.process_time() - begin
        decoded += len(part) if number < 60 else 0
    return sizes, decoded / rate / spent


if __name__ == "__main__":
    main()
