"""What is it worth to spend stages where they help? Files with ``rate_weight`` beside files with a fixed number of stages.

    python benchmarks/stages_by_need.py --speech SPEECH --images PHOTOS [--split test] [--out docs/results/stages-by-need]

The shipped codec and the shipped image tokenizer write whole ``.vqk`` files, once at each number of stages and once at each λ; bytes are
those of all files, headers included. For each file and λ the bytes that a fixed number of stages needs for the same quality of this file
are read off the line between the numbers next to it. A quiet processor core: about five minutes.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.bitstream import thin
from vqkit.code_digest import commit
from vqkit.data import list_clips, list_images, read_audio, read_image
from vqkit.metrics import PESQ, SISDR, ImagePSNR, ImageSSIM, MelDistance
from vqkit.models import ImageTokenizer, load_codec

SOUND_WEIGHTS, IMAGE_WEIGHTS = (0.1, 0.2, 0.5, 1.0, 2.0), (0.003, 0.01, 0.03, 0.1, 0.3)
SOUND_STAGES, IMAGE_STAGES = (1, 2, 3, 4, 5, 6, 8, 10, 12), (1, 2, 3, 4, 6, 8, 12, 16)
Row = dict[str, list[float]]
Code = Callable[[int, int | None, float | None], tuple[int, Tensor]]  # item, stages, λ → bytes, what is decoded


def points(code: Code, references: Sequence[Tensor], metrics: Callable[[], dict[str, Any]], **how: Any) -> Row:
    """Bytes of every file, and its quality."""
    row: Row = {name: [] for name in ("bytes", *metrics())}
    for item, reference in enumerate(references):
        size, made = code(item, how.get("stages"), how.get("rate_weight"))
        row["bytes"].append(float(size))
        for name, metric in metrics().items():
            metric.update(made[None], reference[None])
            row[name].append(float(metric.compute()))
    print(how, {name: round(mean(values), 4) for name, values in row.items()}, file=sys.stderr, flush=True)
    return row | {name: [value] for name, value in how.items()}


def coding(compress: Callable[[int, float | None], bytes], decompress: Callable[[bytes], Tensor]) -> Code:
    """Code items: with all stages once, and then thinned; or at a λ."""
    whole: dict[int, bytes] = {}

    def code(item: int, stages: int | None, rate_weight: float | None) -> tuple[int, Tensor]:
        if stages is None:
            data = compress(item, rate_weight)
        else:
            if item not in whole:
                whole[item] = compress(item, None)
            file = io.BytesIO()
            thin(io.BytesIO(whole[item]), file, stages)
            data = file.getvalue()
        return len(data), decompress(data)

    return code


def sound(folder: str, split: str, count: int) -> dict[str, Any]:
    """Speech by the shipped codec."""
    codec = load_codec()
    clips = [clip for clip in list_clips(folder, split) if 1 <= clip.seconds <= 20]
    clips = clips[:: max(1, len(clips) // count)][:count]
    waves = [read_audio(clip.path, codec.sample_rate, 1).samples for clip in clips]

    def compress(item: int, rate_weight: float | None) -> bytes:
        return codec.compress(waves[item], codec.sample_rate, rate_weight=rate_weight)

    code = coding(compress, lambda data: codec.decompress(data)[0])

    def metrics() -> dict[str, Any]:
        return {"PESQ": PESQ(codec.sample_rate), "SI-SDR": SISDR(), "mel distance": MelDistance(codec.sample_rate)}

    return {
        "items": len(waves),
        "extent": sum(wave.shape[-1] for wave in waves) / codec.sample_rate,
        "fixed": [points(code, waves, metrics, stages=n) for n in SOUND_STAGES],
        "by need": [points(code, waves, metrics, rate_weight=weight) for weight in SOUND_WEIGHTS],
    }


def images(folder: str, split: str, count: int, side: int) -> dict[str, Any]:
    """Photographs by the shipped tokenizer."""
    tokenizer = ImageTokenizer.from_pretrained()
    items = list_images(folder, split)
    pictures = [read_image(item.path) for item in items[:: max(1, len(items) // count)][:count]]
    pictures = [picture[:, :side, :side] for picture in pictures]

    def compress(item: int, rate_weight: float | None) -> bytes:
        return tokenizer.compress(pictures[item], rate_weight=rate_weight)

    code = coding(compress, tokenizer.decompress)

    def metrics() -> dict[str, Any]:
        return {"PSNR": ImagePSNR(), "SSIM": ImageSSIM()}

    return {
        "items": len(pictures),
        "extent": float(sum(picture[0].numel() for picture in pictures)),
        "fixed": [points(code, pictures, metrics, stages=n) for n in IMAGE_STAGES],
        "by need": [points(code, pictures, metrics, rate_weight=weight) for weight in IMAGE_WEIGHTS],
    }


def saved(fixed: Sequence[Row], row: Row, metric: str) -> str:
    """Share of the bytes that fixed numbers of stages need for the same quality of each file; of files whose quality they reach."""
    own = other = 0.0
    for item, value in enumerate(row[metric]):
        curve = sorted((each[metric][item], each["bytes"][item]) for each in fixed)
        quality, size = zip(*curve, strict=True)
        if quality[0] <= value <= quality[-1]:
            own += row["bytes"][item]
            other += float(np.interp(value, quality, size))
    return f"{100 * (1 - own / other):.0f} %" if other else "–"


def table(found: dict[str, Any], unit: str, per_byte: float) -> list[str]:
    """Rows of a medium: the fixed numbers of stages, then each λ with what it saves at equal quality."""
    names = [name for name in found["fixed"][0] if name not in ("stages", "bytes")]
    lines = [
        f"| | {unit} | " + " | ".join(names) + " | " + " | ".join(f"saved at equal {name}" for name in names) + " |"
    ]
    lines.append("| --- |" + " ---: |" * (2 * len(names) + 1))
    for row in [*found["fixed"], *found["by need"]]:
        by_need = "rate_weight" in row
        head = f"λ = {row['rate_weight'][0]:g}" if by_need else f"{row['stages'][0]} stages"
        cells = [f"{sum(row['bytes']) * per_byte:.3f}", *(f"{mean(row[name]):.3f}" for name in names)]
        cells += [saved(found["fixed"], row, name) if by_need else "" for name in names]
        lines.append(f"| {head} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Measure and write results.json and report.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--out", type=Path, default=Path("docs/results/stages-by-need"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    heard, seen = (
        sound(asked.speech, asked.split, asked.clips),
        images(asked.images, asked.split, asked.count, asked.side),
    )
    record = {"commit": commit(), "speech": heard, "images": seen}
    lines = [
        "# Stages by need",
        "",
        f"`python benchmarks/stages_by_need.py --speech SPEECH --images PHOTOS --split {asked.split} --clips {asked.clips}",
        f"--count {asked.count} --side {asked.side}`, commit {record['commit']}. Whole files of the shipped models with their",
        "priors, headers included; saved: of the bytes that a fixed number of stages needs for the same quality of each file.",
        "",
        f"## Speech: {heard['items']} clips, {heard['extent']:.0f} s",
        "",
        *table(heard, "kbit/s", 8 / 1000 / heard["extent"]),
        "",
        f"## Photographs: {seen['items']}, {seen['extent'] / 1e6:.2f} megapixels",
        "",
        *table(seen, "bits a pixel", 8 / seen["extent"]),
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    (asked.out / "report.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
