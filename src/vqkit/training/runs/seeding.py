"""Random numbers that depend on seed, step and rank only: a resumed run draws what an uninterrupted one would have drawn."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["StepSeed", "seed_generators"]


def seed_generators(seed: int, step: int = -1, rank: int = 0) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (of all devices).

    Args:
        seed: seed of the run, at least 0.
        step: training step, −1 before the first.
        rank: rank of this process.

    Raises:
        ValueError: a negative seed.

    Example:
        >>> seed_generators(0, step=5)
        >>> first = torch.rand(1)
        >>> seed_generators(0, step=5)
        >>> torch.equal(first, torch.rand(1))
        True
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    words = np.random.SeedSequence((seed, step + 1, rank)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002
    torch.manual_seed(int(words[2]))


class StepSeed(Callback):
    """Seeds the global generators before every training step.

    Args:
        seed: seed of the run, at least 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed by step and rank."""
        seed_generators(self.seed, batch_idx, trainer.global_rank)
