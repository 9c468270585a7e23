import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import signal_noise_ratio

from vqkit.metrics import SNR


def snr(estimate, reference, **settings):
    metric = SNR(**settings)
    metric.update(estimate, reference)
    return metric.compute().item()


def test_equals_the_formula_and_torchmetrics(music, noisy):
    r, e = music.double().numpy(), noisy.double().numpy()
    expected = np.mean([10 * np.log10((r[c] ** 2).sum() / ((r[c] - e[c]) ** 2).sum()) for c in (0, 1)])
    assert snr(noisy[None], music[None]) == pytest.approx(expected, abs=1e-5)
    peer = signal_noise_ratio(noisy.double(), music.double()).mean()
    assert snr(noisy[None], music[None]) == pytest.approx(peer.item(), abs=1e-4)


def test_mean_is_of_decibels_over_clips():
    reference = torch.ones(2, 1, 100)
    estimate = torch.stack([0.9 * torch.ones(1, 100), 0.99 * torch.ones(1, 100)])
    assert snr(estimate, reference) == pytest.approx((20 + 40) / 2, abs=1e-4)


def test_silent_reference_is_floored_at_eps():
    silence = torch.zeros(1, 1, 100)
    assert snr(silence + 0.01, silence) == pytest.approx(-60, abs=1e-4)  # 10·log10(1e-10 / 1e-4)
    assert snr(silence + 0.01, silence, eps=1e-6) == pytest.approx(-20, abs=1e-4)


def test_values_are_clamped():
    wave = torch.ones(1, 1, 100, dtype=torch.float64)
    assert snr(wave * (1 + 1e-9), wave) == 100
    assert snr(wave * 1e9, wave) == -100
    assert snr(wave * (1 + 1e-4), wave, cap_db=60.0) == 60


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match=r"eps and cap_db must be positive, got eps=0\.0, cap_db=100\.0"):
        SNR(eps=0.0)
