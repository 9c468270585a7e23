"""Make the image tokenizer that ships with vqkit: a fixed transform, whole numbers of steps, and a network that predicts their codes.

    python recipes/ship_image_steps.py --data DATA

DATA: a folder whose manifest names licences and attributions. Crops of the train split choose the coefficients of the transform and fit
the quantizer; the prior, a network in whole numbers, is fitted to codes of the train split at several sizes and at all steps. Nothing of
the test split is read; of the valid split, what the prior costs is printed.
Hardware: half an hour of one CPU core beside other work, nearly all for the prior; 8 GB of memory.
Expected: 446,530 cells of 317 images; valid split, all steps: 0.361 bits a code, files of 0.203 bits a pixel; a folder of 4.9 MB.
"""

import argparse
import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from ship_image import FOLDERS
from sources import sources_table
from torch import Tensor
from torch.nn import functional

from vqkit import SteppedFSQ
from vqkit.bitstream import NetworkModel
from vqkit.bitstream.entropy_model import usual_chunk
from vqkit.bitstream.network_fit import fit_network
from vqkit.data import Images, ShuffledImages, list_images, read_image
from vqkit.models import ImageTokenizer, LappedBackbone
from vqkit.models.image.tokenizer import SHIPPED
from vqkit.models.prior import code_vectors, codes_of, coding_cost
from vqkit.models.prior_file import PRIOR_FILE
from vqkit.progress import Progress

CARD = """---
library_name: vqkit
license: mit
---

# {name}

An image codec for photographs and drawings of any size. A fixed lapped cosine transform of 16×16 blocks gives {dim} coefficients a
block, which are rounded to whole numbers of a step by error and rate; {codes} codes in {bands} bands hold them, and a network in whole
numbers predicts each code from those around it. One of {steps} step sizes makes the rate: photographs of 512 pixels take about 0.05 to 0.7
bits a pixel. `ImageTokenizer.from_pretrained()` loads it, and `vqkit encode` uses it; `--bpp` finds the finest step that fits.

- `model.safetensors`: {parameters:,} values, {size:,} bytes, sha256 `{digest}`: which coefficients, and their scales
- `prior.vqe`: the network that predicts the codes ({coding}, {prior_size:,} bytes), fitted to the train split; files need it
- architecture: `ImageTokenizer` of `{kind}` and `SteppedFSQ`
- made by: `python recipes/ship_image_steps.py --data DATA`; torch {torch}

How good it is, and where it falls short, beside JPEG and WebP: docs/results/{results} of the repository.

## What it is for, and what not

- Colour images at low and medium rates. The rate is chosen by the step; `--stages` keeps the low frequencies only.
- Text is worse than with JPEG, and fine checkerboards are lost: of 768 coefficients of a block those are kept that photographs have.
  `vqkit encode` takes vqkit-image-drawn for such images.
- It invents nothing: at very low rates images are smooth, as those of other transform codecs.
- Codes are decoded one after the other, 4 ms of a CPU core for each block of 16×16 pixels: 2.5 s for 512×320 pixels, 15 s for a
  megapixel. Encoding takes a tenth of that, and with `--bpp` half.

## What it was trained on

{num_files} images of the train split, at several sizes. The weights hold no image. Each source keeps its licence:

{sources}

## Licence of the weights

MIT, as vqkit, as far as that is vqkit's to give. Whether weights are a work derived from what they were trained on is not settled, and
some of the sources are under the GPL or under share-alike licences. If that matters to you, leave this folder out, or train a tokenizer
on images of your own with the commands above.
"""
RESULTS = "shipped-image-2"
STEPS = [round(2 ** (number / 8 - 3), 4) for number in range(25)]  # from 1/8 to 1, eight an octave
CROP_PIXELS, CROP_SHARE, CROPS, FIRST = (
    128,
    (0.12, 0.6),
    256,
    16,
)  # of what the transform and the quantizer are fitted to
SIDES = (384, 512, 768, 1152)  # pixels of the longest side of images that the prior is fitted to
TURNS = 2  # each image comes so often, with other steps
VECTOR_DIM = 20  # of the prior's code vectors


def bands() -> list:
    """19 bands of 4 to 20 coefficients each, 136 codes with that of the step; so few a band that a chunk holds 799 blocks."""

    def band(coarse: list[int], coarse_codes: int, fine: list[int], fine_codes: int) -> list:
        return [[coarse] * coarse_codes, [fine] * fine_codes]

    second = [[[9, 9], [9, 9], [3, 3, 3, 3]], [[9, 9]] * 4]
    middle = [band([3] * 4, 2, [9, 9], 4) for _ in range(5)]
    high = [band([3] * 4, 3, [5] * 3, 4) for _ in range(4)] + [band([3] * 5, 4, [3] * 5, 4) for _ in range(8)]
    return [band([33], 4, [9, 9], 2), second, *middle, *high]


