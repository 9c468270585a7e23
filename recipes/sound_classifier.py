"""Train the classifier that ships with vqkit (vqkit.metrics.SoundClassifier) on labelled sounds, and write its model card.

    python recipes/sound_classifier.py --data FOLDER

FOLDER holds manifest.csv with the columns path, split, group, subset, label, source_package, licence, attribution, and the
files it names. One thread, no GPU, four minutes. The train split is learned from, the valid split decides which step is kept,
and the test split is only reported. The same seed gives the same file on the same machine and versions.
Expect 1.22 nats of −ln p on the valid split (1.22 after 1200 steps, 1.33 after 2000) and 83 % of the test files right.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from sound_classifier_card import card
from torch import Tensor
from torch.nn import functional as F

from vqkit.data import Clip, list_clips, read_audio
from vqkit.metrics.sound_classifier import SHIPPED_WEIGHTS, SoundClassifier
from vqkit.metrics.sound_network import MODEL_RATE, WINDOW_FRAMES, SoundNetwork, log_mel

SUBSETS = {"music24": "music", "notes": "notes", "drums": "drums", "world": "world"}  # a class each label
JOINED = {  # what is not a class of its own, and where it goes
    ("music24", "rock"): "music/rock_metal",
    ("music24", "metal"): "music/rock_metal",
    ("stems24", "rock:backing"): "music/rock_metal",
    ("stems24", "metal:backing"): "music/rock_metal",
    ("world", "animals/birds"): "world/birds_insects",
    ("world", "animals/insects"): "world/birds_insects",
    ("world", "animals/mammals"): "world/mammals",
    ("world", "animals/marsupials"): "world/mammals",
    ("oneshots", "bass_drum"): "drums/kick",
    ("oneshots", "snare"): "drums/snare",
    ("oneshots", "bass"): "notes/bass",
    ("oneshots", "guitar"): "notes/guitar",
}
FEWEST_FILES = 5  # a class with fewer in training is left out
MEL_SHIFT, STRETCH, GAIN_DB = 2, 0.15, (-20.0, 6.0)  # what the network is to disregard
STRETCHED_FRAMES = 400  # longer clips are cropped, and not stretched as well
MIXUP, SMOOTHING, LEARNING_RATE, WEIGHT_DECAY = 0.4, 0.1, 2e-3, 1e-2


def class_of(clip: Clip) -> str | None:
    """Class of a clip; None for what is not used."""
    subset, label = clip.labels["subset"], clip.labels["label"]
    if clip.group == "speech":
        return "speech"
    return JOINED.get((subset, label)) or (f"{SUBSETS[subset]}/{label}" if subset in SUBSETS else None)


def labelled(data: Path) -> dict[str, list[tuple[str, Clip]]]:
    """(class, clip) of each split, only classes with enough training files."""
    pairs = [(class_of(clip), clip) for clip in list_clips(data) if clip.group in ("music", "speech", "events")]
    files = defaultdict(int)
    for name, clip in pairs:
        files[name] += clip.split == "train"
    kept = [(name, clip) for name, clip in pairs if name is not None and files[name] >= FEWEST_FILES]
    return {split: [(name, clip) for name, clip in kept if clip.split == split] for split in ("train", "valid", "test")}


def picture(clip: Clip) -> Tensor:
    """Log-mel of the whole clip, (mels, frames)."""
    return log_mel(read_audio(clip.path, MODEL_RATE, channels=1).samples)[0]


class Sampler:
    """Random windows, every class equally often, gain and length and pitch varied a little, pairs mixed.

    Args:
        pictures: log-mels of each class, in the order of the classes.
        seed: of all that is random.
    """

    def __init__(self, pictures: list[list[Tensor]], seed: int) -> None:
        self.pictures = pictures
        self.random = torch.Generator().manual_seed(seed)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Windows (size, mels, frames) and the probabilities of their classes (size, classes)."""
        chosen = torch.randint(len(self.pictures), (size,), generator=self.random)
        x = torch.stack([self._window(self.pictures[i]) for i in chosen.tolist()])
        y = F.one_hot(chosen, len(self.pictures)).float()
        share = torch.tensor([self._mixed() for _ in range(size)])[:, None]
        other = torch.randperm(size, generator=self.random)
        return torch.lerp(x[other], x, share[:, None]), torch.lerp(y[other], y, share)

    def _mixed(self) -> float:
        """Share of the first of a pair, Beta(MIXUP, MIXUP) folded to above a half (Jöhnk's way of drawing it)."""
        while True:
            a, b = (torch.rand(2, generator=self.random) ** (1 / MIXUP)).tolist()
            if 0 < a + b <= 1:
                return max(a, b) / (a + b)

    def _window(self, pictures: list[Tensor]) -> Tensor:
        x = pictures[self._below(len(pictures))]
        shift = self._below(2 * MEL_SHIFT + 1)
        x = F.pad(x[None], (0, 0, shift, 2 * MEL_SHIFT - shift), mode="replicate")[0, MEL_SHIFT:-MEL_SHIFT]
        if x.shape[1] <= STRETCHED_FRAMES:
            frames = round(x.shape[1] * (1 + self._between(-STRETCH, STRETCH)))
            x = F.interpolate(x[None], size=max(1, frames), mode="linear")[0]
        start = self._below(max(1, x.shape[1] - WINDOW_FRAMES + 1))
        x = x[:, start : start + WINDOW_FRAMES]
        x = F.pad(x, (0, WINDOW_FRAMES - x.shape[1]))
        return (x + self._between(*GAIN_DB) / 80).clamp_min(0)  # a picture spans 80 dB

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=self.random))

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.random))


