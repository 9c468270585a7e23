"""Music for videos (IVQV2M): does decoding the hexagrams of pictures with the codebooks of music carry information, without any adapter?

    vqkit generate pairs --out runs/pairs --train 96 --valid 16 --test 32
    python recipes/video_to_music.py --pairs runs/pairs --out runs/video-to-music

An image tokenizer with a bottom-up IVQ is trained on pictures of the training videos; the codec that ships gets an IVQ, fitted to their
music, in place of its quantizer; both write token files. Then one and the same transformer learns the music tokens under each condition,
with several seeds:

    hexagrams      the paper's: hexagrams of the pictures, decoded with the music codec's codebooks
    adapter        the pictures' own latents, read by a learned linear layer
    scrambled      as hexagrams, but each stage's hexagrams permuted at random: the same information in an arbitrary arrangement
    none           no condition

On test pairs: nats a code with the right pictures, with those of another clip of the same mood, and with those of another mood; then music
is generated for the test videos and measured against their own. An interrupted run goes on where it was: give the same command again.

PAIRS: a folder of videos with sound, in folders train and test; names begin with what they are of. Hardware: CPU, a quarter of an hour.
"""

import argparse
import statistics
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from vqkit import IVQ
from vqkit.bitstream import VqkReader, VqkWriter
from vqkit.data import read_audio
from vqkit.data.video import pictures
from vqkit.files import NewFile
from vqkit.generate.music import MusicGenerator
from vqkit.metrics import (
    KLD,
    LSD,
    ChromaSimilarity,
    FrechetDistance,
    LogMelPSNR,
    LogMelSSIM,
    LogMelStatistics,
    TwoTower,
    temporal_alignment,
)
from vqkit.models import ImageTokenizer, SpectralCodec, TokenGenerator, ViTBackbone, load_codec
from vqkit.models.audio.compression import vqk_header
from vqkit.models.generator.bridge import align, hexagram_bridge, latent_bridge
from vqkit.models.generator.picture_tokens import picture_codes, write_pictures
from vqkit.report.gallery import Exhibit, Gallery, Table, write_gallery
from vqkit.training import GeneratorDataModule, GeneratorModule, ImageDataModule, ImageModule, Optimisation, train
from vqkit.training.generator.token_streams import list_tokens, read_streams
from vqkit.training.reconstruction.quantizer_start import fit_quantizer

DIM, SIZE, TOKENS, RATE = 48, 64, 16, 4  # RATE: pictures a second that the two-tower model and TA see
CONDITIONS = ("hexagrams", "adapter", "scrambled", "none")


