"""What the integer network of the entropy coder saves beside plain bits, static and context tables, and how fast it is.

    python benchmarks/network_prior.py DATA --model MODEL [--minutes 90] [--test-minutes 12] [--steps 700] [--out FOLDER]

DATA is a folder of sound with splits, of which so many minutes are encoded; or a folder with train and test of plain ``.vqk`` files,
as ``vqkit encode --plain`` makes them. All are fitted to the train split and measured by coding the test split, chunk by chunk as files
have it, at several numbers of stages. Speed is that of one core: seconds of sound that a second of processor time decodes, the check of
each chunk included. With --out the network is written as prior.vqe.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from vqkit.bitstream import EntropyModel, StaticTables, VqkHeader, VqkReader, fit_contexts
from vqkit.bitstream.entropy_model import usual_chunk
from vqkit.bitstream.network_fit import fit_network
from vqkit.data import list_items
from vqkit.models.loading import load_tokenizer
from vqkit.models.prior import code_vectors, codes_of
from vqkit.models.prior_file import read_prior, save_prior
from vqkit.models.prior_signals import sound_signals
from vqkit.models.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--model", required=True, type=Path, help="codec whose codes they are: the network starts from its codebooks"
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="of sound to fit, at most one of each file")
    parser.add_argument("--test-minutes", type=float, default=12.0, help="of sound to measure")
    parser.add_argument("--classes", type=int, default=6, help="of the context tables")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--dim", type=int, default=24)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the network as prior.vqe; one that is there is measured")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = load_tokenizer(asked.model)
    clips, header = (read if any(asked.data.glob("train/**/*.vqk")) else encoded)(asked, model)
    chunk, sizes, rate = usual_chunk(header, header.largest_chunk), header.code_sizes, header.frame_rate or 1.0
    vectors = code_vectors(model.quantizer)
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


def encoded(asked: argparse.Namespace, model: Tokenizer) -> tuple[dict[str, list[Tensor]], VqkHeader]:
    """Codes of both splits, and what a file of them says."""
    items = list_items(asked.data, model.modality)
    found = {
        split: codes_of(model, sound_signals(model, [item for item in items if item.split == split], minutes))
        for split, minutes in (("train", asked.minutes), ("test", asked.test_minutes))
    }
    return {split: [signal.codes for signal in signals] for split, signals in found.items()}, found["test"][0].header


def read(asked: argparse.Namespace, model: Tokenizer) -> tuple[dict[str, list[Tensor]], VqkHeader]:
    """The same of files."""
    readers = {
        split: [VqkReader(path) for path in sorted((asked.data / split).rglob("*.vqk"))] for split in ("train", "test")
    }
    return {split: [reader.read() for reader in some] for split, some in readers.items()}, readers["test"][0].header


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
