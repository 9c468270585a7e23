"""A classifier of features: layer norm and one linear layer; the epoch is chosen on the validation items.

References:
    BRIDLE, section 4 and appendix A: mean over the patches, a new layer norm, a linear layer; AdamW, weight decay 5e-4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.pretraining.results import measure
from vqkit.types import Float

__all__ = ["Choice", "HeadSettings", "cosine_rate", "loss_of", "train_head"]


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """Settings of a head's training.

    Args:
        learning_rate: peak learning rate of AdamW.
        epochs: passes over the training items; the best one on the validation items counts.
        batch_size: items a step.
        weight_decay: weight decay of AdamW.
        seed: seed of the start and the order of the items.
        chosen_on: items on which the epoch is chosen: ``"valid"``, or ``"test"`` as in the published code, whose scores are too high for
            that reason.

    Raises:
        ValueError: an argument out of range.
    """

    learning_rate: float = 2e-2
    epochs: int = 100
    batch_size: int = 64
    weight_decay: float = 5e-4
    seed: int = 0
    chosen_on: Literal["valid", "test"] = "valid"

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.chosen_on not in ("valid", "test"):
            raise ValueError(f"chosen_on must be 'valid' or 'test', got {self.chosen_on!r}")
        if self.weight_decay < 0 or self.seed < 0:
            raise ValueError(f"weight_decay and seed must be at least 0, got {self.weight_decay} and {self.seed}")


@dataclass(frozen=True)
class Choice:
    """Result of a head's training: the scores of the chosen epoch.

    Attributes:
        scores: scores of the test items, one column a class, at the chosen epoch.
        epoch: number of the chosen epoch, counted from 1.
        valid: metric of the validation items there.
    """

    scores: Float[Tensor, "items classes"]
    epoch: int
    valid: float


def loss_of(logits: Float[Tensor, "items classes"], targets: Float[Tensor, "items classes"], modality: str) -> Tensor:
    """Binary cross-entropy of every class for sound and images, cross-entropy for video, as published."""
    if modality == "video":
        return F.cross_entropy(logits.float(), targets / targets.sum(1, keepdim=True))
    return F.binary_cross_entropy_with_logits(logits.float(), targets)


def cosine_rate(done: float, warmup: float = 0.1, floor: float = 0.0) -> float:
    """Share of the peak learning rate when a share ``done`` of the steps is over: a linear rise, then half a cosine down to ``floor``."""
    if done < warmup:
        return max(floor, done / warmup)
    return floor + (1 - floor) * (0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1 - warmup)))


def train_head(
    features: Float[Tensor, "items width"],
    targets: Float[Tensor, "items classes"],
    splits: tuple[Sequence[int], Sequence[int], Sequence[int]],
    modality: str,
    settings: HeadSettings,
    metric: str,
) -> Choice:
    """Train a head on fixed features.

    Args:
        features: features of all items.
        targets: 1 where an item is of a class.
        splits: items of training, validation and test.
        modality: modality of the items, which decides the loss.
        settings: settings of the training.
        metric: metric of `measure`, by which the epoch is chosen; equal ones by the loss.
    """
    train, valid, test = (torch.tensor(list(places)) for places in splits)
    if settings.chosen_on == "test":
        valid = test
    # statistics of different sources have units of their own: with one scale a feature of large numbers would hide all others
    mean, std = features[train].mean(0), features[train].std(0).clamp_min(1e-6)
    features = (features - mean) / std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        norm, linear = nn.LayerNorm(features.shape[1]), nn.Linear(features.shape[1], targets.shape[1])
        nn.init.trunc_normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        head = nn.Sequential(norm, linear)
        groups = [
            {"params": [linear.weight], "weight_decay": settings.weight_decay},
            {"params": [*norm.parameters(), linear.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        best: tuple[tuple[float, float], Choice] | None = None
        with torch.enable_grad():
            for epoch in range(settings.epochs):
                order = train[torch.randperm(len(train))].split(settings.batch_size)
                for index, batch in enumerate(order):
                    done = (epoch + index / len(order)) / settings.epochs
                    for group in optimizer.param_groups:
                        group["lr"] = settings.learning_rate * cosine_rate(done)
                    optimizer.zero_grad()
                    loss_of(head(features[batch]), targets[batch], modality).backward()
                    optimizer.step()
                with torch.no_grad():
                    logits = head(features)
                found = measure(logits[valid], targets[valid], precision=metric == "mAP")[metric]
                key = (found, -float(loss_of(logits[valid], targets[valid], modality)))
                if best is None or key > best[0]:
                    best = key, Choice(logits[test].clone(), epoch + 1, found)
    assert best is not None
    return best[1]
