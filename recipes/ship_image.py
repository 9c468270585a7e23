"""Make vqkit-image, the first tokenizer of images that shipped, out of a training run: half precision, its prior, and its card.

    vqkit train --config recipes/image-shipped.yaml --data.source '[DATA/images/photos, DATA/images/illustrations]'
    python recipes/ship_image.py --run runs/image-shipped --data DATA --steps 5000

DATA: a folder whose manifest names licences and attributions. The prior is fitted to the train split, and the valid split decides which
one is kept. Nothing of the test split is read.
"""

import argparse
import csv
import hashlib
import shutil
import tempfile
from pathlib import Path

import torch
from sources import sources_table

from vqkit import RVQ
from vqkit.cli import main as vqkit
from vqkit.models import ImageTokenizer, TransformBackbone
from vqkit.models.image.tokenizer import SHIPPED

CARD = """---
library_name: vqkit
license: mit
---

# {name}

A neural image codec for photographs and drawings of any size: one vector for every 16×16 pixels, in {stages} stages of {bits:g} bits, which
are {low:.3f} to {high:.3f} bits a pixel before entropy coding. `ImageTokenizer.from_pretrained()` loads it, and `vqkit encode` uses it.

- `model.safetensors`: {parameters:,} values, {size:,} bytes, half precision, sha256 `{digest}`
- `prior.vqe`: probabilities of the codes ({coding}, {prior_size:,} bytes), fitted to the train split
- architecture: `ImageTokenizer` of `{kind}`: a learned transform of overlapping blocks beside ConvNeXt blocks
- made by: `vqkit train --config recipes/image-shipped.yaml --data.source '[PHOTOS, DRAWINGS]' --steps {steps}`, then
  `python recipes/ship_image.py --run runs/image-shipped --data DATA --steps {steps}`; torch {torch}

How good it is, and where it falls short, beside JPEG and WebP: docs/results/shipped-image of the repository.

## What it is for, and what not

- Colour images at low rates. Any stage can be the last.
- Text and sharp drawings lose their edges at low rates.
- It was trained for about an hour on a CPU with {num_files} images; published codecs saw millions on GPUs.

## What it was trained on

{num_files} images of the train split: random boxes of 128 pixels at many scales. The weights hold no image. Each source keeps its licence:

{sources}

## Licence of the weights

MIT, as vqkit, as far as that is vqkit's to give. Whether weights are a work derived from what they were trained on is not settled, and
some of the sources are under the GPL or under share-alike licences. If that matters to you, leave this folder out, or train a tokenizer
on images of your own with the commands above.
"""
FOLDERS = ("images/photos/", "images/illustrations/")


def smaller(tokenizer: ImageTokenizer) -> ImageTokenizer:
    """The same tokenizer in half precision, without what only training needs."""
    trained, backbone = tokenizer.quantizer, tokenizer.backbone
    found = ImageTokenizer(
        TransformBackbone(**backbone._arguments), RVQ(trained.dim, trained.code_sizes[0], len(trained.code_sizes))
    )
    names = found.state_dict().keys()
    found.load_state_dict({name: value for name, value in tokenizer.state_dict().items() if name in names})
    return found.half().eval()


def write_card(folder: Path, data: Path, steps: int) -> None:
    """MODEL_CARD.md, from what lies in the folders."""
    tokenizer = ImageTokenizer.from_pretrained(folder)
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith(FOLDERS) and row["split"] == "train"]
    weights, prior = folder / "model.safetensors", folder / "prior.vqe"
    rates = [bits / 256**2 for bits in tokenizer.stage_bits(256, 256)]
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "MODEL_CARD.md").write_text(
        CARD.format(
            name="vqkit-image",
            stages=tokenizer.quantizer.num_stages,
            bits=tokenizer.quantizer.bits_per_vector / tokenizer.quantizer.num_stages,
            low=rates[0],
            high=rates[-1],
            parameters=sum(value.numel() for value in tokenizer.state_dict().values()),
            size=weights.stat().st_size,
            digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
            coding=tokenizer.prior.coding if tokenizer.prior else "none",
            prior_size=prior.stat().st_size if prior.is_file() else 0,
            kind=type(tokenizer.backbone).__name__,
            steps=steps,
            torch=torch.__version__,
            num_files=len(rows),
            sources=sources_table(rows),
        ),
        encoding="utf-8",
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True, help="that the run took")
    parser.add_argument("--out", type=Path, default=SHIPPED.with_name("vqkit-image"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / asked.out.name
        smaller(ImageTokenizer.from_pretrained(asked.run / "tokenizer")).save_pretrained(folder)
        if vqkit(["fit-prior", str(folder), str(asked.data / "images" / "photos"), "--classes", "6"]):
            raise SystemExit(1)
        write_card(folder, asked.data, asked.steps)
        shutil.rmtree(asked.out, ignore_errors=True)
        shutil.copytree(folder, asked.out)
    print(f"{asked.out}: {sum(path.stat().st_size for path in asked.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
