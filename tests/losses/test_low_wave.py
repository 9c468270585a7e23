"""The distance of low waves: what it hears, what it leaves alone, and that silence is no trouble."""

import pytest
import torch

from vqkit.losses import LowWave


def tone(hertz: float, phase: float = 0.0) -> torch.Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(8000) / 16000 + phase)[None, None]


def test_it_hears_the_wave_below_a_kilohertz_and_nothing_above():
    distance = LowWave(16000)
    low, high = tone(400), tone(3000)
    assert distance(low + high, low).item() < 0.02
    assert distance(tone(400, torch.pi / 2), low).item() > 1  # a level is not enough
    assert distance(low + 0.3 * tone(500), low).item() > distance(low + 0.1 * tone(500), low).item() > 0.05
    assert LowWave(16000, highest_hz=4000)(low + high, low).item() > 0.2


def test_soft_sounds_count_as_much_as_loud_ones():
    distance = LowWave(16000)
    near, far = (distance(gain * (tone(400) + 0.2 * tone(600)), gain * tone(400)).item() for gain in (1.0, 0.1))
    assert far == pytest.approx(near, rel=0.2)


def test_by_hand():
    torch.manual_seed(0)
    made, wav = torch.randn(2, 1, 4000), torch.randn(2, 1, 4000)
    window = torch.hann_window(256)
    one, other = (
        torch.stft(x[:, 0], 256, 128, window=window, pad_mode="reflect", return_complex=True)[:, :17] / window.norm()
        for x in (made, wav)
    )
    one, other = (x * x.abs() ** (0.3 - 1) for x in (one, other))
    expected = ((one - other).abs().sum(dim=(1, 2)) / other.abs().sum(dim=(1, 2))).mean()
    found = LowWave(16000, window_samples=(256,), power=0.3)(made, wav)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)  # but for what is added to silence


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0])
def test_gradients_are_finite_also_of_silence(level):
    silence = torch.zeros(1, 1, 4000)
    made = (level * torch.randn(1, 1, 4000)).requires_grad_()
    for pair in ((made, silence), (made, level * torch.randn(1, 1, 4000)), (made, made.detach())):
        (gradient,) = torch.autograd.grad(LowWave(16000)(*pair), made)
        assert gradient.isfinite().all()
    assert LowWave(16000)(silence, silence).item() == 0
    assert LowWave(16000)(1e-4 + silence, silence).item() < 2  # 80 dB down is not the end of the world


@pytest.mark.parametrize("wrong", [{"power": 0}, {"power": 1.1}, {"highest_hz": 0}, {"highest_hz": 9000}])
def test_other_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=f"got .*{next(iter(wrong.values()))}"):
        LowWave(16000, **wrong)
