import random

import numpy as np
import pytest
import torch

from vqkit.training.runs.seeding import seed_generators


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_draws_depend_on_seed_step_and_rank_only():
    found = {}
    for seed, step, rank in [(0, -1, 0), (0, 0, 0), (0, 1, 0), (0, 1, 1), (1, 1, 0)]:
        seed_generators(seed, step, rank)
        found[seed, step, rank] = draws()
    assert len({value for triple in found.values() for value in triple}) == 15
    torch.rand(100)
    seed_generators(0, 1, 1)
    assert draws() == found[0, 1, 1]


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        seed_generators(-1)