@torch.no_grad()
def fitted(data: Path) -> ImageTokenizer:
    """The tokenizer without its prior: coefficients chosen by the first crops, scales of the quantizer by all."""
    items = [item for folder in FOLDERS for item in list_images(data / folder, "train")]
    images = Images(items, CROP_PIXELS, 3, crop="random", crop_share=CROP_SHARE, cache_megabytes=2000)
    crops = ShuffledImages(images, CROPS, flip=True)
    batches = [torch.stack([crops[i] for i in range(first, first + FIRST)]) for first in range(0, CROPS, FIRST)]
    made = ImageTokenizer(LappedBackbone(260), SteppedFSQ(bands(), STEPS))
    made.initialize(batches[0])
    made.quantizer.fit(torch.cat([made.analyze(batch).flatten(end_dim=-2) for batch in batches]))
    return made.eval()


def resized(data: Path, split: str, sides: tuple[int, ...], turns: int) -> Iterator[Tensor]:
    """The photographs and drawings of a split, at several sizes each, every second time mirrored."""
    items = [item for folder in FOLDERS for item in list_images(data / folder, split)]
    for turn in range(turns):
        for side in sides:
            for item in items:
                image = read_image(item.path, 3)
                scale = side / max(image.shape[1:])
                if scale < 1:
                    size = [max(1, round(length * scale)) for length in image.shape[1:]]
                    image = functional.interpolate(image[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
                elif turn or side != sides[-1]:
                    continue  # a small image comes once
                yield image.flip(-1) if turn % 2 else image


def fit(tokenizer: ImageTokenizer, data: Path, steps: int) -> None:
    """Fit the prior to the train split."""
    signals = codes_of(tokenizer, resized(data, "train", SIDES, TURNS))
    print(f"{sum(len(signal.codes) for signal in signals):,} cells of {len(signals)} images", flush=True)
    with Progress("network") as watch:
        tokenizer.prior = fit_network(
            tokenizer.quantizer.code_sizes,
            [signal.codes for signal in signals],
            chunk_frames=[usual_chunk(signal.header, signal.header.largest_chunk) for signal in signals],
            columns=[signal.header.columns for signal in signals],
            vectors=code_vectors(tokenizer.quantizer),
            dim=VECTOR_DIM,
            steps=steps,
            watch=watch,
        )


def report_cost(tokenizer: ImageTokenizer, data: Path) -> None:
    """Print what the prior costs on the valid split."""
    cost = coding_cost(tokenizer.prior, codes_of(tokenizer, resized(data, "valid", (512,), 1)))
    print(f"valid split, all steps: {cost.bits_per_code:.3f} bits a code, files of {cost.files_rate:.4f} bits a pixel")


def write_card(folder: Path, data: Path, name: str) -> None:
    """MODEL_CARD.md, from what lies in the folders."""
    tokenizer = ImageTokenizer.from_pretrained(folder)
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith(FOLDERS) and row["split"] == "train"]
    weights, prior, quantizer = folder / "model.safetensors", folder / "prior.vqe", tokenizer.quantizer
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "MODEL_CARD.md").write_text(
        CARD.format(
            name=name,
            dim=quantizer.dim,
            codes=quantizer.num_codes,
            bands=quantizer.num_stages,
            steps=len(quantizer.rate_weights),
            parameters=sum(value.numel() for value in tokenizer.state_dict().values()),
            size=weights.stat().st_size,
            digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
            coding=tokenizer.prior.coding,
            prior_size=prior.stat().st_size,
            kind=type(tokenizer.backbone).__name__,
            torch=torch.__version__,
            results=RESULTS,
            num_files=len(rows),
            sources=sources_table(rows),
        ),
        encoding="utf-8",
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", type=Path, help="a prior.vqe that was fitted before, instead of a new one")
    parser.add_argument("--prior-steps", type=int, default=1500, help="training steps of the prior")
    parser.add_argument("--out", type=Path, default=SHIPPED.with_name("vqkit-image-2"))
    asked = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / asked.out.name
        fitted(asked.data).half().save_pretrained(folder)
        tokenizer = ImageTokenizer.from_pretrained(folder)  # as it is read again: the scales are rounded
        if asked.prior is None:
            fit(tokenizer, asked.data, asked.prior_steps)
        else:
            tokenizer.prior = NetworkModel.from_bytes(asked.prior.read_bytes())
        report_cost(tokenizer, asked.data)
        (folder / PRIOR_FILE).write_bytes(tokenizer.prior.to_bytes())
        write_card(folder, asked.data, asked.out.name)
        shutil.rmtree(asked.out, ignore_errors=True)
        shutil.copytree(folder, asked.out)
    print(f"{asked.out}: {sum(path.stat().st_size for path in asked.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
