"""Train a codec's decoder on codes that were found by listening to it.

    python recipes/codec_listening.py --start runs/codec-loudness/codec --data DATA --out runs/codec-listening/codec --minutes 40

Files of a codec have refined codes (`vqkit.models.audio.refinement`), which training never saw: it decodes the encoder's own. Here the
latents of each batch are refined in a few steps first, and the decoder learns from what their codes decode to. Encoder and codebooks
stay: an encoder that learns the refined latents runs away, since a straight-through gradient does not end where the codes have changed.

DATA: as for recipes/codec-loudness.yaml, whose losses and crops these are. The average of the weights is written every hundred steps, and
another run can start from there. Hardware: one CPU core, 0.6 steps a second.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from vqkit.data import AudioAugmentation, AudioCrops, list_clips
from vqkit.losses import BandLevels, CompressedSpectra, LoudnessDisturbance, MultiScaleMel
from vqkit.models import SpectralCodec
from vqkit.models.audio.refinement import LatentSearch

STAGES = (3, 4, 5, 6, 6, 6, 7, 8, 10, 12)  # drawn from, for each batch
WARMUP, AVERAGE = 20, 0.02


def crops(data: str, count: int, seed: int, sample_rate: int) -> AudioCrops:
    """Crops of a second and a half."""
    return AudioCrops(
        [clip for clip in list_clips(data, "train") if clip.group in ("speech", "music")],
        sample_rate,
        1,
        1.5,
        crops_per_epoch=count,
        seed=seed,
        short="pad",
        cache_megabytes=1500,
        group_shares={"speech": 0.7, "music": 0.3},
        peak_db=(-24, 0),
        augment=AudioAugmentation(speed=(0.85, 1.18), equalizer_db=6, mix=0.1, synthetic=0.12),
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, help="folder or name of a codec")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the codec")
    parser.add_argument("--minutes", type=float, default=40, help="the learning rate falls to zero over them")
    parser.add_argument("--refine-steps", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    draw = random.Random(asked.seed)
    codec = SpectralCodec.from_pretrained(asked.start).float().eval()
    quantizer, networks = codec.quantizer, list(codec.decoder.parameters())
    losses = {
        "loudness": (1.0, LoudnessDisturbance(codec.sample_rate)),
        "mel": (2.0, MultiScaleMel(codec.sample_rate, windows_per_call=2)),
        "spectrum": (2.0, CompressedSpectra(windows_per_call=2)),
        "level": (2.0, BandLevels(codec.sample_rate, windows_per_call=2)),
    }
    search = LatentSearch(codec, asked.refine_steps)
    optimizer = torch.optim.AdamW(networks, lr=asked.learning_rate, betas=(0.8, 0.99), weight_decay=0.01)
    average = [parameter.detach().clone() for parameter in networks]
    loader = DataLoader(crops(asked.data, 10**7, asked.seed, codec.sample_rate), batch_size=asked.batch)
    begin, told = time.monotonic(), []
    for step, wav in enumerate(loader):
        gone = (time.monotonic() - begin) / (60 * asked.minutes)
        optimizer.param_groups[0]["lr"] = asked.learning_rate * min(1.0, (step + 1) / WARMUP) * max(0.0, 1 - gone)
        stages = draw.choice(STAGES)
        with torch.no_grad():
            latent = codec.encoder(wav).transpose(1, 2)
        refined = search(latent, wav, stages)
        quantized = quantizer.decode(quantizer.first_stages(quantizer.encode(refined), stages))
        made = codec.decoder(quantized.transpose(1, 2))[..., : wav.shape[-1]]
        terms = {name: weight * distance(made, wav) for name, (weight, distance) in losses.items()}
        total = torch.stack([*terms.values()]).sum()
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(networks, 3.0)
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, networks, strict=True):
                mean.lerp_(parameter, AVERAGE)
        told.append([float(terms["loudness"].detach()), float(terms["mel"].detach())])
        if (step + 1) % 100 == 0 or gone >= 1:
            loudness, mel = torch.tensor(told[-100:]).mean(dim=0).tolist()
            print(
                f"step {step + 1}, {100 * gone:.0f} %: loudness {loudness:.3f}, mel {mel:.3f}",
                flush=True,
            )
            save(codec, networks, average, asked.out)
        if gone >= 1:
            break


@torch.no_grad()
def save(codec: SpectralCodec, networks: list[nn.Parameter], average: list[torch.Tensor], folder: Path) -> None:
    """Write the codec with the average of its weights."""
    own = [parameter.detach().clone() for parameter in networks]
    for parameter, mean in zip(networks, average, strict=True):
        parameter.copy_(mean)
    codec.save_pretrained(folder)
    for parameter, value in zip(networks, own, strict=True):
        parameter.copy_(value)


if __name__ == "__main__":
    main()
