"""``vqkit fit-prior`` of an image tokenizer."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from vqkit.data import MAX_MEGAPIXELS, ImageItem, Images, list_images, read_image
from vqkit.data.image_formats import collection_pixels
from vqkit.models.image.prior import ImageCodingCost, fit_image_prior, image_codes_of, image_coding_cost
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.prior_file import PRIOR_FILE, save_prior
from vqkit.models.prior_split import prior_split

__all__ = ["fit_for_images"]

_SIDE_PIXELS = 1024  # of a photograph its middle is taken, at most so large: many images say more than few


def fit_for_images(
    model: Path,
    data: Path,
    coding: str = "best",
    classes: int = 32,
    megapixels: float = 50.0,
    device: str = "cpu",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> None:
    """Fit priors, measure them on images held out, save one beside the weights, and print what was found.

    Args:
        model: folder of a saved tokenizer.
        data: what `vqkit.data.list_images` takes.
        coding: ``"static"``, ``"context"``, or ``"best"`` for the one that saves more.
        classes: number of classes of each context, 1 … 64.
        megapixels: images to fit, in 10^6 pixels; a quarter of it to measure.
        device: device of the networks.
        max_megapixels: refuse an image whose header says more, in 10^6 pixels.

    Raises:
        ValueError: too few images, or something in the folder cannot be read.
    """
    tokenizer = ImageTokenizer.from_pretrained(model).to(device)
    train, held_out = prior_split(list_images(data), data, "images")
    fitted = image_codes_of(tokenizer, _images(tokenizer, train, megapixels, max_megapixels))
    measured = image_codes_of(tokenizer, _images(tokenizer, held_out, megapixels / 4, max_megapixels))
    priors = {name: fit_image_prior(tokenizer, fitted, name, classes) for name in ("static", "context")}
    costs = [image_coding_cost(tokenizer, prior, measured) for prior in (None, *priors.values())]
    print(_table(tokenizer, costs, len(fitted), len(measured)))
    best = min(costs, key=lambda cost: cost.files_bpp).coding if coding == "best" else coding
    if best == "plain":
        print("nothing is saved: plain bits are the smallest; more images to fit may change that")
        return
    save_prior(model, priors[best])
    print(f"{model / PRIOR_FILE}: {best}, {len(priors[best].to_bytes())} bytes")


def _images(
    tokenizer: ImageTokenizer, items: Sequence[ImageItem], megapixels: float, largest: float
) -> Iterator[Tensor]:
    """So many megapixels of images in a fixed random order."""
    left = megapixels * 1e6
    for item in random.Random(0).sample(items, len(items)):
        if left <= 0:
            return
        image = _image(tokenizer, item, largest)
        left -= image[0].numel()
        yield image


def _image(tokenizer: ImageTokenizer, item: ImageItem, largest: float) -> Tensor:
    if tokenizer.backbone.image_size is not None:
        size = tokenizer.backbone.image_size
        return Images([item], size, tokenizer.channels, unreadable="raise", max_megapixels=largest)[0].image
    if item.index is not None:
        return collection_pixels(item.path, largest).image(item.index, tokenizer.channels)
    image = read_image(item.path, tokenizer.channels, largest)
    top, left = (max(0, side - _SIDE_PIXELS) // 2 for side in image.shape[-2:])
    return image[:, top : top + _SIDE_PIXELS, left : left + _SIDE_PIXELS]


def _table(tokenizer: ImageTokenizer, costs: list[ImageCodingCost], fitted: int, measured: int) -> str:
    plain = costs[0].codes_bpp
    lines = [
        f"{type(tokenizer).__name__}, {plain:.4g} bits a pixel; {fitted} images to fit, {measured} held out",
        "",
        "| coding | bits per code | bits a pixel of the codes | saved | bits a pixel of the files | tables, bytes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {cost.coding} | {cost.bits_per_code:.3f} | {cost.codes_bpp:.4f} | {1 - cost.codes_bpp / plain:.1%} "
        f"| {cost.files_bpp:.4f} | {cost.tables_bytes:,} |"
        for cost in costs
    ]
    return "\n".join([*lines, ""])
