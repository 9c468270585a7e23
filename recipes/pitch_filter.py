"""Train the pitch filter behind a codec's decoder (`vqkit.nn.pitch_filter`) on pairs of sound and what its codes decode to.

    python recipes/pitch_filter.py --start vqkit-codec-16khz-6 --data DATA --pairs runs/pairs --out runs/pitch-filter/codec

Codes are refined as those of files are (`vqkit.models.audio.refinement`), which takes longer than a step of the filter; nothing
before the filter learns, so the pairs are made once, in the folder ``--pairs``: 600 batches of 16 seconds, 2.7 hours, in ten minutes of one
core. A run that was cut off goes on where it was.

With ``--adversarial-share`` a discriminator of spectrograms plays as well (recipes/codec_listening.py): distances
leave noise that a listener without the reference hears.

DATA: as for recipes/codec-loudness.yaml. The average of the weights is written every hundred steps.
"""

import argparse
import hashlib
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from codec_listening import AVERAGE, STAGES, WARMUP, Opponent, crops, distances, save
from torch import nn
from torch.utils.data import DataLoader, Subset

from vqkit.files import write_whole
from vqkit.losses import Balancer
from vqkit.models import SpectralCodec, load_codec
from vqkit.models.audio.latent_search import LatentSearch

BATCH, SECONDS = 8, 2.0
TOLD = 25  # batches after which their number is written
WAVE_WEIGHT = 8.0  # with 3, which decoders learn with, more of the noise between harmonics stays


def with_pitch_filter(codec: SpectralCodec, width: int) -> SpectralCodec:
    """The same codec with a pitch filter that changes nothing yet."""
    given = {name: value for name, value in codec._hub_mixin_config.items() if name != "quantizer"}
    made = SpectralCodec(codec.quantizer, **given | {"pitch_filter_width": width})
    own = {name: value for name, value in codec.state_dict().items() if ".pitch_filter." not in name}
    lacking = made.load_state_dict(own, strict=False)
    assert not lacking.unexpected_keys
    assert all(".pitch_filter." in name for name in lacking.missing_keys)
    return made.eval()


def digest(codec: SpectralCodec) -> str:
    """Of all weights but the filter's."""
    found = hashlib.sha256()
    for name, value in sorted(codec.state_dict().items()):
        if ".pitch_filter." not in name:
            found.update((value.cpu().numpy() + 0).tobytes())  # an average makes 0 of −0
    return found.hexdigest()


