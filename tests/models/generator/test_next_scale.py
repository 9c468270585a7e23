"""Next-scale prediction: all cells of a grid at once, from coarser grids and nothing else."""

import itertools

import pytest
import torch

from vqkit.models import TokenGenerator
from vqkit.models.generator.patterns import NextScale


def make(scales=((1, 1), (2, 2), (3, 3)), sizes=(4,), **options):
    torch.manual_seed(0)
    pattern = NextScale(scales)
    settings = {"width": 16, "layers": 2, "heads": 2, "window": pattern.frames} | options
    generator = TokenGenerator(sizes, pattern, **settings).eval()
    with torch.no_grad():  # far from equal probabilities
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


def test_the_cell_above_is_the_one_that_covers_it():
    pattern = NextScale([(1, 1), (2, 2), (2, 3), (4, 6)])
    found = pattern.sources(pattern.frames)
    assert found[:11].tolist() == [-1, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4]
    assert found[11:].view(4, 6).tolist() == [[5, 5, 6, 6, 7, 7]] * 2 + [[8, 8, 9, 9, 10, 10]] * 2
    codes = torch.randint(0, 9, (2, pattern.frames, 1))
    assert torch.equal(pattern.restore(pattern.arrange(codes), pattern.frames), codes)


def test_no_scale_sees_itself_or_a_later_one():
    """Change the codes of a scale: likelihoods of its other cells and of coarser scales stay, those of the next one do not."""
    generator = make()
    codes = torch.randint(0, 4, (1, 14, 1))
    with torch.no_grad():
        before = generator(codes)[0, :, 0]
        for begin, end in generator.pattern.spans(14):
            for cell in range(begin, end):
                other = codes.clone()
                other[0, cell] = (other[0, cell] + 1) % 4
                moved = (generator(other)[0, :, 0] - before).abs() > 1e-6
                moved[cell] = False  # its own likelihood is that of another code
                assert not moved[:end].any(), cell
                assert moved[end:].all() or end == 14


def test_probabilities_of_all_streams_sum_to_one_and_samples_have_them():
    generator = make([1, 2], sizes=(3,))
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))[..., None]
    with torch.no_grad():
        chances = (-generator(every).double().sum(dim=(1, 2))).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-5)
    draws = 6000
    samples = generator.generate(3, batch=draws, seed=1)[..., 0]
    found = torch.bincount((samples * torch.tensor([9, 3, 1])).sum(-1), minlength=27) / draws
    assert (found - chances).abs().sum().item() / 2 < 0.04  # total variation; about 0.02 is expected of so many draws
    assert found.max() > 0.1


@pytest.mark.parametrize("options", [{}, {"sizes": (3, 5), "depth_layers": 1}])
def test_a_cache_changes_nothing(options):
    generator = make(classes=("a", "b"), **options)
    how = {"classes": torch.tensor([0, 1, 1]), "temperature": 0.9, "top_p": 0.9, "guidance": 1.7, "seed": 3}
    codes = generator.generate(14, **how)
    assert torch.equal(codes, generator.generate(14, cache=False, **how))
    assert not torch.equal(codes, generator.generate(14, **(how | {"seed": 4})))
    more = generator.generate(14, prefix=codes[:, :5], **how)
    assert torch.equal(more[:, :5], codes[:, :5])


def test_it_learns_what_a_scale_says_of_the_next(tmp_path):
    """Each cell repeats the cell over it, and the class says the first: a few steps suffice."""
    generator = make([1, 2, 4], sizes=(6,), classes=("a", "b", "c", "d", "e", "f"), condition_dropout=0.0, width=32)
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    classes = torch.arange(6)
    codes = classes[:, None, None].expand(6, 7, 1)
    generator.train()
    for _ in range(60):
        loss = generator(codes, classes=classes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    generator.eval().save_pretrained(tmp_path)
    back = TokenGenerator.from_pretrained(tmp_path)
    assert torch.equal(back.generate(7, classes=classes, temperature=0), codes)


def test_bad_input():
    for sizes in ([], [(1, 1), (2,)], [0, 2]):
        with pytest.raises(ValueError, match="sizes must be grids of at least one cell, all of the same axes"):
            NextScale(sizes)
    with pytest.raises(ValueError, match="have 7 cells, got 8 frames"):
        TokenGenerator((4,), NextScale([1, 2, 4]), width=16, layers=1, heads=2, window=8)
    with pytest.raises(ValueError, match="have 14 cells, got 3 frames"):
        make()(torch.zeros(1, 3, 1, dtype=torch.long))
