"""Write what transforms find hard as image files: checkerboards, text and line art, for benchmarks/image_rate_distortion.py.

    python benchmarks/drawn_images.py --out runs/drawn
    python benchmarks/image_rate_distortion.py --images runs/drawn/text --size 512 --out runs/drawn-text

One folder a kind, with images of 512×384 pixels; nothing is read, and the same files come every time with the same Pillow.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (512, 384)
TEXT = (
    "Vector quantization maps a vector to the nearest of a few stored ones. What is sent is the number of that one, "
    "and the receiver looks it up. 0123456789 (x + y) × z = 42 % of £3.70; “quoted”, dashed – and [bracketed]. "
)
SIDES = (1, 3, 8, 20)  # pixels of a square
POINTS = (10, 14, 20, 32)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
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


if __name__ == "__main__":
    main()
