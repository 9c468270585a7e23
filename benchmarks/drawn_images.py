"""What transforms find hard, as image files: checkerboards, text and line art; and how well the shipped tokenizers carry them.

    python benchmarks/drawn_images.py --out runs/drawn
    python benchmarks/drawn_images.py --out runs/drawn --compare

One folder a kind, with images of 512×384 pixels; nothing is read, and the same files come every time with the same Pillow. --compare prints
a table of PSNR of the best files that keep to a rate (the smallest, where even that is larger), "vqkit" being what ``vqkit encode --bpp``
writes, with the tokenizer that it chooses; 100 dB is without error. Ten minutes of a core.
"""

import argparse
import io
import math
from pathlib import Path

import numpy as np
import torch
from image_rate_distortion import CODECS, Searched, opened
from PIL import Image, ImageDraw, ImageFont

from vqkit.coding.image.choice import better_tokenizer
from vqkit.coding.image.encode import PreparedImage
from vqkit.coding.rate import Rate
from vqkit.models import ImageTokenizer
from vqkit.models.image.compression import encode_image
from vqkit.models.image.to_size import encode_to_fit
from vqkit.models.image.tokenizer import DRAWN

SIZE = (512, 384)
TEXT = (
    "Vector quantization maps a vector to the nearest of a few stored ones. What is sent is the number of that one, "
    "and the receiver looks it up. 0123456789 (x + y) × z = 42 % of £3.70; “quoted”, dashed – and [bracketed]. "
)
SIDES = (1, 3, 8, 20)  # pixels of a square
POINTS = (10, 14, 20, 32)
RATES = (0.25, 0.5, 1.0, 1.5)  # bits a pixel


def checkerboard(side: int, colours: bool) -> Image.Image:
    """Squares of ``side`` pixels, black and white or of two colours."""
    rows, columns = np.indices((SIZE[1], SIZE[0])) // side
    odd = ((rows + columns) % 2).astype(bool)
    one, two = ((200, 60, 40), (30, 90, 170)) if colours else ((0, 0, 0), (255, 255, 255))
    return Image.fromarray(np.where(odd[..., None], np.uint8(one), np.uint8(two)))


def text(points: int) -> Image.Image:
    """Black text on white, smoothed as screens show it."""
    image = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(points)
    words, line, top = (TEXT * 40).split(), "", 4
    for word in words:
        if draw.textlength(f"{line} {word}", font=font) > SIZE[0] - 8:
            draw.text((4, top), line, fill="black", font=font)
            line, top = word, top + round(1.3 * points)
        else:
            line = f"{line} {word}".strip()
    return image


def lines(width: int, colours: bool) -> Image.Image:
    """Circles, a fan of lines and frames, drawn at four times the size."""
    scale = 4
    image = Image.new("RGB", (SIZE[0] * scale, SIZE[1] * scale), (250, 246, 236) if colours else "white")
    draw = ImageDraw.Draw(image)
    inks = ["#202020", "#b03020", "#2050a0", "#208040"] if colours else ["black"]
    for number in range(24):
        angle, ink = math.pi * number / 24, inks[number % len(inks)]
        far = [scale * (128 + 200 * math.cos(angle)), scale * (192 + 200 * math.sin(angle))]
        draw.line([scale * 128, scale * 192, *far], fill=ink, width=width * scale)
        radius, middle = scale * (6 + 7 * number), (scale * 370, scale * 192)
        box = [middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius]
        draw.ellipse(box, outline=ink, width=width * scale)
    return image.resize(SIZE, Image.Resampling.BOX)


def compared(pictures: list[Image.Image], bpp: float) -> dict[str, tuple[float, float]]:
    """Mean bits a pixel and PSNR over pictures of one kind, of what ``vqkit encode --bpp`` writes and of every codec alone."""
    usual, drawn = ImageTokenizer.from_pretrained(), ImageTokenizer.from_pretrained(DRAWN)
    found: dict[str, list[tuple[float, float]]] = {}
    for picture in pictures:
        image = opened_picture(picture)
        limit = int(bpp * image[0].numel() / 8)
        files = {tokenizer: to_fit(tokenizer, image, limit) for tokenizer in (usual, drawn)}
        rows = {
            name: (len(files[tokenizer]), tokenizer.decompress(files[tokenizer]))
            for name, tokenizer in (("vqkit-image-2", usual), ("vqkit-image-drawn", drawn))
        }
        chosen = better_tokenizer(usual, PreparedImage(image, ()), Rate(bpp=bpp))
        rows = {"vqkit": rows["vqkit-image-2" if chosen is usual else "vqkit-image-drawn"], **rows}
        for name in ("JPEG", "WebP"):
            file = Searched(picture, CODECS[name]).within(limit)
            rows[name] = len(file), opened(file, 3)
        for name, (number, other) in rows.items():
            error = (other.mul(255).round().div(255) - image).square().mean().clamp_min(1e-10)
            found.setdefault(name, []).append((8 * number / image[0].numel(), float(-10 * error.log10())))
    return {name: tuple(np.mean(values, axis=0).tolist()) for name, values in found.items()}


def to_fit(tokenizer: ImageTokenizer, image: torch.Tensor, limit: int) -> bytes:
    """The best file that keeps to a size, or the one of one stage at the coarsest step, where even that is larger."""
    file = io.BytesIO()
    try:
        encode_to_fit(tokenizer, file, image, max_bytes=limit)
    except ValueError:
        coarsest = tokenizer.quantizer.rate_weights[-1] if tokenizer.quantizer.rate_weights else None
        encode_image(tokenizer, file, image, 1, rate_weight=coarsest)
    return file.getvalue()


def opened_picture(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture, np.float32) / 255).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", action="store_true", help="print a table beside JPEG and WebP")
    asked = parser.parse_args()
    out = asked.out
    made = {
        f"checkerboards/{side}_{name}": checkerboard(side, name == "colour")
        for side in SIDES
        for name in ("gray", "colour")
    }
    made |= {f"text/{points}": text(points) for points in POINTS}
    made |= {f"lines/{width}_{name}": lines(width, name == "colour") for width in (1, 3) for name in ("gray", "colour")}
    for name, image in made.items():
        path = out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        print(path)
    if not asked.compare:
        return
    for kind in ("lines", "text", "checkerboards"):
        pictures = [image for name, image in made.items() if name.startswith(kind)]
        for bpp in RATES:
            rows = compared(pictures, bpp).items()
            cells = " | ".join(f"{name} {bits:.3f} bits a pixel, {psnr:.1f} dB" for name, (bits, psnr) in rows)
            print(f"| {kind} ({len(pictures)}) | at most {bpp:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
