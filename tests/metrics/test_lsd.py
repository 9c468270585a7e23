import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics import LSD


def reference_lsd(estimate, reference, window, hop, eps):
    def log_power(wave):
        spectrum = librosa.stft(wave, n_fft=window, hop_length=hop, window="hann", center=True, pad_mode="reflect")
        return np.log10(np.maximum(np.abs(spectrum) ** 2, eps))

    difference = log_power(estimate) - log_power(reference)  # (bins, frames)
    return np.mean(np.sqrt(np.mean(difference**2, axis=0)))


@pytest.mark.parametrize(("window", "hop", "eps"), [(2048, 512, 1e-8), (512, 200, 1e-3)])
def test_equals_librosa_and_numpy(music, noisy, window, hop, eps):
    metric = LSD(window_samples=window, hop_samples=hop, eps=eps)
    metric.update(noisy[None], music[None])
    pairs = zip(noisy.double().numpy(), music.double().numpy(), strict=True)
    expected = np.mean([reference_lsd(e, r, window, hop, eps) for e, r in pairs])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)


def test_gain_of_twenty_db_is_two():
    noise = torch.randn(1, 1, 30000, generator=torch.Generator().manual_seed(0))
    metric = LSD()
    metric.update(10 * noise, noise)
    assert metric.compute().item() == pytest.approx(2.0, abs=1e-4)


def test_floor_bounds_what_silence_costs():
    noise = torch.randn(1, 1, 30000, generator=torch.Generator().manual_seed(0))
    values = []
    for eps in (1e-8, 1e-6):
        metric = LSD(eps=eps)
        metric.update(torch.zeros_like(noise), noise)
        values.append(metric.compute().item())
    assert values[0] - values[1] == pytest.approx(2.0, abs=0.01)  # the floor is the whole spectrum of the estimate


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="hop_samples must be positive, got 0"):
        LSD(hop_samples=0)
    with pytest.raises(ValueError, match=r"eps must be positive, got 0\.0"):
        LSD(eps=0.0)
