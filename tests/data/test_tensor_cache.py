import pickle
from pathlib import Path

import torch

from vqkit.data.tensor_cache import TensorCache


class Reader:
    """Counts what is really read."""

    def __init__(self, cache):
        self.cache, self.read = cache, []

    def __call__(self, name, floats=250):  # 1000 bytes
        def read():
            self.read.append(name)
            return torch.full((floats,), float(len(self.read)))

        return self.cache.get(Path(name), read)


def test_what_was_read_is_given_again():
    read = Reader(TensorCache(0.01))
    assert read("a") is read("a")
    assert not torch.equal(read("a"), read("b"))
    assert read.read == ["a", "b"]


def test_the_least_recently_used_leave_when_the_budget_is_full():
    read = Reader(TensorCache(0.003))
    for name in "abcabdacb":  # d drives out c, the longest unused; c then b; b then d
        read(name)
    assert read.read == ["a", "b", "c", "d", "c", "b"]
    assert len(read.cache) == 3


def test_what_exceeds_the_budget_is_not_kept_and_drives_nothing_out():
    read = Reader(TensorCache(0.003))
    read("a")
    assert read("large", 751).shape == (751,)
    read("large", 751)
    read("a")
    assert read.read == ["a", "large", "large"]
    read("whole", 750)  # exactly the budget
    read("whole", 750)
    read("a")
    assert read.read == ["a", "large", "large", "whole", "a"]
    nothing = Reader(TensorCache(0))
    nothing("a")
    nothing("a")
    assert nothing.read == ["a", "a"]
    assert len(nothing.cache) == 0


def test_a_copy_for_another_process_starts_empty():
    read = Reader(TensorCache(1.5))
    read("a")
    copy = pickle.loads(pickle.dumps(read.cache))  # noqa: S301  # as a spawned loader process gets it
    assert len(copy) == 0
    assert copy.budget_bytes == 1_500_000
    assert len(read.cache) == 1
