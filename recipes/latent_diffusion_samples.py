"""Samples of a latent diffusion against test images, from the pipeline as diffusers loads it.

    vqkit train --config recipes/latent-diffusion-stage.yaml
    vqkit train --config recipes/latent-diffusion.yaml
    python recipes/latent_diffusion_samples.py runs/latent-diffusion/pipeline --data digits --size 16 --out runs/latent-samples

Prints rows of a table: Fréchet distance with a named extractor, precision, recall, and the median distance to the most similar
training image over that of test images (far below 1 would be copying); with training images and with coded test images in place of
samples, too. Writes the samples as a grid, and beside each of ten its most similar training image. Hardware: CPU, about a minute for 300
samples of 50 steps.
"""

import argparse
from pathlib import Path

import torch
from diffusers import LDMPipeline
from generate_images import embed, frechet, whole_set
from torch import Tensor

from vqkit.data import write_image
from vqkit.generate.image import image_grid
from vqkit.metrics import coverage, nearest
from vqkit.models import QuantizedVQModel
from vqkit.nn import EfficientNetLite0


@torch.no_grad()
def main() -> None:
    """Sample, measure, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline")
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--samples", type=int, default=300, help="images compared on each side")
    parser.add_argument("--steps", type=int, default=50, help="steps of the sampler")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    test, train = (whole_set(asked, split)[0] for split in ("test", "train"))
    extractor = EfficientNetLite0.from_package(input_size=64)
    real, known = embed(extractor, test)[: asked.samples], embed(extractor, train)
    pipeline = LDMPipeline.from_pretrained(asked.pipeline)
    assert isinstance(pipeline.vqvae, QuantizedVQModel)
    made = sampled(pipeline, asked)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[: asked.samples]
    back = torch.cat([pipeline.vqvae(2 * part - 1).sample / 2 + 0.5 for part in test.split(64)])
    psnr = float((-10 * (back.clamp(0, 1) - test).square().flatten(1).mean(dim=1).log10()).mean())
    print(f"first stage: PSNR {psnr:.2f} dB on test images; {len(made)} samples, {asked.steps} steps each\n")
    print(f"| | FD-{extractor.name} | precision | recall | nearest |\n|---|---|---|---|---|")
    for name, vectors in (
        ("training images", known[order]),
        ("test images, coded", embed(extractor, back)[: asked.samples]),
        ("samples", embed(extractor, made)),
    ):
        found = coverage(vectors, real)
        near = nearest(vectors, known).distance.median() / nearest(real, known).distance.median()
        ratio = "–" if name == "training images" else f"{float(near):.2f}"  # they lie in the set that is searched
        print(f"| {name} | {frechet(vectors, real):.1f} | {found.precision:.2f} | {found.recall:.2f} | {ratio} |")
    asked.out.mkdir(parents=True, exist_ok=True)
    enlarge = max(1, 56 // asked.size)
    write_image(asked.out / "samples.png", image_grid(made[:60], 20, enlarge=enlarge))
    close = nearest(embed(extractor, made[:10]), known).index
    pairs = torch.stack([image for n in range(10) for image in (made[n], train[close[n]])])
    write_image(asked.out / "nearest.png", image_grid(pairs, 20, enlarge=enlarge))


def sampled(pipeline: LDMPipeline, asked: argparse.Namespace) -> Tensor:
    """Images in [0, 1]."""
    generator = torch.Generator().manual_seed(asked.seed)
    pipeline.set_progress_bar_config(disable=True)
    parts, left = [], asked.samples
    while left:
        count = min(left, 100)
        found = pipeline(
            batch_size=count, num_inference_steps=asked.steps, generator=generator, output_type="np"
        ).images
        parts.append(torch.from_numpy(found).permute(0, 3, 1, 2).float())
        left -= count
    return torch.cat(parts)


if __name__ == "__main__":
    main()
