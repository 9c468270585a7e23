"""Images from tokens: which quantizer's codes does one and the same generator model best, at an equal rate of the tokenizer?

    python recipes/generate_images.py --data digits --size 8 --downsamples 1 --out runs/generate-digits
    python recipes/generate_images.py --data DATA/images/mnist10k.npz --size 28 --out runs/generate-mnist

For each quantizer (at most 12 bits a latent vector for all): an image tokenizer is trained, its codes of the training images are written to
a token file, and a transformer learns them with their classes. Then images are sampled, of every class and of none, and compared with test
images. An interrupted run goes on where it was: give the same command again.

DATA: whatever `vqkit.data.list_images` takes, with splits and classes. Hardware: CPU.
Time: about 2 minutes for the digits, 10 for MNIST, on a free core.
"""

import argparse
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vqkit import IVQ, RVQ, VQ, LooC, Multiscale
from vqkit.data import Images, list_images, write_image
from vqkit.files import write_whole
from vqkit.generate.image import ImageGenerator, image_grid
from vqkit.metrics import ImageFrechetDistance, coverage, nearest
from vqkit.models import ConvBackbone, ImageTokenizer, TokenGenerator
from vqkit.models.generator.packing import StagePacking
from vqkit.models.generator.patterns import NextScale, Parallel
from vqkit.models.generator.picture_tokens import picture_codes, scale_grids, write_pictures
from vqkit.nn import EfficientNetLite0
from vqkit.report.gallery import Exhibit, Gallery, Table, write_gallery
from vqkit.training import GeneratorDataModule, GeneratorModule, ImageDataModule, ImageModule, Optimisation, train

