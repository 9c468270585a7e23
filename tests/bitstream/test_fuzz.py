"""A sample of ``benchmarks/fuzz_vqk.py``; the long run is its own command."""

import sys
import tracemalloc
from pathlib import Path

import pytest
import torch


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import fuzz_vqk

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for a busy machine's core take processor time, too
    yield fuzz_vqk
    torch.set_num_threads(threads)
    sys.modules.pop("fuzz_vqk")


def test_a_sample_of_mutations(fuzz):
    outcomes, _ = fuzz.run(300, seed=1)
    assert sum(outcomes.values()) == 300
    # the mutations reach every part
    every = {"some lost", "all lost", "nothing lost", "the header is not valid", "the header is damaged", "tables"}
    assert every <= set(outcomes)


def test_memory_stays_bounded(fuzz):
    fuzz.run(0, seed=2)
    tracemalloc.start()
    try:
        fuzz.run(30, seed=2)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak < fuzz.MOST_MEBIBYTES
