"""Train a codec's decoder on codes that were found by listening to it.

    python recipes/codec_listening.py --start runs/codec-loudness/codec --data DATA --out runs/codec-listening/codec --minutes 40

Files of a codec have refined codes (`vqkit.models.audio.refinement`), which training never saw: it decodes the encoder's own. Here the
latents of each batch are refined in a few steps first, and the decoder learns from what their codes decode to. Encoder and codebooks
stay: an encoder that learns the refined latents runs away, since a straight-through gradient does not end where the codes have changed.

A pitch filter behind the decoder stays as it is too: recipes/pitch_filter.py trains it, after this.

With ``--adversarial-share`` a discriminator of spectrograms plays as well, on half a second of each crop: distances leave noise that a
listener without the reference hears. Its gradient has that share of all that reaches the waveforms, half of it by feature matching.

DATA: as for recipes/codec-loudness.yaml, whose losses and crops these are. The average of the weights is written every hundred steps, and
another run can start from there. Hardware: one CPU core, 1.6
steps a second, one with a discriminator.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from vqkit.data import AudioAugmentation, AudioCrops, list_clips
from vqkit.losses import Balancer, BandLevels, CompressedSpectra, LoudnessDisturbance, LowWave, MultiScaleMel
from vqkit.models import AudioTokenizer, load_codec
from vqkit.models.audio.latent_search import LatentSearch
from vqkit.nn import STFTDiscriminator
from vqkit.training.adversary import Adversary

STAGES = (3, 3, 3, 4, 5, 6, 6, 6, 7, 8, 10, 12)  # drawn from, for each batch
WARMUP, AVERAGE = 20, 0.02
JUDGED_SECONDS, WINDOWS = 0.5, (1024, 512, 256)  # of what the discriminator hears, and its windows
LEARNS_ALONE = 200  # steps before the decoder listens to it


class Opponent:
    """The discriminator, its optimizer, and the piece of each batch that it hears."""

    def __init__(self, sample_rate: int, learning_rate: float, draw: random.Random, device: torch.device) -> None:
        self._draw, self._steps, self._judged = draw, 0, round(JUDGED_SECONDS * sample_rate)
        judge = STFTDiscriminator(num_filters=16, window_samples=WINDOWS)
        self._adversary = Adversary(judge, update_share=0.5).to(device)
        self._optimizer = torch.optim.AdamW(self._adversary.parameters(), lr=learning_rate, betas=(0.8, 0.99))

    def losses(self, made: torch.Tensor, wav: torch.Tensor) -> dict[str, torch.Tensor]:
        """Learn from a batch, and say what it has against what was made."""
        begin = self._draw.randrange(wav.shape[-1] - self._judged + 1)
        made, wav = (signal[..., begin : begin + self._judged] for signal in (made, wav))
        self._steps += 1
        if self._steps <= LEARNS_ALONE or self._adversary.learns(self._steps):
            self._optimizer.zero_grad()
            self._adversary.own_loss(made, wav).backward()
            self._optimizer.step()
        return {} if self._steps <= LEARNS_ALONE else self._adversary.model_losses(made, wav)


def distances(sample_rate: int, wave_weight: float = 3.0) -> dict[str, tuple[float, nn.Module]]:
    """What decoded sound is to be near in, by name, with weights."""
    return {
        "loudness": (1.5, LoudnessDisturbance(sample_rate)),
        "mel": (2.0, MultiScaleMel(sample_rate, windows_per_call=2)),
        "spectrum": (2.0, CompressedSpectra(windows_per_call=2)),
        "level": (2.0, BandLevels(sample_rate, windows_per_call=2)),
        "wave": (wave_weight, LowWave(sample_rate)),
    }


def crops(data: str, count: int, seed: int, sample_rate: int, seconds: float = 1.5) -> AudioCrops:
    """Crops of speech and music, varied."""
    return AudioCrops(
        [clip for clip in list_clips(data, "train") if clip.group in ("speech", "music")],
        sample_rate,
        1,
        seconds,
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
    parser.add_argument("--adversarial-share", type=float, default=0.0, help="of the gradient; 0 for no discriminator")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="processes that read sound")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    draw = random.Random(asked.seed)
    device = torch.device(asked.device)
    codec = load_codec(asked.start).float().eval().to(device)
    quantizer = codec.quantizer
    networks = [p for name, p in codec.decoder.named_parameters() if not name.startswith("pitch_filter.")]
    for parameter in codec.parameters():
        parameter.requires_grad_(False)
    for parameter in networks:
        parameter.requires_grad_()
    losses = distances(codec.sample_rate)
    search = LatentSearch(codec.for_search(), asked.refine_steps)
    share = asked.adversarial_share
    opponent = Opponent(codec.sample_rate, asked.learning_rate, draw, device) if share else None
    weights = {"distance": 1 - share} | ({"adversarial": share / 2, "features": share / 2} if share else {})
    balancer = Balancer(weights, decay=0.99).to(device)
    optimizer = torch.optim.AdamW(networks, lr=asked.learning_rate, betas=(0.8, 0.99), weight_decay=0.01)
    average = [parameter.detach().clone() for parameter in networks]
    sound = crops(asked.data, 10**7, asked.seed, codec.sample_rate)
    loader = DataLoader(sound, batch_size=asked.batch, num_workers=asked.workers)
    begin, told = time.monotonic(), []
    for step, wav in enumerate(batch.to(device) for batch in loader):
        gone = (time.monotonic() - begin) / (60 * asked.minutes)
        optimizer.param_groups[0]["lr"] = asked.learning_rate * min(1.0, (step + 1) / WARMUP) * max(0.0, 1 - gone)
        stages = draw.choice(STAGES)
        with torch.no_grad():
            latent = codec.encoder(wav).transpose(1, 2)
        _, codes = search(latent, wav, stages)
        quantized = quantizer.decode(codes)
        with torch.autocast(device.type, torch.bfloat16):
            made = codec.decoder(quantized.transpose(1, 2))[..., : wav.shape[-1]].float()
        terms = {name: weight * distance(made, wav) for name, (weight, distance) in losses.items()}
        against = opponent.losses(made, wav) if opponent else {}
        total = balancer({"distance": torch.stack([*terms.values()]).sum()} | against, made)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(networks, 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, networks, strict=True):
                mean.lerp_(parameter, AVERAGE)
        terms = {name: term.detach() for name, term in {**terms, **against}.items()}
        told.append([float(terms[name]) for name in losses] + [float(terms.get("adversarial", 0))])
        if (step + 1) % 100 == 0 or gone >= 1:
            means = zip([*losses, "adversarial"], torch.tensor(told[-100:]).mean(dim=0).tolist(), strict=True)
            shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means)
            print(f"step {step + 1}, {100 * gone:.0f} %: {shown}", flush=True)
            save(codec, networks, average, asked.out)
        if gone >= 1:
            break


@torch.no_grad()
def save(codec: AudioTokenizer, networks: list[nn.Parameter], average: list[torch.Tensor], folder: Path) -> None:
    """Write the codec with the average of its weights."""
    own = [parameter.detach().clone() for parameter in networks]
    for parameter, mean in zip(networks, average, strict=True):
        parameter.copy_(mean)
    codec.save_pretrained(folder)
    for parameter, value in zip(networks, own, strict=True):
        parameter.copy_(value)


if __name__ == "__main__":
    main()
