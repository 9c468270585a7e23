import librosa
import numpy as np
import pytest
import torch

from vqkit.losses import MultiScaleMel


def plain(one, other, rate, windows, num_mels, floor=1e-4):
    """The formula, with librosa's STFT and filters."""
    total = 0.0
    for window in windows:
        mels = []
        filters = librosa.filters.mel(sr=rate, n_fft=window, n_mels=num_mels, norm=None, dtype=np.float64)
        filters /= filters.sum(axis=1, keepdims=True)
        scale = np.sqrt((librosa.filters.get_window("hann", window) ** 2).sum())
        for wav in (one, other):
            spectrum = librosa.stft(
                wav.astype(np.float64), n_fft=window, hop_length=window // 4, center=True, pad_mode="reflect"
            )
            mels.append(filters @ np.sqrt((np.abs(spectrum) / scale) ** 2 + floor**2))
        logs = [np.log10(mel) for mel in mels]
        total += np.abs(mels[0] - mels[1]).mean() + np.sqrt(((logs[0] - logs[1]) ** 2).mean(axis=-2)).mean()
    return total / len(windows)


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_the_formula(channels):
    random = np.random.default_rng(0)
    one, other = 0.3 * random.standard_normal((2, 3, channels, 3000)).astype(np.float32)
    distance = MultiScaleMel(16000, window_samples=(512, 1024), num_mels=20)
    found = distance(torch.from_numpy(one), torch.from_numpy(other))
    assert found.item() == pytest.approx(plain(one, other, 16000, (512, 1024), 20), rel=1e-4)


def test_short_windows_have_no_empty_filter():
    distance = MultiScaleMel(24000)
    for window in distance.window_samples:
        filters = distance._filters[window].value
        torch.testing.assert_close(filters.sum(dim=1), torch.ones(len(filters)))
    assert distance._filters[2048].value.shape == (64, 1025)


def test_gradient_is_finite_in_silence_and_where_both_agree():
    wav = torch.zeros(1, 1, 3000, requires_grad=True)
    distance = MultiScaleMel(16000)
    distance(wav, torch.zeros(1, 1, 3000)).backward()
    assert wav.grad.isfinite().all()
    same = torch.randn(1, 1, 3000).requires_grad_()
    distance(same, same.detach()).backward()
    assert same.grad.isfinite().all()


def test_gradient_of_near_silence_does_not_follow_rounding_errors():
    time = torch.arange(4000) / 16000
    loud, quiet = (level * torch.sin(2 * torch.pi * 300 * time)[None, None] for level in (0.5, 0.4))
    distance, found = MultiScaleMel(16000), []
    for nudge in (0.0, 1e-7):
        estimate = (
            quiet + nudge * torch.randn(quiet.shape, generator=torch.Generator().manual_seed(0))
        ).requires_grad_()
        distance(estimate, loud).backward()
        found.append(estimate.grad)
    assert (found[0] - found[1]).norm() < 0.02 * found[0].norm()


def test_is_computed_in_float32_under_autocast():
    one, other = torch.randn(1, 1, 3000), torch.randn(1, 1, 3000)
    distance = MultiScaleMel(16000)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distance(one, other), MultiScaleMel(16000)(one, other))
    torch.testing.assert_close(distance(one.bfloat16(), other), distance(one.bfloat16().float(), other))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="window_samples must be multiples of 4, at least 8, got \\(30,\\)"):
        MultiScaleMel(16000, window_samples=(30,))
    with pytest.raises(ValueError, match="num_mels must be at least 1 and floor positive, got 0"):
        MultiScaleMel(16000, num_mels=0)
    with pytest.raises(ValueError, match="longer than 1024 samples, got 1000"):
        MultiScaleMel(16000)(torch.zeros(1, 1, 1000), torch.zeros(1, 1, 1000))
    with pytest.raises(ValueError, match="must be \\(batch, channels, samples\\)"):
        MultiScaleMel(16000)(torch.zeros(1, 3000), torch.zeros(1, 3000))