class Pairs:
    """Batches of sound, and of what its refined codes decode to before the filter, in two files of 16 bits a sample."""

    def __init__(self, folder: Path, batches: int, codec: SpectralCodec, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shape = (batches, BATCH, round(SECONDS * codec.sample_rate))
        self._done, named = folder / "made.json", {"codec": digest(codec), "shape": list(shape)}
        found = json.loads(self._done.read_text()) if self._done.is_file() else named | {"seed": seed, "made": 0}
        self.made, self.seed = found.pop("made"), found.pop("seed")
        if found != named:
            raise SystemExit(f"{folder} has pairs of {found}, and not of {named}")
        self._named = named | {"seed": self.seed}
        mode = "r+" if self.made else "w+"
        self._files = [
            np.lib.format.open_memmap(folder / name, mode, np.float16, None if self.made else shape)
            for name in ("sound.npy", "decoded.npy")
        ]

    def __getitem__(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        sound, decoded = (torch.from_numpy(file[batch].astype(np.float32)).unsqueeze(1) for file in self._files)
        return sound, decoded

    def add(self, *pair: torch.Tensor) -> None:
        """Write a batch; its number is written now and then, after the batches."""
        for file, wav in zip(self._files, pair, strict=True):
            file[self.made] = wav.squeeze(1).cpu().numpy()
        self.made += 1
        if self.made % TOLD == 0 or self.made == len(self._files[0]):
            for file in self._files:
                file.flush()
            write_whole(self._done, json.dumps(self._named | {"made": self.made}).encode())


def make_pairs(pairs: Pairs, codec: SpectralCodec, asked: argparse.Namespace) -> None:
    """Search codes of what the folder lacks."""
    device = torch.device(asked.device)
    search = LatentSearch(codec.for_search(), asked.refine_steps)
    bare = codec.decoder.unfiltered()
    sound = crops(asked.data, asked.batches * BATCH, pairs.seed, codec.sample_rate, SECONDS)
    left = Subset(sound, range(pairs.made * BATCH, asked.batches * BATCH))
    begin = time.monotonic()
    for wav in (batch.to(device) for batch in DataLoader(left, batch_size=BATCH)):
        with torch.no_grad():
            latent = codec.encoder(wav).transpose(1, 2)
        _, codes = search(latent, wav, random.Random(f"{pairs.seed} {pairs.made}").choice(STAGES))
        with torch.no_grad():
            decoded = bare(codec.quantizer.decode(codes).transpose(1, 2))[..., : wav.shape[-1]]
        pairs.add(wav, decoded.float())
        if pairs.made % 100 == 0:
            print(f"{pairs.made} of {asked.batches} batches, {time.monotonic() - begin:.0f} s", flush=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, help="folder or name of a spectral codec")
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", type=Path, required=True, help="folder for the pairs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the codec")
    parser.add_argument("--width", type=int, default=128, help="of a new filter; 0 goes on with the codec's own")
    parser.add_argument("--batches", type=int, default=600, help="of pairs")
    parser.add_argument("--minutes", type=float, default=30, help="the learning rate falls to zero over them")
    parser.add_argument("--refine-steps", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--adversarial-share", type=float, default=0.0, help="of the gradient; 0 for no discriminator")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    draw, device = random.Random(asked.seed), torch.device(asked.device)
    codec = load_codec(asked.start).float().eval()
    if asked.width:
        codec = with_pitch_filter(codec, asked.width)
    pitch_filter = codec.to(device).decoder.pitch_filter
    if pitch_filter is None:
        parser.error(f"--width 0: {asked.start} has no pitch filter to go on with")
    pairs = Pairs(asked.pairs, asked.batches, codec, asked.seed)
    make_pairs(pairs, codec, asked)
    networks, losses, share = (
        [*pitch_filter.parameters()],
        distances(codec.sample_rate, WAVE_WEIGHT),
        asked.adversarial_share,
    )
    opponent = Opponent(codec.sample_rate, 4e-4, draw, device) if share else None
    weights = {"distance": 1 - share} | ({"adversarial": share / 2, "features": share / 2} if share else {})
    balancer = Balancer(weights, decay=0.99).to(device)
    optimizer = torch.optim.AdamW(networks, lr=asked.learning_rate, betas=(0.8, 0.99), weight_decay=0.01)
    average = [parameter.detach().clone() for parameter in networks]
    begin, gone, told = time.monotonic(), 0.0, []
    while gone < 1:
        gone = min(1.0, (time.monotonic() - begin) / (60 * asked.minutes))
        optimizer.param_groups[0]["lr"] = asked.learning_rate * min(1.0, (len(told) + 1) / WARMUP) * (1 - gone)
        wav, decoded = (signal.to(device) for signal in pairs[draw.randrange(pairs.made)])
        made = pitch_filter(decoded)
        terms = {name: weight * distance(made, wav) for name, (weight, distance) in losses.items()}
        against = opponent.losses(made, wav) if opponent else {}
        optimizer.zero_grad()
        balancer({"distance": torch.stack([*terms.values()]).sum()} | against, made).backward()
        nn.utils.clip_grad_norm_(networks, 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, networks, strict=True):
                mean.lerp_(parameter, AVERAGE)
        terms |= against
        told.append([float(terms[name].detach()) if name in terms else 0.0 for name in (*losses, "adversarial")])
        if len(told) % 100 == 0 or gone >= 1:
            means = zip([*losses, "adversarial"], torch.tensor(told[-100:]).mean(dim=0).tolist(), strict=True)
            shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means)
            print(f"step {len(told)}, {100 * gone:.0f} %: {shown}", flush=True)
            save(codec, networks, average, asked.out)


if __name__ == "__main__":
    main()
