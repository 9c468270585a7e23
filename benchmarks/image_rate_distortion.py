"""Distortion against measured rate: an image tokenizer of vqkit beside JPEG, WebP, AVIF and JPEG 2000 at the same bytes, image by image.

    python benchmarks/image_rate_distortion.py --images DATA --split test --size 512 --count 50 --out docs/results/shipped-image

DATA: what vqkit.data.list_images takes. Each image is made at most --size long (or cut to its middle with --crop) and rounded to 8 bits.
The tokenizer (--model, by default the one that ships) writes a real .vqk file at each number of stages, or with each second step where
its quantizer has steps; every other codec gets the highest quality whose file is not larger than that one. Where even its smallest file
is larger, that is taken, and counted in the table. Writes results.json, report.md and rate_distortion.png. --fast leaves the perceptual
distance out, which needs a network; --frechet adds the Fréchet distance, which says something for hundreds of images only, and keeps two
covariances of 13 MB for each codec and rate.
"""

import argparse
import io
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image, features
from torch import Tensor
from torch.nn import functional

from vqkit.bitstream import inspect
from vqkit.data import ImageItem, list_images, read_image
from vqkit.data.image.sets.packed import collection_pixels
from vqkit.files import write_whole
from vqkit.metrics import image_metrics
from vqkit.models import ImageTokenizer
from vqkit.models.image.compression import decode_image, encode_image
from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels, png_bytes
from vqkit.report.palette import system_looks

OWN = "vqkit"
READING = """Each block has one number of the tokenizer's stages, or one of its steps; the other codecs have the largest file that is not
larger than the tokenizer's of the same image. † counts images where even their smallest file is larger, which is then taken. Bytes are
those of whole files; JPEG's are the smaller of progressive and baseline with optimized tables. Headers (JPEG's tables and all) are shown
where known, because at such sizes they weigh.
"""


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The smaller of a progressive and a baseline file, both with optimized tables."""
    options = {"quality": quality, "optimize": True}
    return min((saved(image, "JPEG", progressive=how, **options) for how in (True, False)), key=len)


def jpeg2000(image: Image.Image, quality: int) -> bytes:
    """Quality 100 … 0 as a compression ratio of 2 … 2000."""
    return saved(
        image, "JPEG2000", quality_mode="rates", quality_layers=[2 * 1000 ** (1 - quality / 100)], irreversible=True
    )


CODECS: dict[str, Callable[[Image.Image, int], bytes]] = {"JPEG": jpeg}
if features.check("webp"):
    CODECS["WebP"] = lambda image, quality: saved(image, "WEBP", quality=quality, method=6)
if features.check("avif"):
    CODECS["AVIF"] = lambda image, quality: saved(image, "AVIF", quality=quality, speed=6)
if features.check("jpg_2000"):
    CODECS["JPEG 2000"] = jpeg2000


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


class Searched:
    """An image by one codec; every quality is tried once.

    ``within(most)`` gives the largest file found that has at most so many bytes, by bisection, as file sizes grow with the quality; or
    else the smallest.
    """

    def __init__(self, image: Image.Image, codec: Callable[[Image.Image, int], bytes]) -> None:
        self._image, self._codec = image, codec
        self._files: dict[int, bytes] = {}

    def file(self, quality: int) -> bytes:
        if quality not in self._files:
            self._files[quality] = self._codec(self._image, quality)
        return self._files[quality]

    def within(self, most: int) -> bytes:
        low, high = 0, 101
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.file(middle)) <= most else (low, middle)
        fitting = [file for file in (self.file(0), *self._files.values()) if len(file) <= most]
        return max(fitting, key=len) if fitting else min(self._files.values(), key=len)


def jpeg_header_bytes(data: bytes) -> int:
    """All of a JPEG file but the scans' entropy-coded bytes."""
    place, header = 2, 2
    while data[place + 1] != 0xD9:
        size = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        header, scan = header + size, data[place + 1] == 0xDA
        place += size
        while scan and not (data[place] == 0xFF and data[place + 1] not in (0, *range(0xD0, 0xD8))):
            place += 1
    return header + 2


