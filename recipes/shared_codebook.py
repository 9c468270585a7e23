"""One codebook for sound and images: what does each lose against a codebook of its own?

    python recipes/shared_codebook.py --sound DATA --images PHOTOS --out runs/shared-codebook

A codec and an image tokenizer, each with a quantizer of its own, and the same two around one quantizer whose codes both use, trained on
batches of sound and of images in turn. Same networks, steps, batches and seeds. IVQ, section 4.4, and LooC, section 6 ("research vision"),
suppose that a small composed codebook can serve several kinds of data.

DATA: a folder of sound with a manifest; PHOTOS: a folder of images with train and test folders within. Measured on the test splits.
Two CPU cores: about a minute for each row and seed at the default size.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.code_digest import commit
from vqkit.compare.expression import constructor
from vqkit.data import AudioCrops, Images, ShuffledImages, list_clips, list_images, read_audio
from vqkit.losses import MultiScaleMel, waveform_l1
from vqkit.metrics import SISDR, CodebookUsage, ImagePSNR, ImageSSIM, MelDistance
from vqkit.models import ConvBackbone, ImageTokenizer, SpectralCodec
from vqkit.nn import balanced_rotation
from vqkit.quantize import Quantizer

DIM, RATE, SIZE, BOXES = 120, 16000, 64, 40
SYSTEMS = {
    "IVQ bottom-up": 'IVQ(dim, variant="bottom-up")',
    "IVQ yin-yang": "IVQ(dim)",
    "RVQ 4×64": "RVQ(dim, 64, 4)",
}


class Sound:
    """The codec, its crops and its test clips."""

    def __init__(self, source: str, steps: int, batch: int, test_clips: int, seed: int) -> None:
        clips = list_clips(source, "train")
        self.crops = AudioCrops(
            clips, RATE, 1, 0.5, crops_per_epoch=steps * batch, seed=seed, short="pad", cache_megabytes=1500
        )
        test = [clip for clip in list_clips(source, "test") if clip.seconds >= 1]
        kept = min(test_clips, len(test))
        self.test = [read_audio(test[i * len(test) // kept].path, RATE, 1).samples[None] for i in range(kept)]
        self.batch, self.mel = batch, MultiScaleMel(RATE)

    def model(self, quantizer: Quantizer) -> SpectralCodec:
        """A codec whose pieces of the latent are worth the same."""
        codec = SpectralCodec(quantizer, encoder_width=128, encoder_blocks=2, decoder_width=128, decoder_blocks=3)
        wav = torch.stack([self.crops[i] for i in range(min(len(self.crops), 64))])
        codec.initialize(wav)
        codec.rotate_latent(balanced_rotation(codec.analyze(wav).flatten(end_dim=1)))
        return codec

    def items(self, step: int) -> Tensor:
        """The batch of a step."""
        return torch.stack([self.crops[step * self.batch + i] for i in range(self.batch)])

    def loss(self, codec: SpectralCodec, wav: Tensor) -> Tensor:
        """What the codec minimises."""
        out = codec(wav)
        return 20 * waveform_l1(out.wav, wav) + self.mel(out.wav, wav) + out.quantized.loss

    def measure(self, codec: SpectralCodec, usage: CodebookUsage) -> dict[str, float]:
        """On the test clips."""
        sisdr, mel = SISDR(), MelDistance(RATE)
        for wav in self.test:
            codes = codec.encode(wav)
            usage.update(codes.transpose(1, 2))
            back = codec.decode(codes, wav.shape[-1])
            sisdr.update(back, wav)
            mel.update(back, wav)
        return {"SI-SDR dB": float(sisdr.compute()), "mel distance": float(mel.compute())}


class Pictures:
    """The tokenizer, its boxes and its test boxes."""

    def __init__(self, source: str, steps: int, batch: int, seed: int) -> None:
        crop = partial(Images, size=SIZE, channels=3, crop="random", crop_share=(0.1, 0.5), cache_megabytes=2000)
        self.images = ShuffledImages(crop(list_images(source, "train"), seed=seed), steps * batch, flip=True)
        test = crop(list_images(source, "test"), unreadable="raise")
        self.test = torch.stack([test.draw(i, box).image for i in range(len(test)) for box in range(BOXES)])
        self.batch = batch

    def model(self, quantizer: Quantizer) -> ImageTokenizer:
        """A tokenizer at unit scale, whose pieces of the latent are worth the same."""
        tokenizer = ImageTokenizer(ConvBackbone(DIM, width=64, downsamples=3), quantizer)
        images = self.items(0)
        tokenizer.initialize(images)
        tokenizer.rotate_latent(balanced_rotation(tokenizer.analyze(images).flatten(end_dim=-2)))
        return tokenizer

    def items(self, step: int) -> Tensor:
        """The batch of a step."""
        return torch.stack([self.images[step * self.batch + i] for i in range(self.batch)])

    def loss(self, tokenizer: ImageTokenizer, images: Tensor) -> Tensor:
        """What the tokenizer minimises."""
        out = tokenizer(images)
        return 60 * functional.mse_loss(out.images, images) + out.quantized.loss

    def measure(self, tokenizer: ImageTokenizer, usage: CodebookUsage) -> dict[str, float]:
        """On the test boxes."""
        psnr, ssim = ImagePSNR(), ImageSSIM()
        for images in self.test.split(40):
            codes = tokenizer.encode(images)
            usage.update(codes.movedim(1, -1))
            back = tokenizer.decode(codes)
            psnr.update(back, images)
            ssim.update(back, images)
        return {"PSNR dB": float(psnr.compute()), "SSIM": float(ssim.compute())}


Kind = Sound | Pictures


def train(kinds: list[Kind], make: Callable[[], Quantizer], steps: int, learning_rate: float, seed: int) -> list[dict]:
    """Train a model of each kind around one quantizer, and measure each."""
    torch.manual_seed(seed)
    quantizer = make()
    models = []
    for kind in kinds:
        torch.manual_seed(seed)  # a model starts as it does alone
        models.append(kind.model(quantizer))
    with torch.no_grad():
        latents = [model.analyze(kind.items(0)).flatten(end_dim=-2) for kind, model in zip(kinds, models, strict=True)]
        least = min(map(len, latents))
    quantizer.fit(torch.cat([latent[:least] for latent in latents]), seed=seed)
    parameters = {id(p): p for model in models for p in model.parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, betas=(0.8, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        for kind, model in zip(kinds, models, strict=True):
            kind.loss(model.train(), kind.items(step)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    found = []
    for kind, model in zip(kinds, models, strict=True):
        usage = CodebookUsage(quantizer.code_sizes, quantizer.codes_per_stage)
        with torch.no_grad():
            values = kind.measure(model.eval(), usage)
        found.append({**values, "usage": usage.compute().pooled.usage})
    return found


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sound", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8, help="crops of sound, and boxes of images, a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--test-clips", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("runs/shared-codebook"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "results.json"
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    for seed in args.seeds:
        sound = Sound(args.sound, args.steps, args.batch, args.test_clips, seed)
        pictures = Pictures(args.images, args.steps, args.batch, seed)
        ways: dict[str, list[Kind]] = {"own": [], "shared": [sound, pictures]}
        for name in args.systems:
            make = partial(constructor(SYSTEMS[name]), DIM)
            for way in ways:
                if any(run["system"] == name and run["way"] == way and run["seed"] == seed for run in runs):
                    continue
                groups: list[list[Kind]] = [[sound], [pictures]] if way == "own" else [[sound, pictures]]
                found = [one for kinds in groups for one in train(kinds, make, args.steps, args.learning_rate, seed)]
                quantizer = make()
                floats = quantizer.codebook_numel * len(groups)
                facts = {"bits": quantizer.bits_per_vector, "codebook_floats": floats}
                runs.append({"system": name, "way": way, "seed": seed, **facts, "sound": found[0], "images": found[1]})
                print(json.dumps(runs[-1]), flush=True)
                settings = {key: str(value) for key, value in vars(args).items()}
                path.write_text(json.dumps({"commit": commit(), "settings": settings, "runs": runs}, indent=1) + "\n")
    (args.out / "table.md").write_text(table(runs))
    print(table(runs))


def table(runs: list[dict]) -> str:
    """Mean ± standard deviation over the seeds."""
    columns = [(kind, key) for kind in ("sound", "images") for key in runs[0][kind]]
    heads = " | ".join(f"{kind}: {key}" for kind, key in columns)
    rows = [f"| system | codebooks | bits a vector | floats | {heads} |", "|---|---|---|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(run["system"] for run in runs):
        for way in ("own", "shared"):
            mine = [run for run in runs if run["system"] == name and run["way"] == way]
            cells = [_cell([run[kind][key] for run in mine]) for kind, key in columns]
            first = mine[0]
            rows.append(f"| {name} | {way} | {first['bits']:g} | {first['codebook_floats']:,} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
