"""Make the tokenizer of drawn images that ships with vqkit: blocks of two colours, and a model of their codes.

    python recipes/ship_image_drawn.py

Nothing is read: pages of text, diagrams and patterns are drawn for it, with Matplotlib's fonts, and the model of codes is fitted to them.
Hardware: three minutes of one CPU core, 3 GB of memory.
"""

import argparse
import hashlib
import math
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vqkit import BlockTruncation
from vqkit.bitstream import ContextModel
from vqkit.coding.image.choice import MOST_COLOURS
from vqkit.models import ImageTokenizer, PixelBackbone
from vqkit.models.image.tokenizer import DRAWN
from vqkit.models.prior import codes_of, coding_cost, fit_prior
from vqkit.models.prior_file import PRIOR_FILE

CARD = """---
library_name: vqkit
license: mit
---

# {name}

A codec for images that were drawn: text, lines, diagrams, screenshots. A block of 8×8 pixels is two colours and, for every pixel, its place
between them in eight steps (block truncation); a model of the codes beside and above predicts them. `vqkit encode` takes it by itself
where it serves an image of at most {most_colours:,} colours better than vqkit-image-2; `ImageTokenizer.from_pretrained("{name}")` loads it.

- `model.safetensors`: the range of the colours, sha256 `{digest}`
- `prior.vqe`: the model of the codes ({coding}, {prior_size:,} bytes); files need it
- made by: `python recipes/ship_image_drawn.py`; torch {torch}

How good it is, beside vqkit-image-2, JPEG and WebP: docs/results/{results} of the repository.

## What it is for, and what not

- Blocks of up to two colours and their mixtures. A block where three colours meet has the best line through them.
- Colours have 52 levels a channel: what is not a multiple of 5 is off by up to 2 of 255.
- Photographs take several bits a pixel: use vqkit-image-2.
- Stages: one colour a block; two; their mixtures in four steps; in eight.

## What it was trained on

{images} images that the recipe draws: lines of random words in the DejaVu fonts that come with Matplotlib (Bitstream Vera licence), shapes
and patterns. No picture of anybody's.

## Licence of the weights

MIT, as vqkit.
"""
RESULTS = "shipped-image-drawn"
PAGES, DIAGRAMS, PATTERNS, HELD_OUT = 90, 50, 40, 12
CLASSES = 32
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
POINTS = (9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 28, 36)
SIZES = ((384, 256), (512, 320), (640, 384))
SCALE = 4  # diagrams are drawn larger, and made smaller by means of pixels


def word(draw: random.Random) -> str:
    """Letters as often as in English, now and then a number, a capital or a mark."""
    if draw.random() < 0.06:
        return str(draw.randrange(10 ** draw.randrange(1, 5)))
    weights = [1 / (rank + 2) for rank in range(len(LETTERS))]
    letters = "".join(draw.choices(LETTERS, weights, k=draw.choice((1, 2, 3, 4, 5, 6, 7, 9))))
    letters = letters.capitalize() if draw.random() < 0.12 else letters
    return letters + (draw.choice(".,:;!?)(-") if draw.random() < 0.15 else "")


def shade(draw: random.Random, light: bool) -> tuple[int, ...]:
    """White or black, or something light or dark."""
    if draw.random() < 0.6:
        return (255,) * 3 if light else (0,) * 3
    return tuple(draw.randrange(170, 256) if light else draw.randrange(0, 110) for _ in range(3))


def page(draw: random.Random, fonts: list[str]) -> Image.Image:
    """Lines of text in several fonts and sizes, a quarter of the pages light on dark."""
    dark, (width, height) = draw.random() < 0.25, draw.choice(SIZES)
    paper, ink = shade(draw, not dark), shade(draw, dark)
    image = Image.new("RGB", (width, height), paper)
    pen, top = ImageDraw.Draw(image), draw.randrange(2, 12)
    while top < height:
        points = draw.choice(POINTS)
        font, left = ImageFont.truetype(draw.choice(fonts), points), float(draw.randrange(2, 40))
        own = ink if draw.random() < 0.8 else shade(draw, dark)
        while left < width - 20 and draw.random() > 0.05:
            letters = word(draw)
            pen.text((left, top), letters, font=font, fill=own)
            left += pen.textlength(letters + " ", font=font)
        top += round(points * draw.choice((1.2, 1.4, 1.8)))
    return image


