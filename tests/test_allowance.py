import pytest
import torch
from torch import nn

from vqkit import RVQ, VQ
from vqkit.allowance import Allowance, TooLargeError, built_within


def test_values_are_counted_once():
    with Allowance(floats=100) as allowance:
        x = torch.zeros(10, 5)
        x.add_(1).view(50).t()
        x[2:].transpose(0, 1)
        nn.Parameter(x)
    assert allowance._made == 50
    with (
        pytest.raises(TooLargeError, match="it needs more than the 99 values that are allowed, 100 so far"),
        Allowance(99),
    ):
        torch.zeros(10, 5) + 1


def test_an_allowance_begins_anew_each_time():
    allowance = Allowance(floats=60)
    for _ in range(3):
        with allowance:
            torch.zeros(50)


def test_calls_are_counted():
    with Allowance(calls=10):
        for _ in range(10):
            torch.empty(0)
        with pytest.raises(ValueError, match="it takes more than 10 steps to build: too many parts"):
            torch.empty(0)


def test_nothing_large_is_built(bounded):
    with bounded(megabytes=32), pytest.raises(TooLargeError, match="more than the 268435456 values"):
        built_within(lambda: VQ(8, 2**30), Allowance())
    with bounded(megabytes=32), pytest.raises(ValueError, match="more than 8192 steps"):
        built_within(lambda: RVQ(2, 2, 2**30), Allowance())


def test_what_is_built_is_what_the_constructor_alone_builds():
    torch.manual_seed(0)
    plain, after = RVQ(8, 16, 3), torch.rand(1)
    torch.manual_seed(0)
    built = built_within(lambda: RVQ(8, 16, 3), Allowance())
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), built.parameters(), strict=True))


def test_the_check_sees_shapes_before_memory_is_taken(bounded):
    seen = []

    def check(planned):
        seen.append(planned.codebook.weight)
        raise ValueError("no")

    with bounded(megabytes=32), pytest.raises(ValueError, match="^no$"):
        built_within(lambda: VQ(64, 2**20), Allowance(), check)
    assert seen[0].is_meta
    assert seen[0].shape == (2**20, 64)


def test_a_constructor_that_needs_values_runs_once_and_within_the_allowance():
    runs = []

    def make():
        x = torch.rand(4)
        runs.append(float(x[0]))  # no value on the meta device
        return torch.zeros(10, 10)

    torch.manual_seed(0)
    expected = float(torch.rand(4)[0])
    torch.manual_seed(0)
    assert built_within(make, Allowance()).shape == (10, 10)
    assert runs == [expected]
    with pytest.raises(ValueError, match="more than the 50 values"):
        built_within(make, Allowance(50))
    with pytest.raises(ValueError, match="^no$"):
        built_within(make, Allowance(), lambda built: (_ for _ in ()).throw(ValueError("no")))


def test_other_mistakes_are_not_hidden():
    def make():
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        built_within(make, Allowance())