def nll(network: SoundNetwork, pictures: list[tuple[int, Tensor]]) -> float:
    """−ln p of the right class, mean over the files of each class, then over classes."""
    network.eval()
    costs = defaultdict(list)
    with torch.no_grad():
        for index, x in pictures:
            costs[index].append(-float(network.posterior(x[None])[index].log()))
    network.train()
    return sum(sum(cost) / len(cost) for cost in costs.values()) / len(costs)


def train(
    sampler: Sampler, valid: list[tuple[int, Tensor]], seed: int, steps: int, batch_size: int
) -> dict[str, Tensor]:
    """Weights of the step with the least negative log likelihood on the valid split."""
    torch.manual_seed(seed)
    network = SoundNetwork(len(sampler.pictures))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    best, kept, start = float("inf"), {}, time.perf_counter()
    every = max(1, steps // 10)
    for step in range(1, steps + 1):
        x, y = sampler.batch(batch_size)
        loss = F.cross_entropy(network(x), y, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            cost = nll(network, valid) if valid else -step
            print(
                f"step {step}/{steps}: loss {loss:.3f}, valid {cost:.3f} nats, {time.perf_counter() - start:.0f} s",
                flush=True,
            )
            if cost < best:
                best, kept = cost, {key: value.clone() for key, value in network.state_dict().items()}
    return kept


def save(weights: dict[str, Tensor], classes: list[str], path: Path) -> None:
    """Half precision for the matrices, single for the rest; the file appears whole or not at all."""
    stored = {key: value.half() if value.ndim > 1 else value for key, value in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(stored, temporary, metadata={"classes": json.dumps(classes)})
    os.chmod(temporary, 0o644)  # safetensors writes for its owner alone
    os.replace(temporary, path)


def accuracy(weights: Path, pairs: list[tuple[str, Clip]]) -> dict[str, list[bool]]:
    """Whether each clip is heard right, by class; as users hear it, from the file at its own rate."""
    right = defaultdict(list)
    for name, clip in pairs:
        wave = read_audio(clip.path, channels=1)
        classifier = SoundClassifier(wave.sample_rate, weights)
        if wave.samples.shape[-1] >= classifier.min_samples:
            posterior = classifier(wave.samples.double())
            right[name].append(classifier.classes[int(posterior.argmax())] == name)
    return dict(right)


def main() -> None:
    """Read, train, save, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--out", type=Path, default=SHIPPED_WEIGHTS, help="weights to write; the card lies beside them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch_size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    splits = labelled(options.data)
    classes = sorted({name for name, _ in splits["train"]})
    pictures = {
        split: [(classes.index(name), picture(clip)) for name, clip in splits[split]] for split in ("train", "valid")
    }
    sampler = Sampler([[x for j, x in pictures["train"] if j == i] for i in range(len(classes))], options.seed)
    print(
        f"{len(classes)} classes, {len(pictures['train'])} files to train on, read in {time.perf_counter() - start:.0f} s"
    )
    weights = train(sampler, pictures["valid"], options.seed, options.steps, options.batch_size)
    save(weights, classes, options.out)
    minutes = (time.perf_counter() - start) / 60
    results = {split: accuracy(options.out, splits[split]) for split in ("valid", "test")}
    text = card(options, minutes, weights, splits, results)
    print(text.partition("## How often")[2].partition("\n## ")[0])
    temporary = options.out.with_name(".MODEL_CARD.md.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, options.out.with_name("MODEL_CARD.md"))


if __name__ == "__main__":
    main()
