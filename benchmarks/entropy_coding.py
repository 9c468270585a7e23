"""What probabilities save over plain bits, in files as they are written.

    python benchmarks/entropy_coding.py [--data FOLDER] [--codes 64] [--stages 4] [--threads 1]

One core, under a minute with the clips that ship. Fits a codec of MDCT frames (75 frames a second at 24 kHz, RVQ) and the tables of each
coding to the training clips, and writes the held-out ones: chunks of a second, everything a file has included. The tables count as part of
the model.
"""

import argparse
import io
import math
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from vqkit import RVQ
from vqkit.bitstream import EntropyModel, StaticTables, VqkHeader, VqkWriter, fit_contexts, inspect
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models.audio.frames import FrameCodec

SAMPLE_RATE, HOP_SAMPLES = 24000, 320


def waves(folder: Path, split: str) -> dict[str, list[Tensor]]:
    """Clips of at least a second, at most forty seconds of each, by the folder they are in."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for clip in list_clips(folder, split=split):
        if clip.seconds >= 1:
            wave = read_audio(clip.path, SAMPLE_RATE, channels=1).samples[0, : 40 * SAMPLE_RATE]
            found[Path(clip.name).parts[0]].append(wave)
    return found


def size_of(codes: list[Tensor], header: VqkHeader, model: EntropyModel | None) -> tuple[int, int]:
    """Bytes of the codes, and of all files with them."""
    coded = files = 0
    for clip in codes:
        file = io.BytesIO()
        with VqkWriter(file, header, entropy_model=model) as writer:
            writer.write(clip)
        found = inspect(io.BytesIO(file.getvalue()))
        coded, files = coded + sum(found["stage_bytes"]), files + found["file_bytes"]
    return coded, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="folder with train and test clips; those that ship")
    parser.add_argument("--codes", type=int, default=64, help="codebook size")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    folder = arguments.data or sample_folder()
    train = [wave for group in waves(folder, "train").values() for wave in group]
    codec = FrameCodec(RVQ(HOP_SAMPLES, arguments.codes, arguments.stages), sample_rate=SAMPLE_RATE)
    codec.fit(train, max_frames=1 << 14, iterations=10).eval()

    def codes_of(clips: list[Tensor]) -> list[Tensor]:
        return [codec.encode(wave[None, None])[0].T for wave in clips]

    sizes = [arguments.codes] * arguments.stages
    header = VqkHeader(tuple(sizes), sample_rate=SAMPLE_RATE, hop_samples=HOP_SAMPLES, channels=1)
    fitted = codes_of(train)
    models = {"plain": None, "static": StaticTables.fit(sizes, fitted), "context": fit_contexts(sizes, fitted)}
    plain_bits = arguments.stages * math.log2(arguments.codes)
    print(f"{sum(map(len, fitted))} frames to fit, {plain_bits:g} plain bits a frame\n")
    print("| held out | coding | bits a frame | saved | kbit/s of the files | tables, bytes |")
    print("|---|---|---:|---:|---:|---:|")
    for group, clips in waves(folder, "test").items():
        codes = codes_of(clips)
        frames = sum(map(len, codes))
        for name, model in models.items():
            coded, files = size_of(codes, header, model)
            bits, kbps = coded * 8 / frames, files * 8 / frames * SAMPLE_RATE / HOP_SAMPLES / 1000
            tables = len(model.to_bytes()) if model else 0
            print(f"| {group} | {name} | {bits:.2f} | {1 - bits / plain_bits:.1%} | {kbps:.3f} | {tables:,} |")


if __name__ == "__main__":
    main()