def diagram(draw: random.Random) -> Image.Image:
    """Lines, ellipses and rectangles, their edges smoothed."""
    width, height = draw.choice(SIZES[:2])
    image = Image.new("RGB", (width * SCALE, height * SCALE), shade(draw, True))
    pen = ImageDraw.Draw(image)
    for _ in range(draw.randrange(4, 40)):
        ink = (0, 0, 0) if draw.random() < 0.4 else tuple(draw.randrange(256) for _ in range(3))
        (left, right), (top, bottom) = (
            sorted(SCALE * draw.randrange(side) for _ in range(2)) for side in (width, height)
        )
        thick, box = SCALE * draw.choice((1, 1, 2, 3, 6)), (left, top, right + SCALE, bottom + SCALE)
        kind = draw.random()
        if kind < 0.45:
            ends = (left, top, right, bottom) if draw.random() < 0.5 else (left, bottom, right, top)
            pen.line(ends, fill=ink, width=thick)
        elif kind < 0.65:
            pen.ellipse(box, outline=ink, width=thick)
        elif kind < 0.85:
            pen.rectangle(box, outline=ink, width=thick)
        elif kind < 0.95:
            pen.rectangle(box, fill=ink)
        else:
            pen.ellipse(box, fill=ink)
    return image.resize((width, height), Image.Resampling.BOX)


def pattern(draw: random.Random) -> Image.Image:
    """Checkerboards and stripes."""
    side, shift, kind = draw.choice((1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12, 16)), draw.randrange(8), draw.random()
    one, two = (tuple(draw.choice((0, 255, draw.randrange(256))) for _ in range(3)) for _ in range(2))
    rows, columns = np.indices((256, 320))
    across, down, slanted = (columns + shift) // side, (rows + shift) // side, (rows + columns) // side
    number = across + down if kind < 0.5 else across if kind < 0.7 else down if kind < 0.9 else slanted
    return Image.fromarray(np.where((number % 2).astype(bool)[..., None], np.uint8(one), np.uint8(two)))


def drawings(seed: int, share: float = 1.0) -> list[Tensor]:
    """Images in [0, 1], in an order that mixes the kinds."""
    draw = random.Random(seed)
    found = Path(get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf")
    fonts = sorted(str(path) for path in found if "Display" not in path.name)  # those have no small letters
    made = [page(draw, fonts) for _ in range(math.ceil(PAGES * share))]
    made += [diagram(draw) for _ in range(math.ceil(DIAGRAMS * share))]
    made += [pattern(draw) for _ in range(math.ceil(PATTERNS * share))]
    draw.shuffle(made)
    return [torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1) for image in made]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DRAWN)
    parser.add_argument("--share", type=float, default=1.0, help="of the images, for a try")
    parser.add_argument("--prior", type=Path, help="a prior.vqe that was fitted before, instead of a new one")
    asked = parser.parse_args()
    tokenizer = ImageTokenizer(PixelBackbone(8), BlockTruncation(64, 3)).eval()
    tokenizer.initialized.fill_(True)
    images = drawings(0, asked.share)
    if asked.prior is None:
        tokenizer.prior = fit_prior(tokenizer, codes_of(tokenizer, images), classes=CLASSES)
    else:
        tokenizer.prior = ContextModel.from_bytes(asked.prior.read_bytes())
    cost = coding_cost(tokenizer.prior, codes_of(tokenizer, drawings(1, HELD_OUT / PAGES)))
    print(f"other drawings: {cost.bits_per_code:.3f} bits a code, files of {cost.files_rate:.3f} bits a pixel")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / asked.out.name
        tokenizer.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        card = CARD.format(
            name=asked.out.name,
            most_colours=MOST_COLOURS,
            digest=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
            coding=tokenizer.prior.coding,
            prior_size=(folder / PRIOR_FILE).stat().st_size,
            images=len(images),
            torch=torch.__version__,
            results=RESULTS,
        )
        (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        shutil.rmtree(asked.out, ignore_errors=True)
        shutil.copytree(folder, asked.out)
    print(f"{asked.out}: {sum(path.stat().st_size for path in asked.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
