"""Sets of small labelled images as ``.npz`` with splits inside: digits of 8×8, MNIST of 28×28, emoji of 32×32, from files of packages.

Every set is drawn or read whole; then the letters of the list, one an image, say where it goes: ``r`` train, ``v`` valid, ``t`` test, and
``.`` for an image that is left out.
"""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SPLITS = {"r": "train", "v": "valid", "t": "test", ".": ""}
DIGITS = [str(digit) for digit in range(10)]
EMOJI_SIDE = 32
STRIKE = 109  # the only size in pixels that the font has
GLYPH = (136, 128)  # width and height of its bitmaps
PLAIN_EMOJI = "\ufe0f"  # follows a character that may be text or a picture


def digits(source: Path, splits: str) -> bytes:
    """The handwritten digits of 8×8, 17 levels: a line of 64 pixels and a label each."""
    with gzip.open(source, "rt") as file:
        table = np.loadtxt(file, delimiter=",").astype(np.int16)
    return _saved(splits, DIGITS, table[:, 64], table[:, :64].reshape(-1, 8, 8).astype(np.uint8))


def mnist(source: Path, splits: str) -> bytes:
    """The digits of MNIST from a folder with a file of each, whose pixels are numbers from 0 to 1."""
    by_digit = [
        np.array(json.loads((source / f"{digit}.json").read_text())["data"]).reshape(-1, 28, 28) for digit in DIGITS
    ]
    labels = np.repeat(np.arange(10), [len(images) for images in by_digit])
    return _saved(splits, DIGITS, labels, np.rint(np.concatenate(by_digit) * 255).astype(np.uint8))


def emoji(source: Path, splits: str, listed: Path) -> bytes:
    """Emoji of one character, drawn with a font of bitmaps, with their groups as labels.

    Args:
        source: the font.
        splits: the letters of the list.
        listed: Unicode's list of emoji with their groups.
    """
    rows = emoji_of_one_character(listed.read_text(encoding="utf-8"))
    font = ImageFont.truetype(source, STRIKE, layout_engine=ImageFont.Layout.BASIC)
    images = np.stack([_drawn(font, row["character"]) for row in rows])
    groups = sorted({row["group"] for row, split in zip(rows, splits, strict=False) if split != "."})
    labels = np.array([groups.index(row["group"]) if row["group"] in groups else -1 for row in rows])
    columns = {column: np.array([row[column[:-1]] for row in rows]) for column in ("names", "subgroups")}
    return _saved(splits, groups, labels, images, **columns)


def emoji_of_one_character(text: str) -> list[dict[str, str]]:
    """The fully qualified emoji of one character in Unicode's list: ``character``, ``name``, ``group`` and ``subgroup``."""
    rows, group, subgroup = [], "", ""
    for line in text.splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.partition(":")[2].strip()
        elif "; fully-qualified" in line:
            # "263A FE0F  ; fully-qualified     # ☺️ E0.6 smiling face"
            characters = "".join(chr(int(code, 16)) for code in line.partition(";")[0].split()).replace(PLAIN_EMOJI, "")
            name = line.partition("#")[2].split(maxsplit=2)[2]
            if len(characters) == 1:
                rows.append({"character": characters, "name": name, "group": group, "subgroup": subgroup})
    return rows


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """A glyph in the middle of a transparent square, shrunk."""
    width, height = GLYPH
    square = Image.new("RGBA", (width, width))
    glyph = Image.new("RGBA", GLYPH)
    ImageDraw.Draw(glyph).text((0, 0), character, font=font, embedded_color=True)
    square.paste(glyph, (0, (width - height) // 2))
    return np.asarray(square.resize((EMOJI_SIDE, EMOJI_SIDE), Image.Resampling.LANCZOS))


def _saved(splits: str, label_names: list[str], labels: Any, images: np.ndarray, **columns: np.ndarray) -> bytes:
    """The chosen images as ``.npz``.

    Raises:
        ValueError: the letters are not one an image, as when the package is of another version.
    """
    if len(splits) != len(images):
        raise ValueError(f"the package has {len(images)} images, the list {len(splits)}: another version?")
    chosen = np.array([letter != "." for letter in splits])
    arrays = {
        "images": images,
        "labels": np.asarray(labels, np.int16),
        "split": np.array([SPLITS[s] for s in splits]),
        **columns,
    }
    content = io.BytesIO()
    np.savez_compressed(
        content, label_names=np.array(label_names), **{name: array[chosen] for name, array in arrays.items()}
    )
    return content.getvalue()
