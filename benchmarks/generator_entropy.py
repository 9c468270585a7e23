"""What a token generator could save as a context model of the entropy coder, beside the tables that exist.

    python benchmarks/generator_entropy.py runs/video-to-music/generating-none-0/generator runs/video-to-music/tokens/music

Tables are fitted to the train split and measured by coding the test split; the generator's number is its likelihood, −log2 p summed, which
a range coder reaches to within 0.1 %. It is no coder: floating-point sums differ from machine to machine, and a decoder that rounds one
probability otherwise loses the rest of the chunk. The coder's own network is in whole numbers: benchmarks/network_prior.py.
"""

import sys
from math import log
from pathlib import Path

import torch

from vqkit.bitstream import StaticTables, VqkReader, fit_contexts
from vqkit.models import TokenGenerator
from vqkit.models.generator.packing import StagePacking


def main(generator_at: str, tokens_at: str) -> None:
    generator = TokenGenerator.from_pretrained(generator_at)
    codes, header = {}, None
    for split in ("train", "test"):
        readers = [VqkReader(path) for path in sorted((Path(tokens_at) / split).rglob("*.vqk"))]
        codes[split] = [reader.read() for reader in readers]
        header = readers[0].header
    assert header is not None
    frames, nominal = sum(map(len, codes["test"])), header.rates_kbps[-1] * 1000 / (header.frame_rate or 1)
    print(f"{len(codes['train'])} clips to fit, {len(codes['test'])} clips of {frames} frames to measure")
    print(f"plain bits      {nominal:8.3f} bits a frame")
    chunk = max(1, round(header.frame_rate or 4096))
    static = StaticTables.fit(header.code_sizes, codes["train"])
    contexts = fit_contexts(header.code_sizes, codes["train"], chunk_frames=chunk)
    for name, model, most in (("static tables", static, 1 << 30), ("context tables", contexts, chunk)):
        size = 0
        for clip in codes["test"]:
            for part in clip.split(min(most, len(clip))):
                size += len(model.encode(part.numpy(), 0, header.num_codes))
        print(f"{name:<15} {8 * size / frames:8.3f} bits a frame")
    packing = StagePacking.from_sizes(header.code_sizes, header.codes_per_stage)
    if packing.id_sizes != generator.code_sizes:
        packing = StagePacking.of_codes(header.code_sizes)
    for label, window in (("", generator.window), (", chunks", chunk)):
        nats = 0.0
        with torch.no_grad():
            for clip in codes["test"]:
                for part in packing.pack(clip).split(window):
                    nats += float(generator(part[None]).sum())
        print(f"generator{label:<7} {nats / log(2) / frames:8.3f} bits a frame")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: generator_entropy.py GENERATOR TOKENS, a folder with train and test in it")
    main(*sys.argv[1:])
