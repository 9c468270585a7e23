"""One codebook for sound, images and video: what does each lose against a codebook of its own?

    python recipes/shared_codebook.py --sound DATA --images PHOTOS --videos FILMS --out runs/shared-codebook

A codec, an image tokenizer and a video tokenizer, each with a quantizer of its own, and the same around one quantizer whose codes all use,
trained on batches of each in turn. Same networks, steps, batches and seeds. IVQ, section 4.4, and LooC, section 6 ("research vision"),
suppose that a small composed codebook can serve several kinds of data. A third row, "crossed", decodes the codes of each model with own
codebooks by the codebooks of the next one (sound by images', images by videos', videos by sound's), as IVQ's video-to-music does with
hexagrams: it says how much of a code's meaning lies in the index alone.

DATA: a folder of sound with a manifest; PHOTOS: a folder of images with train and test folders within; FILMS: likewise of videos, may be
left out. Measured on the test splits.
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
from vqkit.data.video import VideoClips, list_videos
from vqkit.losses import MultiScaleMel, waveform_l1
from vqkit.metrics import SISDR, CodebookUsage, ImagePSNR, ImageSSIM, MelDistance
from vqkit.models import ConvBackbone, ImageTokenizer, SpectralCodec, VideoTokenizer
from vqkit.nn import balanced_rotation
from vqkit.quantize import Quantizer

DIM, RATE, SIZE, BOXES, KEPT_CLIPS = 120, 16000, 64, 40, 400
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

    def measure(self, codec: SpectralCodec, usage: CodebookUsage, decoder: Quantizer) -> dict[str, float]:
        """On the test clips, with the codebooks of ``decoder`` behind the codes."""
        sisdr, mel = SISDR(), MelDistance(RATE)
        for wav in self.test:
            codes = codec.encode(wav).transpose(1, 2)
            usage.update(codes)
            back = codec.synthesize(decoder.decode(codes), wav.shape[-1])
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

    def measure(self, tokenizer: ImageTokenizer, usage: CodebookUsage, decoder: Quantizer) -> dict[str, float]:
        """On the test boxes, with the codebooks of ``decoder`` behind the codes."""
        psnr, ssim = ImagePSNR(), ImageSSIM()
        for images in self.test.split(40):
            codes = tokenizer.encode(images).movedim(1, -1)
            usage.update(codes)
            back = tokenizer.synthesize(decoder.decode(codes))
            psnr.update(back, images)
            ssim.update(back, images)
        return {"PSNR dB": float(psnr.compute()), "SSIM": float(ssim.compute())}


class Films:
    """The video tokenizer, its clips and its test clips: eight frames of 32 pixels."""

    def __init__(self, source: str, steps: int, batch: int, seed: int) -> None:
        clips = partial(VideoClips, frames=8, stride=2, size=(32, 32))
        drawn = clips(list_videos(source, "train"), length=KEPT_CLIPS, crop="multi-scale", seed=seed)
        self.clips = torch.stack([drawn[i] for i in range(KEPT_CLIPS)])  # decoded once
        self.order = torch.randint(KEPT_CLIPS, (steps, batch), generator=torch.Generator().manual_seed(seed))
        test = clips(list_videos(source, "test"))
        self.test = torch.stack([test[i] for i in range(len(test))])

    def model(self, quantizer: Quantizer) -> VideoTokenizer:
        """A tokenizer at unit scale, whose pieces of the latent are worth the same."""
        tokenizer = VideoTokenizer(quantizer, width=48)
        videos = self.clips[:16]
        tokenizer.initialize(videos)
        tokenizer.rotate_latent(balanced_rotation(tokenizer.analyze(videos).flatten(end_dim=-2)))
        return tokenizer

    def items(self, step: int) -> Tensor:
        """The batch of a step."""
        return self.clips[self.order[step]]

    def loss(self, tokenizer: VideoTokenizer, videos: Tensor) -> Tensor:
        """What the tokenizer minimises."""
        out = tokenizer(videos)
        return 60 * functional.mse_loss(out.signal, videos) + out.quantized.loss

    def measure(self, tokenizer: VideoTokenizer, usage: CodebookUsage, decoder: Quantizer) -> dict[str, float]:
        """On the test clips, with the codebooks of ``decoder`` behind the codes."""
        psnr = ImagePSNR()
        for videos in self.test.split(16):
            codes = tokenizer.encode(videos).movedim(1, -1)
            usage.update(codes)
            back = tokenizer.synthesize(decoder.decode(codes), tuple(videos.shape[2:]))
            psnr.update(back.transpose(1, 2).flatten(end_dim=1), videos.transpose(1, 2).flatten(end_dim=1))
        return {"PSNR dB": float(psnr.compute())}


Kind = Sound | Pictures | Films
Model = SpectralCodec | ImageTokenizer | VideoTokenizer
WAYS = ("own", "shared", "crossed")
FOLDERS = ("sound", "images", "videos", "out")


def train(kinds: list[Kind], make: Callable[[], Quantizer], steps: int, learning_rate: float, seed: int) -> list[Model]:
    """Train a model of each kind around one quantizer."""
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
    return [model.eval() for model in models]


@torch.no_grad()
def measured(kind: Kind, model: Model, decoder: Quantizer) -> dict[str, float]:
    """What a model reaches on test data with a quantizer's codebooks behind its codes."""
    usage = CodebookUsage(model.quantizer.code_sizes, model.quantizer.codes_per_stage)
    values = kind.measure(model, usage, decoder)
    return {**values, "usage": usage.compute().pooled.usage}


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sound", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--videos")
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
        kinds: dict[str, Kind] = {
            "sound": Sound(args.sound, args.steps, args.batch, args.test_clips, seed),
            "images": Pictures(args.images, args.steps, args.batch, seed),
        }
        if args.videos:
            kinds["video"] = Films(args.videos, args.steps, args.batch, seed)
        for name in args.systems:
            make = partial(constructor(SYSTEMS[name]), DIM)
            if all(any((run["system"], run["way"], run["seed"]) == (name, way, seed) for run in runs) for way in WAYS):
                continue
            runs = [run for run in runs if (run["system"], run["seed"]) != (name, seed)]
            own = [train([kind], make, args.steps, args.learning_rate, seed)[0] for kind in kinds.values()]
            shared = train(list(kinds.values()), make, args.steps, args.learning_rate, seed)
            next_ones = [*own[1:], own[0]]
            decoders = {
                "own": (own, [model.quantizer for model in own]),
                "shared": (shared, [model.quantizer for model in shared]),
                "crossed": (own, [model.quantizer for model in next_ones]),
            }
            for way, (models, quantizers) in decoders.items():
                found = {
                    kind: measured(data, model, decoder)
                    for (kind, data), model, decoder in zip(kinds.items(), models, quantizers, strict=True)
                }
                floats = quantizers[0].codebook_numel * (1 if way == "shared" else len(kinds))
                facts = {"bits": quantizers[0].bits_per_vector, "codebook_floats": floats}
                runs.append({"system": name, "way": way, "seed": seed, **facts, **found})
                print(json.dumps(runs[-1]), flush=True)
            # folders of this machine say nothing to others
            settings = {key: str(value) for key, value in vars(args).items() if key not in FOLDERS}
            path.write_text(json.dumps({"commit": commit(), "settings": settings, "runs": runs}, indent=1) + "\n")
    (args.out / "table.md").write_text(table(runs))
    print(table(runs))


def table(runs: list[dict]) -> str:
    """Mean ± standard deviation over the seeds."""
    kinds = [kind for kind in ("sound", "images", "video") if kind in runs[0]]
    columns = [(kind, key) for kind in kinds for key in runs[0][kind]]
    heads = " | ".join(f"{kind}: {key}" for kind, key in columns)
    rows = [f"| system | codebooks | bits a vector | floats | {heads} |", "|---|---|---|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(run["system"] for run in runs):
        for way in WAYS:
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