class Row:
    """One codec at one rate, over all images."""

    def __init__(self, metrics: Callable[[], object]) -> None:
        self.metrics = metrics()
        self.bytes = self.headers = self.over = self.images = 0
        self.bpp = 0.0

    def add(self, estimate: Tensor, reference: Tensor, size: int, most: int, headers: int) -> None:
        self.metrics.update(estimate[None], reference[None])
        self.bytes, self.headers, self.images = self.bytes + size, self.headers + headers, self.images + 1
        self.bpp += size * 8 / reference[0].numel()
        self.over += size > most

    def result(self) -> dict:
        values = {name: float(value) for name, value in self.metrics.compute().items()}
        means = {
            "bpp": self.bpp / self.images,
            "bytes": self.bytes / self.images,
            "header_bytes": self.headers / self.images,
        }
        return {**means, "images_above_the_rate": self.over, "images": self.images, "metrics": values}


def load(item: ImageItem, channels: int, size: int, crop: bool) -> Tensor:
    image = (
        read_image(item.path, channels)
        if item.index is None
        else collection_pixels(item.path).image(item.index, channels)
    )
    if crop:
        top, left = (max(0, side - size) // 2 for side in image.shape[1:])
        image = image[:, top : top + size, left : left + size]
    elif max(image.shape[1:]) > size:
        scale = size / max(image.shape[1:])
        sides = [max(1, round(side * scale)) for side in image.shape[1:]]
        image = functional.interpolate(image[None], sides, mode="bicubic", antialias=True)[0]
    return eight_bits(image)


def eight_bits(image: Tensor) -> Tensor:
    return image.clamp(0, 1).mul(255).round().div(255)


def opened(data: bytes, channels: int) -> Tensor:
    pixels = np.array(Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB"), np.float32)
    return torch.from_numpy(pixels / 255).reshape(*pixels.shape[:2], channels).permute(2, 0, 1)


def pillow(image: Tensor) -> Image.Image:
    pixels = image.mul(255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def measure(
    tokenizer: ImageTokenizer,
    items: list[ImageItem],
    rates: list[dict],
    size: int,
    crop: bool,
    metrics: Callable[[], object],
) -> dict:
    rows = {(name, rate): Row(metrics) for name in (OWN, *CODECS) for rate in range(1, len(rates) + 1)}
    for number, item in enumerate(items, start=1):
        image = load(item, tokenizer.channels, size, crop)
        others = {name: Searched(pillow(image), codec) for name, codec in CODECS.items()}
        for rate, options in enumerate(rates, start=1):
            file = io.BytesIO()
            encode_image(tokenizer, file, image, **options)
            data = file.getvalue()
            headers = inspect(io.BytesIO(data))["overhead_bytes"]
            made = eight_bits(decode_image(tokenizer, io.BytesIO(data)).image)
            rows[OWN, rate].add(made, image, len(data), len(data), headers)
            for name, searched in others.items():
                found = searched.within(len(data))
                headers = jpeg_header_bytes(found) if name == "JPEG" else 0
                rows[name, rate].add(opened(found, tokenizer.channels), image, len(found), len(data), headers)
        print(f"{number} of {len(items)}: {item.name}", flush=True)
    return {key: row.result() for key, row in rows.items()}


def rates_of(tokenizer: ImageTokenizer) -> list[dict]:
    """Arguments of `encode_image` for each rate, from the fewest bits to the most."""
    weights = tokenizer.quantizer.rate_weights
    if weights:
        return [{"rate_weight": weight} for weight in reversed(weights[::2])]
    return [{"stages": stages} for stages in range(1, tokenizer.quantizer.num_stages + 1)]


def evenly(rates: list[dict], most: int) -> list[dict]:
    """At most so many of them, the first and the last among them."""
    if len(rates) <= most:
        return rates
    return [rates[round(number * (len(rates) - 1) / max(1, most - 1))] for number in range(most)]


def table(results: dict, names: list[str]) -> str:
    arrows = {"mae": "↓", "psnr": "↑", "ssim": "↑"}
    heads = [f"{name} {arrows.get(name, '↓')}" for name in names]
    lines = [
        f"| rate | codec | bits a pixel | bytes | of these headers | {' | '.join(heads)} |",
        "|---:|---|" + "---:|" * (3 + len(names)),
    ]
    for (name, stage), row in sorted(results.items(), key=lambda pair: pair[0][1]):
        marked = f" († {row['images_above_the_rate']})" if row["images_above_the_rate"] else ""
        headers = f"{row['header_bytes']:.0f}" if row["header_bytes"] else "–"
        values = " | ".join(f"{row['metrics'][key]:.4g}" for key in names)
        lines.append(f"| {stage} | {name}{marked} | {row['bpp']:.4f} | {row['bytes']:.0f} | {headers} | {values} |")
    return "\n".join(lines)


def figure(results: dict, names: list[str]) -> bytes:
    looks = system_looks(dict.fromkeys(name for name, _ in results))
    drawn, grid = panels(len(names), columns=3, width=3.5, height=2.75)
    for axes, key in zip(grid, names, strict=True):
        axis_style(axes, title=key, x="measured rate (bits a pixel)")
        log_axis(axes, "x", [row["bpp"] for row in results.values()])
        for name, look in looks.items():
            curve(axes, [row for (found, _), row in results.items() if found == name], key, look)
    legend_below(drawn, [look_handle(name, look) for name, look in looks.items()])
    return png_bytes(drawn)


def curve(axes: Axes, rows: list[dict], key: str, look: object) -> None:
    ordered = sorted(rows, key=lambda row: row["bpp"])
    style = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "linewidth": 1.3, "markersize": 6}
    axes.plot([row["bpp"] for row in ordered], [row["metrics"][key] for row in ordered], **style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--split", default=None)
    parser.add_argument("--model", default=None, help="folder of a saved tokenizer; the one that ships by default")
    parser.add_argument("--size", type=int, default=512, help="longest side in pixels, or side of the crop")
    parser.add_argument("--crop", action="store_true", help="cut the middle instead of making the image smaller")
    parser.add_argument("--count", type=int, default=50, help="images, evenly from the list")
    parser.add_argument("--rates", type=int, default=1024, help="rates of the tokenizer, evenly from all")
    parser.add_argument("--fast", action="store_true", help="only PSNR, SSIM and MAE")
    parser.add_argument("--frechet", action="store_true", help="the Fréchet distance as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found = list_images(asked.images, asked.split)
    items = found[:: max(1, len(found) // asked.count)][: asked.count]
    tokenizer = ImageTokenizer.from_pretrained(asked.model)
    networks: dict = {}
    if asked.frechet or not asked.fast:
        from vqkit.nn import EfficientNetLite0, PerceptualDistance

        trunk = EfficientNetLite0.from_package()
        networks = {"distance": None if asked.fast else PerceptualDistance(trunk)}
        networks["extractor"] = trunk if asked.frechet else None
    rates = evenly(rates_of(tokenizer), asked.rates)
    results = measure(tokenizer, items, rates, asked.size, asked.crop, lambda: image_metrics(**networks))
    names = list(next(iter(results.values()))["metrics"])
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(asked).items()} | {
        "pillow": version("pillow"),
        "images_used": len(items),
    }
    rows = [{"codec": name, "stages": stage, **row} for (name, stage), row in results.items()]
    write_whole(asked.out / "results.json", json.dumps({"settings": settings, "rows": rows}, indent=1).encode())
    write_whole(asked.out / "rate_distortion.png", figure(results, names))
    how = f"cut to {asked.size}×{asked.size}" if asked.crop else f"longest side at most {asked.size}"
    head = f"# Images: distortion against measured rate\n\n{len(items)} images of {asked.images.name}, {how}; means over images."
    text = [head, READING, table(results, names), "\n![](rate_distortion.png)\n"]
    write_whole(asked.out / "report.md", "\n".join(text).encode())
    print(table(results, names))


if __name__ == "__main__":
    main()