DIM = 24
SYSTEMS = {  # 12 bits a vector each, given the side of the latent
    "VQ 4096": lambda side: VQ(DIM, 4096),
    "RVQ 2×64": lambda side: RVQ(DIM, 64, 2),
    "IVQ 6+1": lambda side: IVQ(
        DIM, pieces=(6, 1)
    ),  # a stage of six binary codes, then one of 64 composed codes: bottom-up, two stages
    "LooC 64": lambda side: LooC(DIM, 64, DIM // 2),
    "Multiscale": lambda side: multiscale(side),  # next-scale prediction: all cells of a grid at once
}


def multiscale(side: int) -> Multiscale:
    """Grids of 1, 2, 4 … cells a side and one codebook for all, the largest that takes no more bits than 12 a latent vector."""
    sizes = [size for size in (1, 2, 4, 8, 16) if size < side] + [side]
    codes = 2 ** (12 * side**2 // sum(size**2 for size in sizes))
    return Multiscale([VQ(DIM, codes)], sizes=sizes, spatial_dims=2, upsample="linear")


def main() -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--size", type=int, required=True, help="side of the images; a multiple of 2 to the downsamples"
    )
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--downsamples", type=int, default=2, help="halvings of the sides from image to latent")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="quantizers to run")
    parser.add_argument("--tokenizer-steps", type=int, default=400)
    parser.add_argument("--generator-steps", type=int, default=600)
    parser.add_argument("--samples", type=int, default=500, help="images compared on each side")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    out = Path(asked.out)
    test, train_set = (whole_set(asked, split) for split in ("test", "train"))
    extractor = EfficientNetLite0.from_package(input_size=64)
    with torch.no_grad():
        real, known = (embed(extractor, images) for images in (test[0], train_set[0]))
    rows, exhibits = [reference_row(asked, test, train_set, real, known)], []
    for name in asked.only:
        make = SYSTEMS[name]
        folder = out / stem_of(name)
        kept = folder / "row.json"
        if not kept.exists():
            makes, seconds = trained(asked, folder, make, train_set)
            row = measured(asked, name, makes, extractor, test, real, known, train_set, out, seconds)
            write_whole(kept, json.dumps(row, ensure_ascii=False).encode())
        row = tuple(json.loads(kept.read_text()))
        rows.append(row)
        exhibits += exhibits_of(asked, name, sorted(set(train_set[1])))
        print(" | ".join(row), flush=True)
    names = (
        "tokens",
        "PSNR dB",
        "bits/image",
        "FD",
        "FD no class",
        "FD guided",
        "precision",
        "recall",
        "right class %",
        "nearest",
        "s",
    )
    note = (
        f"FD-{extractor.name} at 64 pixels between {asked.samples} generated and as many test images: not FID, compares here only. "
        "The first row has training images in place of generated ones: what no generator can be expected to beat. PSNR: tokenizer "
        "on test images. bits/image: what the generator needs for the codes of a test image, of 12 bits a vector. FD no class: without "
        f"a class; guided: guidance {asked.guidance:g}. Right class: the most similar training image is of the class asked for. nearest: "
        "median distance to the most similar training image over that of test images; far below 1 would be copying. s: of training."
    )
    write_gallery(
        out,
        Gallery(
            title=f"Images from tokens: {Path(asked.data).stem}",
            summary="One generator on the codes of five quantizers, at no more than 12 bits a latent vector each.",
            command="python " + " ".join(sys.argv),
            tables=[Table("Generated against test images", names, tuple(rows), note)],
            exhibits=exhibits,
            facts=vars(asked),
        ),
    )


def whole_set(asked: argparse.Namespace, split: str) -> tuple[Tensor, list[str]]:
    """All images of a split, and their classes."""
    images = Images(list_images(asked.data, split), asked.size, asked.channels)
    return torch.stack([images[i].image for i in range(len(images))]), [item.label for item in images.items]


def embed(extractor: EfficientNetLite0, images: Tensor) -> Tensor:
    """Embeddings, in batches."""
    return torch.cat([extractor.embed(part) for part in images.split(64)])


def trained(asked: argparse.Namespace, folder: Path, make, train_set) -> tuple[ImageGenerator, float]:
    """Tokenizer, token file and generator of one quantizer, trained as far as they are not yet."""
    begin = time.monotonic()
    torch.manual_seed(asked.seed)
    backbone = ConvBackbone(DIM, channels=asked.channels, width=48, residual_width=24, downsamples=asked.downsamples)
    run = partial(train, accelerator="cpu", seed=asked.seed, progress=False, log_every=50)
    tokenizer_at = run(
        ImageModule(
            ImageTokenizer(backbone, make(asked.size // backbone.cell)),
            learning_rate=2e-3,
            l1_weight=0,
            l2_weight=10,
            quantize_after=asked.tokenizer_steps // 4,
        ),
        ImageDataModule(asked.data, size=asked.size, batch_size=64, valid_split=None),
        folder=str(folder / "tokenizing"),
        steps=asked.tokenizer_steps,
    )
    tokenizer = ImageTokenizer.from_pretrained(tokenizer_at)
    images, labels = train_set
    tokens = folder / "tokens" / "train" / "images.vqk"
    if not tokens.exists():
        write_pictures(tokens, tokenizer, picture_codes(tokenizer, images), (asked.size, asked.size), labels=labels)
    packed = isinstance(tokenizer.quantizer, IVQ)
    quantizer = tokenizer.quantizer
    scales = isinstance(quantizer, Multiscale)
    packing = StagePacking.of_stages(quantizer) if packed else StagePacking.of_codes(quantizer.code_sizes)
    if scales:
        packing = StagePacking.of_codes(quantizer.scales[0].code_sizes)
    grid = tokenizer.grid(asked.size, asked.size)
    pattern = NextScale(scale_grids(quantizer, grid)) if scales else Parallel()
    torch.manual_seed(asked.seed)
    generator = TokenGenerator(
        packing.id_sizes,
        pattern,
        width=asked.width,
        layers=asked.layers,
        heads=4,
        depth_layers=0 if scales else 1,  # one code a cell
        window=pattern.frames if scales else grid[0] * grid[1],
        grid=() if scales else grid,
        classes=sorted(set(labels)),
        condition_dropout=0.15,
    )
    generator_at = run(
        GeneratorModule(generator, optimisation=Optimisation(learning_rate=2e-3, warmup_steps=50, weight_decay=0.05)),
        GeneratorDataModule(
            str(folder / "tokens"), frames=generator.window, batch_size=64, packed=packed, valid_split=None
        ),
        folder=str(folder / "generating"),
        steps=asked.generator_steps,
        average_decay=0.99,
    )
    spent = folder / "seconds.txt"
    if not spent.exists():
        write_whole(spent, f"{time.monotonic() - begin:.0f}".encode())
    return ImageGenerator(TokenGenerator.from_pretrained(generator_at), tokenizer), float(spent.read_text())


def reference_row(asked, test, train_set, real, known) -> tuple[str, ...]:
    """What training images themselves get."""
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[: asked.samples]
    mine = known[order]
    found = coverage(mine, real[: asked.samples])
    right = nearest(real[: asked.samples], known)
    same = statistics.mean(train_set[1][i] == test[1][n] for n, i in enumerate(right.index.tolist()))
    distance = frechet(mine, real[: asked.samples])
    return (
        "training images",
        "–",
        "–",
        f"{distance:.1f}",
        "–",
        "–",
        f"{found.precision:.2f}",
        f"{found.recall:.2f}",
        f"{100 * same:.0f}",
        "1",
        "–",
    )


def frechet(generated: Tensor, real: Tensor) -> float:
    """The Fréchet distance of two sets of embeddings."""
    distance = ImageFrechetDistance(Given(generated.shape[1]))
    distance.add([("estimate", generated), ("reference", real)])
    return float(distance.compute())


class Given:
    """Stands for an extractor whose embeddings there are already."""

    name, settings = "effnet", {}

    def __init__(self, dim: int) -> None:
        self.dim = dim


@torch.no_grad()
def measured(asked, name, makes, extractor, test, real, known, train_set, out, seconds):
    """A row of the table; the pictures of it are written beside."""
    classes = makes.generator.classes
    each = -(-asked.samples // len(classes))
    images, free, guided = [], makes(asked.samples, seed=asked.seed + 1), []
    for number, label in enumerate(classes):
        images.append(makes(each, label, seed=asked.seed + 1000 * number))
        guided.append(makes(each, label, seed=asked.seed + 1000 * number, guidance=asked.guidance))
    labels = [label for label in classes for _ in range(each)]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[: asked.samples]
    made, strong = torch.cat(images)[order], torch.cat(guided)[order]
    labels = [labels[i] for i in order.tolist()]
    real = real[: asked.samples]
    vectors = embed(extractor, made)
    found, near = coverage(vectors, real), nearest(vectors, known)
    right = statistics.mean(train_set[1][i] == labels[n] for n, i in enumerate(near.index.tolist()))
    ratio = float(near.distance.median() / nearest(real, known).distance.median())
    back = torch.cat([makes.tokenizer(part).images.clamp(0, 1) for part in test[0].split(64)])
    psnr = float((-10 * (back - test[0]).square().flatten(1).mean(dim=1).log10()).mean())
    row = (
        name,
        f"{psnr:.2f}",
        f"{bits(makes, test):.0f}",
        f"{frechet(vectors, real):.1f}",
        f"{frechet(embed(extractor, free), real):.1f}",
        f"{frechet(embed(extractor, strong), real):.1f}",
        f"{found.precision:.2f}",
        f"{found.recall:.2f}",
        f"{100 * right:.0f}",
        f"{ratio:.2f}",
        f"{seconds:.0f}",
    )
    enlarge = max(1, 56 // asked.size)
    stem = stem_of(name)
    write_image(out / f"{stem}.png", image_grid(torch.cat([part[:10] for part in guided]), 10, enlarge=enlarge))
    closest = torch.stack([picture for n in range(10) for picture in (made[n], train_set[0][near.index[n]])])
    write_image(out / f"{stem}-nearest.png", image_grid(closest, 20, enlarge=enlarge))
    return row


def exhibits_of(asked, name: str, classes: list[str]) -> list[Exhibit]:
    """What there is to look at of a system."""
    stem, order = stem_of(name), ", ".join(classes)
    return [
        Exhibit(name, f"{stem}.png", f"A row for each class: {order}; guidance {asked.guidance:g}."),
        Exhibit(
            f"{name}: copies?", f"{stem}-nearest.png", "Generated, and beside each its most similar training image."
        ),
    ]


def stem_of(name: str) -> str:
    """A system's name as that of a file."""
    return "".join(c if c.isalnum() else "-" for c in name)


def bits(makes: ImageGenerator, test) -> float:
    """Bits that the generator needs for the codes of a test image, given its class."""
    ids = makes.packing.pack(picture_codes(makes.tokenizer, test[0]))
    classes = torch.tensor([makes.generator.class_index(label) for label in test[1]])
    nats = [makes.generator(part, classes=c).sum() for part, c in zip(ids.split(64), classes.split(64), strict=True)]
    return float(torch.stack(nats).sum()) / len(ids) / 0.6931471805599453


if __name__ == "__main__":
    main()
