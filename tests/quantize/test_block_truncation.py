"""Blocks of two colours: what is exact, what each stage adds, and what is refused."""

import pytest
import torch

from vqkit import BlockTruncation


def block(values: list[float], channels: int = 1) -> torch.Tensor:
    return torch.tensor(values).repeat_interleave(channels)[None, None]


def test_two_colours_of_the_grid_are_exact():
    red, blue = torch.tensor([0.3, -0.3, -0.5]), torch.tensor([-0.4, 0.0, 0.5])
    nearer = torch.rand(40, 64, generator=torch.Generator().manual_seed(0)) < 0.3
    blocks = torch.where(nearer[..., None], red, blue).flatten(1)[None]
    q = BlockTruncation(64, 3, levels=11)
    for stages in (2, 3, 4):
        torch.testing.assert_close(q.decode(q.encode(blocks), stages), blocks, rtol=0, atol=1e-6)


def test_the_first_colour_is_the_one_of_most_pixels():
    q = BlockTruncation(8, 1, refinements=0)
    for most, few in ((-0.5, 0.5), (0.5, -0.5)):
        codes = q.encode(block([few, most, most, most, most, most, few, most]))[0, 0]
        colour = 51 if most > 0 else 0
        assert codes.tolist() == [colour, 51 - colour + 1, 0b10000010]
    assert q.encode(block([0.5] * 8))[0, 0].tolist() == [51, 0, 0]  # one colour: as the first, and no bits


def test_each_refinement_halves_the_steps():
    places = torch.linspace(0, 1, 64)
    blocks = (places - 0.5)[None, None]
    errors = []
    for refinements in range(5):
        q = BlockTruncation(64, 1, refinements=refinements, levels=256)
        codes = q.encode(blocks)
        errors.append(float((q.decode(codes) - blocks).abs().max()))
        own = 0.5 / ((1 << 1 + refinements) - 1)
        assert errors[-1] <= own * 1.2 + 1 / 255  # half a step, but for fitting and rounding the ends
    q = BlockTruncation(64, 1, refinements=4, levels=256)
    codes = q.encode(blocks)
    by_stage = [float((q.decode(codes, stages) - blocks).square().mean()) for stages in range(1, 7)]
    assert by_stage == sorted(by_stage, reverse=True)


def test_smoothed_edges_keep_their_ends():
    """A pixel between the colours does not pull them towards itself: they are fitted to all places on the line."""
    q = BlockTruncation(8, 1, refinements=2)
    made = q.decode(q.encode(block([0.5, 0.5, 0.5, 0.21, -0.21, -0.5, -0.5, -0.5])))[0, 0]
    torch.testing.assert_close(made[[0, 1, 2, 5, 6, 7]], torch.tensor([0.5] * 3 + [-0.5] * 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(made[[3, 4]], torch.tensor([0.2143, -0.2143]), rtol=0, atol=1e-3)


def test_a_fit_takes_the_range_of_the_colours():
    vectors = 3 + 2 * torch.rand(100, 8, generator=torch.Generator().manual_seed(0))
    q = BlockTruncation(8, 1, refinements=5, levels=256)
    before = (q.decode(q.encode(vectors[None])) - vectors).abs().max()
    q.fit(vectors)
    assert q.bounds.tolist() == [float(vectors.min()), float(vectors.max())]
    assert (q.decode(q.encode(vectors[None])) - vectors).abs().max() < 0.05 < before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": 3}, "run must be in 1 … 8 and divide the 64 pixels, got 3"),
        ({"run": 16}, "got 16"),
        ({"refinements": 8}, "refinements must be in 0 … 7"),
        ({"levels": 1}, "levels in 2 … 256"),
        ({"levels": 257}, "levels in 2 … 256"),
        ({"low": 0.5}, "low must be below high, got 0.5 and 0.5"),
        ({"channels": 0}, "channels must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BlockTruncation(64, **options)


@pytest.mark.parametrize("far", [1e18, 1e19, 3e38])
def test_colours_far_away_are_the_nearest_there_are(far):
    quantizer = BlockTruncation(16, channels=3).eval()
    z = torch.full((1, 1, 48), far)
    z[..., 24:] = -far
    codes = quantizer.encode(z)
    assert (codes >= 0).all()
    assert (codes < torch.tensor(quantizer.code_sizes)).all()
    torch.testing.assert_close(quantizer.decode(codes), z.sign() * 0.5, atol=1e-6, rtol=0)
