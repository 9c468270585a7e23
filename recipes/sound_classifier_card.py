"""The model card of the sound classifier, from the run that made it."""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from sources import sources_table

from vqkit.data import Clip

__all__ = ["card"]

Pairs = Sequence[tuple[str, Clip]]

CARD = """# {name}

The classifier behind `vqkit.metrics.KLD(sample_rate=…)`: a convolutional network of {parameters:,} weights ({size:,} bytes, half
precision) that hears log-mels of a second at 16 kHz and names one of {num_classes} kinds of sound. The divergence between what it
hears in a reconstruction and in the original is the metric `kld_{name}`.

- file: `{name}.safetensors`, sha256 `{digest}`
- made by: `python recipes/sound_classifier.py --data FOLDER --seed {seed} --steps {steps} --batch_size {batch_size}`,
  one thread, {minutes:.1f} minutes, torch {torch}; the step with the least −ln p on the valid split was kept
- classes: {classes}

## What it is for, and what not

It ranks reconstructions of the same clips by how much they change what the sound is taken for. It is a small classifier:

- Its divergence cannot be compared with those of papers, which use PaSST or PANNs on AudioSet's 527 classes.
- It does not hear what lies above 8 kHz, and of a clip's course only what fits into a second.
- Speech is one class: it does not hear whether words can be understood or who speaks.
- It saw few pieces, instruments and drum kits, so its styles and families are those of this data set. Do not use it to label sounds.

## How often it is right

Share of files whose likeliest class is the right one. Files of one piece, speaker, drum kit or instrument are in one split only. "Mean
over classes" weighs each class the same. The test sets are small: one file more or less is several points.

{accuracy}

By class, in the test split: {by_class}.

## What it was trained on

{num_files} files, {hours:.1f} hours, of the train split, mixed to mono, resampled to 16 kHz and varied in level, length and pitch. The
weights' file holds no recording. Classes with fewer than five files were left out. Each source keeps its licence:

{sources}

## Licence of the weights

MIT, as vqkit, as far as that is vqkit's to give. Whether weights are a work derived from what they were trained on is not settled, and
some of the sources are under the GPL or under share-alike licences. If that matters to you, leave this file out and pass another
classifier to `KLD`, or train one on sounds of your own with the command above.
"""


def card(
    options: argparse.Namespace,
    minutes: float,
    weights: Mapping[str, torch.Tensor],
    splits: Mapping[str, Pairs],
    results: Mapping[str, Mapping[str, list[bool]]],
) -> str:
    """Text of the card.

    Args:
        options: of the command line.
        minutes: that training took.
        weights: of the network.
        splits: (class, clip) by split.
        results: whether each clip was heard right, by split and class.
    """
    train = splits["train"]
    by_class = [f"{name} {sum(right)}/{len(right)}" for name, right in sorted(results["test"].items())]
    return CARD.format(
        name=options.out.stem,
        parameters=sum(value.numel() for value in weights.values() if value.is_floating_point()),
        size=options.out.stat().st_size,
        digest=hashlib.sha256(options.out.read_bytes()).hexdigest(),
        num_classes=len({name for name, _ in train}),
        classes=", ".join(sorted({name for name, _ in train})),
        seed=options.seed,
        steps=options.steps,
        batch_size=options.batch_size,
        minutes=minutes,
        torch=torch.__version__,
        accuracy=_accuracy(train, results),
        by_class=", ".join(by_class),
        num_files=len(train),
        hours=sum(clip.seconds for _, clip in train) / 3600,
        sources=sources_table(clip.labels for _, clip in train),
    )


def _accuracy(train: Pairs, results: Mapping[str, Mapping[str, list[bool]]]) -> str:
    files = defaultdict(int)
    for name, _ in train:
        files[_group(name)] += 1
    rows = ["| group | classes | training files | valid | test |", "|---|---|---|---|---|"]
    for group in [*sorted(files), "all"]:
        classes = {name for name, _ in train if group in ("all", _group(name))}
        cells = [
            _cell([results[split][name] for name in classes if name in results[split]]) for split in ("valid", "test")
        ]
        rows.append(
            f"| {group} | {len(classes)} | {len(train) if group == 'all' else files[group]} | {' | '.join(cells)} |"
        )
    return "\n".join(rows)


def _cell(rights: list[list[bool]]) -> str:
    if not rights:
        return "no files"
    files, mean = [right for one in rights for right in one], sum(sum(one) / len(one) for one in rights) / len(rights)
    over = f"; mean over {len(rights)} classes {mean:.0%}" if len(rights) > 1 else ""
    return f"{sum(files)}/{len(files)} = {sum(files) / len(files):.0%}{over}"


def _group(name: str) -> str:
    return Path(name).parts[0]