def main() -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokenizer-steps", type=int, default=300)
    parser.add_argument("--tower-steps", type=int, default=300)
    parser.add_argument("--generator-steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scored", type=int, default=32, help="test videos that music is generated for")
    asked = parser.parse_args()
    out, pairs = Path(asked.out), Path(asked.pairs)
    videos = {split: sorted((pairs / split).glob("*.mp4")) for split in ("train", "test")}
    heard = {split: [read_audio(path, 16000, 1).samples for path in paths] for split, paths in videos.items()}
    tokenizer = image_tokenizer(asked, out, videos["train"])
    codec = music_codec(out, heard["train"])
    write_tokens(out, videos, heard, tokenizer, codec)
    seen = {split: [torch.stack(list(pictures(path, 32, RATE))) for path in paths] for split, paths in videos.items()}
    tower = two_towers(asked, out, heard["train"], coded_train(out, codec), seen["train"])
    generators = {(name, seed): generator(asked, out, name, seed) for name in CONDITIONS for seed in range(asked.seeds)}
    likelihoods = likelihood_table(asked, out, generators)
    print(*likelihoods.rows, sep="\n", flush=True)
    few = slice(0, None, max(1, len(videos["test"]) // asked.scored))
    scores, exhibits = score_table(
        asked, out, generators, tokenizer, codec, tower, videos["test"][few], heard["test"][few], seen["test"][few]
    )
    write_gallery(
        out,
        Gallery(
            title="Music for videos: hexagrams as the bridge",
            summary="The same transformer under four conditions, on clips that vqkit generate pairs drew.",
            command="python " + " ".join(sys.argv),
            tables=[likelihoods, scores],
            exhibits=exhibits,
            facts=vars(asked),
        ),
    )


# --- the parts, each kept in the folder once it is there


def image_tokenizer(asked: argparse.Namespace, out: Path, videos: list[Path]) -> ImageTokenizer:
    """A ViT with a bottom-up IVQ, trained on two pictures a second of the videos."""
    images = out / "pictures.npz"
    if not images.exists():
        found = torch.stack([picture for path in videos for picture in pictures(path, SIZE, 2)])
        images.parent.mkdir(parents=True, exist_ok=True)
        with NewFile(images) as new:
            np.savez_compressed(
                new.file,
                images=(255 * found).round().byte().permute(0, 2, 3, 1).numpy(),
                split=np.array(["train"] * len(found)),
            )
    torch.manual_seed(0)
    backbone = ViTBackbone(DIM, image_size=SIZE, patch=8, tokens=TOKENS, width=96, depth=2, heads=4)
    module = ImageModule(
        ImageTokenizer(backbone, IVQ(DIM, variant="bottom-up")),
        learning_rate=1e-3,
        l1_weight=1,
        l2_weight=4,
        quantize_after=asked.tokenizer_steps // 3,
    )
    data = ImageDataModule(str(images), size=SIZE, batch_size=16, valid_split=None)
    return ImageTokenizer.from_pretrained(
        run(module, data, folder=str(out / "tokenizing"), steps=asked.tokenizer_steps)
    )


def music_codec(out: Path, music: list[Tensor]) -> SpectralCodec:
    """The shipped codec's networks with a bottom-up IVQ, fitted to the music."""
    folder = out / "codec"
    if not (folder / "config.json").exists():
        shipped = load_codec()
        codec = SpectralCodec(
            IVQ(DIM, variant="bottom-up"),
            sample_rate=shipped.sample_rate,
            hop_samples=shipped.hop_samples,
            encoder_width=256,
            encoder_blocks=4,
            decoder_width=288,
            decoder_blocks=6,
        )
        networks = {key: value for key, value in shipped.state_dict().items() if not key.startswith("quantizer.")}
        codec.load_state_dict(networks, strict=False)
        crops = torch.cat([wav[None, :, start : start + 16000] for wav in music for start in (16000, 64000)])
        fit_quantizer(codec.eval(), Crops(crops))
        codec.save_pretrained(folder)
    return SpectralCodec.from_pretrained(folder)


class Crops(TensorDataset):
    """Waveforms, one an item."""

    def __getitem__(self, index: int) -> Tensor:
        return super().__getitem__(index)[0]


def write_tokens(out: Path, videos, heard, tokenizer: ImageTokenizer, codec: SpectralCodec) -> None:
    """Codes of the music, and of one picture a second, under the same names."""
    for split, paths in videos.items():
        for path, wav in zip(paths, heard[split], strict=True):
            target = out / "tokens" / "music" / split / f"{path.stem}.vqk"
            if target.exists():
                continue
            looked = torch.stack(list(pictures(path, SIZE, 1)))
            codes = picture_codes(tokenizer, looked)
            write_pictures(
                out / "tokens" / "pictures" / split / target.name,
                tokenizer,
                codes,
                (SIZE, SIZE),
                pictures_per_second=Fraction(1),
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            with VqkWriter(target, vqk_header(codec)) as writer:
                writer.write(codec.encode(wav[None])[0].T)


@torch.no_grad()
def coded_train(out: Path, codec: SpectralCodec) -> list[Tensor]:
    """The training music as the codec gives it back."""
    if (out / "two_towers.safetensors").exists():
        return []
    files = list_tokens(out / "tokens" / "music", "train")
    return [codec.decode(VqkReader(file.path).read().T[None])[0] for file in files]


def two_towers(
    asked: argparse.Namespace, out: Path, heard: list[Tensor], coded: list[Tensor], seen: list[Tensor]
) -> TwoTower:
    """The model of CMR, trained on random four seconds of the training pairs, half of them coded: what the codec does must not matter."""
    from safetensors.torch import load_file, save

    from vqkit.files import write_whole

    torch.manual_seed(0)
    tower, path = TwoTower(), out / "two_towers.safetensors"
    if not path.exists():
        random = np.random.default_rng(0)
        optimizer = torch.optim.AdamW(tower.parameters(), 2e-3, weight_decay=0.05)
        for step in range(asked.tower_steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1, (step + 1) / 20) * (1 - step / asked.tower_steps)
            chosen = random.choice(len(heard), 24, replace=False)
            starts = [int(random.integers(0, len(seen[i]) - 4 * RATE + 1)) for i in chosen]
            given = [(coded if random.random() < 0.5 else heard)[i] for i in chosen]
            wav = torch.stack([music[0, 16000 // RATE * s :][:64000] for music, s in zip(given, starts, strict=True)])
            video = torch.stack([seen[i][s : s + 4 * RATE] for i, s in zip(chosen, starts, strict=True)])
            optimizer.zero_grad()
            tower.loss(wav, video).backward()
            optimizer.step()
        write_whole(path, save(tower.state_dict()))
    tower.load_state_dict(load_file(path))
    return tower.eval()


def bridge_of(name: str, out: Path):
    """What makes conditions of pictures."""
    tokenizer, codec = str(out / "tokenizing" / "tokenizer"), str(out / "codec")
    if name == "adapter":
        return latent_bridge(tokenizer)
    return None if name == "none" else hexagram_bridge(tokenizer, codec, 0 if name == "scrambled" else None)


def generator(asked: argparse.Namespace, out: Path, name: str, seed: int) -> TokenGenerator:
    """A generator under a condition."""
    torch.manual_seed(seed)
    model = TokenGenerator(
        (64,) * 4,
        width=asked.width,
        layers=asked.layers,
        heads=4,
        window=256,
        condition_dim=0 if name == "none" else TOKENS * DIM,
        condition_dropout=0.15,
    )
    bridge = bridge_of(name, out)
    data = GeneratorDataModule(
        str(out / "tokens" / "music"),
        frames=128,
        batch_size=8,
        conditions=None if bridge is None else str(out / "tokens" / "pictures"),
        bridge=bridge,
        valid_split=None,
        seed=seed,
    )
    module = GeneratorModule(model, optimisation=Optimisation(learning_rate=2e-3, warmup_steps=30, weight_decay=0.05))
    folder = out / f"generating-{name}-{seed}"
    return TokenGenerator.from_pretrained(
        run(module, data, folder=str(folder), steps=asked.generator_steps, seed=seed, average_decay=0.98)
    )


run = partial(train, accelerator="cpu", progress=False, log_every=20, save_every=100)


# --- what is measured


@torch.no_grad()
def likelihood_table(asked: argparse.Namespace, out: Path, generators) -> Table:
    """Nats a code on test music, with the right pictures and with wrong ones."""
    rows = []
    for name in CONDITIONS:
        conditions, bridge = out / "tokens" / "pictures", bridge_of(name, out)
        streams = read_streams(list_tokens(out / "tokens" / "music", "test"), True, None, conditions, bridge)
        moods = [stream.name.rpartition("/")[2].partition("_")[0] for stream in streams]
        found: dict[str, list[float]] = {"right": [], "same mood": [], "other mood": [], "no pictures": []}
        for seed in range(asked.seeds):
            model = generators[name, seed]
            for kind, values in found.items():
                if name == "none" and kind != "no pictures":
                    continue
                total = count = 0.0
                for i, stream in enumerate(streams):
                    ids = stream.ids[None, :256].long()
                    other = streams[partner(i, moods, kind)]
                    shown = (
                        None
                        if kind == "no pictures" or bridge is None
                        else align(other.condition, ids.shape[1], stream.pictures_per_frame)[None]
                    )
                    nats = model(ids, condition=shown)
                    total, count = total + float(nats.sum()), count + nats.numel()
                values.append(total / count)
        rows.append((name, *(spread(values) for values in found.values())))
    note = (
        "Mean over seeds ± half their range. The gain over no pictures is the information that a condition carries; the gap to a clip "
        "of the same mood is what it says beyond the mood. log 64 = 4.159 would be no knowledge at all. 'No pictures': a conditioned "
        "model with the condition hidden."
    )
    return Table(
        "Nats a code on test music",
        ("condition", "right pictures", "same mood", "other mood", "no pictures"),
        tuple(rows),
        note,
    )


def partner(i: int, moods: list[str], kind: str) -> int:
    """The clip whose pictures are shown."""
    if kind in ("right", "no pictures"):
        return i
    others = [j for j in range(len(moods)) if j != i and (moods[j] == moods[i]) == (kind == "same mood")]
    return others[i % len(others)]


def spread(values: list[float]) -> str:
    """Mean and half the range."""
    return f"{statistics.mean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}" if values else "–"


@torch.no_grad()
def score_table(asked, out: Path, generators, tokenizer, codec, tower, videos, heard, seen):
    """Music for the test videos, measured; and what there is to see and hear."""
    samples = min(wav.shape[1] for wav in heard)
    samples -= samples % codec.hop_samples
    reference = torch.stack([wav[:, :samples] for wav in heard])
    shown = torch.stack([video[: len(seen[0])] for video in seen])
    moods = [path.name.partition("_")[0] for path in videos]
    order = torch.tensor([partner(i, moods, "other mood") for i in range(len(moods))])
    coded = torch.cat([codec(wav[None]).wav for wav in reference])
    rows = [
        measured("own music", reference, reference, shown, order, tower),
        measured("own music, coded", coded, reference, shown, order, tower),
        measured("another's music", reference[order], reference, shown, order, tower),
    ]
    exhibits = []
    for name in CONDITIONS:
        each = []
        for seed in range(asked.seeds):
            model = generators[name, seed]
            frames = samples // codec.hop_samples
            bridge = bridge_of(name, out)
            streams = read_streams(
                list_tokens(out / "tokens" / "music", "test"), True, None, out / "tokens" / "pictures", bridge
            )
            by_name = {stream.name.rpartition("/")[2].removesuffix(".vqk"): stream for stream in streams}
            streams = [by_name[path.stem] for path in videos]
            condition = (
                None
                if bridge is None
                else torch.stack([align(s.condition, frames, s.pictures_per_frame) for s in streams])
            )
            guidance = 1.0 if bridge is None else asked.guidance
            ids = model.generate(
                frames, batch=len(heard), condition=condition, guidance=guidance, top_p=0.95, seed=seed
            )
            codes = codec.quantizer.from_hexagrams(ids).transpose(1, 2)
            made = torch.cat([codec.decode(part[None], samples) for part in codes])
            each.append(measured(name, made, reference, shown, order, tower))
        rows.append(tuple(merged(values) for values in zip(*each, strict=True)))
        print(rows[-1], flush=True)
        if name in ("hexagrams", "adapter"):
            music = MusicGenerator(generators[name, 0], codec, tokenizer, learned_adapter=name == "adapter")
            music.save(out / f"music-{name}")
            for path in videos[:: max(1, len(videos) // 4)] if name == "hexagrams" else []:
                music.score_video(
                    path, out / f"{path.stem}.mp4", seed=0, guidance=asked.guidance, top_p=0.95, overwrite=True
                )
                exhibits.append(Exhibit(path.stem, f"{path.stem}.mp4", f"Generated by {name}, seed 0."))
    names = ("music", "CMR", "CMR of another", "TA", "FD-logmel", "KLD", "LSD", "CS", "PSNR", "SSIM")
    note = (
        f"{len(heard)} test videos; mean over {asked.seeds} seeds. CMR: cosine of the two-tower model, trained on the training pairs; "
        "'of another': with the pictures of a clip of another mood. TA: correlation of onsets and visual change at 4 Hz. KLD with the "
        "classifier that ships, FD with statistics of log-mel spectra. KLD, LSD, CS, PSNR and SSIM compare with the clip's own music, "
        "which a generator is not meant to repeat: weak for generation, and given because the paper gives them."
    )
    return Table("Music for test videos", names, tuple(rows), note), exhibits


def measured(
    name: str, made: Tensor, reference: Tensor, shown: Tensor, order: Tensor, tower: TwoTower
) -> tuple[str, ...]:
    """A row."""
    window = slice(0, 4 * RATE)
    sound = made[:, 0, :64000]
    relevance = tower.relevance(sound, shown[:, window]).mean()
    other = tower.relevance(sound, shown[order][:, window]).mean()
    alignment = statistics.mean(
        temporal_alignment(wav[0], 16000, video, RATE) for wav, video in zip(made, shown, strict=True)
    )
    made = made.clamp(-1, 1)
    metrics = [
        FrechetDistance(LogMelStatistics(16000)),
        KLD(sample_rate=16000),
        LSD(),
        ChromaSimilarity(16000),
        LogMelPSNR(16000),
        LogMelSSIM(16000),
    ]
    values = []
    for metric in metrics:
        for estimate, original in zip(made, reference, strict=True):
            metric.update(estimate[None], original[None])
        values.append(float(metric.compute()))
    return (name, *(f"{value:.3f}" for value in (float(relevance), float(other), alignment, *values)))


def merged(values: tuple[str, ...]) -> str:
    """The mean of numbers, or the word."""
    try:
        return f"{statistics.mean(map(float, values)):.3f}"
    except ValueError:
        return values[0]


if __name__ == "__main__":
    main()
