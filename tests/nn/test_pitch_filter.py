"""The pitch filter: its periods, what it does to voices, its plain twin, blocks."""

import math

import pytest
import torch

from vqkit.nn.pitch_filter import PeriodFinder, PitchFilter
from vqkit.quantize.search import plain_paths

RATE = 16000


def voice(period: float, samples: int, rate: int = RATE) -> torch.Tensor:
    """Harmonics below 1.5 kHz of a tone, all as loud, with phases of their own."""
    time = torch.arange(samples, dtype=torch.float64) / period
    count = int(1500 * period / rate)
    return sum((2 * math.pi * (k * time + 0.37 * k * k)).cos() for k in range(1, count + 1)).float() / count**0.5


def filtering(rate: int = RATE, seed: int = 0, passes: int = 1) -> PitchFilter:
    """A filter whose gains are anything."""
    torch.manual_seed(seed)
    made = PitchFilter(rate, 8, passes=passes).eval()
    torch.nn.init.normal_(made.leave.weight, std=0.1)
    return made


def test_it_begins_by_changing_nothing() -> None:
    wav = torch.randn(2, 2, 3210)
    assert torch.equal(PitchFilter(RATE, 8)(wav), wav)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("hertz", [55, 83, 120, 210, 330, 480])
def test_the_period_of_a_voice_is_found(rate: int, hertz: float) -> None:
    finder = PeriodFinder(rate)
    period, alike = finder(voice(rate / hertz, finder.samples, rate)[None])
    assert period.item() == pytest.approx(rate / hertz, abs=1)
    assert alike.item() > 0.85


def test_noise_and_silence_have_no_period() -> None:
    torch.manual_seed(0)
    finder = PeriodFinder(RATE)
    assert finder(torch.randn(50, finder.samples))[1].max() < 0.5
    assert finder(torch.zeros(1, finder.samples))[1].item() == 0


def test_the_matrix_finds_what_the_transform_finds() -> None:
    finder = PeriodFinder(RATE)
    frames = torch.randn(20, finder.samples) + voice(101, 20 * finder.samples).view(20, -1)
    with plain_paths():
        expected = finder(frames)
    found = finder(frames)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(finder._power(frames), finder._power_by_matrix(frames), rtol=1e-4, atol=1e-3)


def test_a_sum_of_periods_takes_noise_from_a_voice() -> None:
    """Five periods of equal weight: noise falls by 7 dB, the voice stays."""
    torch.manual_seed(0)
    made, clean = PitchFilter(RATE, 8), voice(107, 16000)
    with torch.no_grad():
        gains = made.leave.bias.view(5, -1)
        gains[0], gains[1:] = -0.8, 0.2
    noisy = clean + 0.3 * torch.randn(16000)
    with torch.no_grad():
        filtered = made(noisy[None, None])[0, 0]
    inner = slice(1000, -1000)
    before, after = ((x - clean)[inner].square().mean().log10().item() * 10 for x in (noisy, filtered))
    assert before - after > 5


def test_what_is_far_away_has_no_part_in_a_sample() -> None:
    made = filtering()
    wav = torch.randn(1, 1, 12000)
    whole, reach, hop = made(wav), made.reach_samples, made.hop_samples
    part = made(wav[..., 20 * hop : 60 * hop])
    torch.testing.assert_close(
        part[..., reach:-reach], whole[..., 20 * hop + reach : 60 * hop - reach], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("sizes", [(12345,), (320,) * 38 + (185,), (5000, 0, 1, 7344)])
@pytest.mark.parametrize("passes", [1, 2])
def test_blocks_give_what_the_whole_gives(sizes: tuple[int, ...], passes: int) -> None:
    made, wav = filtering(passes=passes), 0.1 * torch.randn(2, 1, 12345) + voice(90, 12345)
    layer = made.streaming()
    with torch.no_grad():
        blocks = [layer.push(block, at == len(sizes) - 1) for at, block in enumerate(wav.split(sizes, dim=-1))]
        torch.testing.assert_close(torch.cat(blocks, dim=-1), made(wav), rtol=0, atol=1e-5)
    assert all(tensor.shape[-1] <= 2 * made.reach_samples + max(sizes) for tensor in layer.state())


def test_a_stream_goes_on_item_by_item() -> None:
    made, wav = filtering(), torch.randn(2, 1, 9000)
    layer = made.streaming()
    with torch.no_grad():
        first = layer.push(wav[..., :6000])
        alone = layer.lane(1).push(wav[1:, :, 6000:], last=True)
        rest = layer.push(wav[..., 6000:], last=True)
    assert layer.ready(6000) == first.shape[-1] == 6000 - made.reach_samples
    torch.testing.assert_close(alone[0], rest[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 4000])
def test_any_length_has_finite_gradients(samples: int) -> None:
    made = filtering().train()
    wav = torch.zeros(1, 1, samples, requires_grad=True)
    made(wav).sum().backward()
    assert wav.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_half_precision_and_double_are_taken() -> None:
    wav = torch.randn(1, 1, 3200)
    expected = filtering()(wav)
    assert filtering().half()(wav.half()).dtype == torch.float32
    torch.testing.assert_close(filtering().half()(wav), expected, rtol=0, atol=0.05)
    torch.testing.assert_close(filtering().double()(wav.double()).float(), expected, rtol=0, atol=1e-4)


def test_a_sample_rate_without_voices_is_refused() -> None:
    for rate in (1000, 1_000_000):
        with pytest.raises(ValueError, match=f"at least 2000 Hz and at most 192000, got {rate}"):
            PitchFilter(rate)


def test_two_passes_are_the_filter_of_the_filtered() -> None:
    wav = torch.randn(2, 1, 3333)
    once, twice = filtering(), filtering(passes=2)
    torch.testing.assert_close(twice(wav), once(once(wav)))
    assert not torch.allclose(twice(wav), once(wav), atol=1e-3)
    assert twice.reach_samples == 2 * once.reach_samples
    for passes in (0, 5):
        with pytest.raises(ValueError, match=f"must be 1 to 4, got {passes}"):
            PitchFilter(RATE, passes=passes)
