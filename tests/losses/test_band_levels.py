import math

import librosa
import numpy as np
import pytest
import torch

from vqkit.losses import BandLevels


def plain(one: np.ndarray, other: np.ndarray, window: int, bands: int, exponent: float, floor: float = 1e-4) -> float:
    """The formula, band by band, with librosa's STFT; mean over items, channels taken as items."""
    hertz = np.arange(window // 2 + 1) * 16000 / window
    place = np.log10(1 + 0.00437 * hertz) / math.log10(1 + 0.00437 * 8000) * (bands - 1)
    shape = librosa.filters.get_window("hann", window)
    items = []
    for wavs in zip(one.reshape(-1, one.shape[-1]), other.reshape(-1, other.shape[-1]), strict=True):
        powers = []
        for wav in wavs:
            stft = librosa.stft(
                wav.astype(np.float64), n_fft=window, hop_length=window // 4, center=True, pad_mode="reflect"
            )
            power = np.abs(stft) ** 2 / (shape**2).sum()
            rows = [
                (np.maximum(0, 1 - np.abs(place - band))[:, None] * power).sum(axis=0)
                for band in range(bands)
                if (np.abs(place - band) < 1).any()
            ]
            powers.append(np.stack(rows) + floor**2)
        weight = (powers[0] + powers[1]) ** exponent
        items.append((weight * np.abs(np.log10(powers[0] / powers[1]))).sum() / weight.sum())
    return float(np.mean(items))


@pytest.mark.parametrize(("bands", "exponent"), [(32, 0.25), (60, 0.0), (8, 1.0)])
def test_equals_the_formula(bands, exponent):
    random = np.random.default_rng(0)
    one, other = np.array([[[[0.3]]], [[[0.05]]]]) * random.standard_normal((2, 3, 2, 3000))
    distance = BandLevels(16000, window_samples=(512,), num_bands=bands, power=exponent)
    found = distance(torch.from_numpy(one), torch.from_numpy(other))
    assert found.item() == pytest.approx(plain(one, other, 512, bands, exponent), rel=1e-4)


def test_a_tone_that_is_missing_counts_more_than_noise_far_below_it():
    """What distances bin by bin have the other way round, so that silence is their optimum."""
    time = torch.arange(8000) / 16000
    tone = 0.3 * (2 * math.pi * 3017 * time).sin()[None, None]
    noisy = tone + 0.001 * torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    distance = BandLevels(16000)
    assert 10 * distance(0.2 * tone, tone).item() > 10
    assert 10 * distance(noisy, tone).item() < 10
    turned = 0.3 * (2 * math.pi * 3017 * time + 1).cos()[None, None]
    assert (
        10 * distance(turned, tone).item() < 1
    )  # dB; a phase is not heard, but for the kink where the ends are reflected


def test_gradients_are_finite_where_both_are_silent():
    estimate = torch.zeros(1, 1, 4000, requires_grad=True)
    loss = BandLevels(16000)(estimate, torch.zeros(1, 1, 4000))
    loss.backward()
    assert loss.item() == 0
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_samples": (126,)}, r"multiples of 4, at least 8, got \(126,\)"),
        ({"num_bands": 1}, "num_bands must be at least 2, .*, got 1, "),
        ({"power": -0.1}, r"power in \[0, 1\]"),
        ({"floor": 0.0}, "floor positive"),
        ({"windows_per_call": 4}, "windows_per_call must be in 1 … 3, got 4"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BandLevels(16000, **arguments)
