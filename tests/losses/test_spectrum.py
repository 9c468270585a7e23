from functools import partial

import librosa
import numpy as np
import pytest
import torch

from vqkit.losses import BandLevels, CompressedSpectra, MultiScaleMel


def plain(one, other, windows, power, phase_weight, floor=1e-4):
    """The formula, with librosa's STFT."""
    total = 0.0
    for window in windows:
        scale = np.sqrt((librosa.filters.get_window("hann", window) ** 2).sum())
        spectra = []
        for wav in (one, other):
            stft = librosa.stft(
                wav.astype(np.float64), n_fft=window, hop_length=window // 4, center=True, pad_mode="reflect"
            )
            spectra.append(stft / scale)
        levels = [np.sqrt(np.abs(spectrum) ** 2 + floor**2) for spectrum in spectra]
        waves = [spectrum * level ** (power - 1) for spectrum, level in zip(spectra, levels, strict=True)]
        total += (1 - phase_weight) * np.abs(levels[0] ** power - levels[1] ** power).mean()
        total += phase_weight * (np.sqrt(np.abs(waves[0] - waves[1]) ** 2 + floor**2) - floor).mean()
    return total / len(windows)


@pytest.mark.parametrize(("power", "phase_weight"), [(0.3, 0.5), (1.0, 1.0), (0.5, 0.0)])
def test_equals_the_formula(power, phase_weight):
    random = np.random.default_rng(0)
    one, other = 0.3 * random.standard_normal((2, 3, 2, 3000)).astype(np.float32)
    distance = CompressedSpectra(window_samples=(512, 1024), power=power, phase_weight=phase_weight)
    found = distance(torch.from_numpy(one), torch.from_numpy(other))
    assert found.item() == pytest.approx(plain(one, other, (512, 1024), power, phase_weight), rel=1e-4)


def test_a_shifted_wave_is_heard_through_its_phase_only():
    time = torch.arange(4000) / 16000
    sine, cosine = ((2 * torch.pi * 500 * time + shift).sin()[None, None] for shift in (0.0, torch.pi / 2))
    levels, waves = (CompressedSpectra(phase_weight=weight)(sine, cosine).item() for weight in (0.0, 1.0))
    assert waves > 2 * levels


def test_gradients_are_finite_where_both_are_silent():
    estimate = torch.zeros(1, 1, 4000, requires_grad=True)
    CompressedSpectra()(estimate, torch.zeros(1, 1, 4000)).backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("make", [CompressedSpectra, partial(MultiScaleMel, 16000), partial(BandLevels, 16000)])
def test_drawn_windows_are_the_whole_on_average(make):
    torch.manual_seed(0)
    windows, one, other = (128, 256, 512, 1024), 0.1 * torch.randn(1, 1, 4000), 0.1 * torch.randn(1, 1, 4000)
    whole = make(window_samples=windows)(one, other).item()
    drawn = make(window_samples=windows, windows_per_call=1)
    found = [drawn(one, other).item() for _ in range(400)]
    assert len({round(value, 5) for value in found}) == 4
    assert np.mean(found) == pytest.approx(whole, rel=0.02)
    assert drawn.eval()(one, other).item() == pytest.approx(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_samples": (126,)}, r"multiples of 4, at least 8, got \(126,\)"),
        ({"power": 0.0}, r"power must be in \(0, 1\]"),
        ({"phase_weight": 1.5}, r"phase_weight in \[0, 1\]"),
        ({"windows_per_call": 6}, "windows_per_call must be in 1 … 5, got 6"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CompressedSpectra(**arguments)


def test_waveforms_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(1, 1, 4000\) and \(1, 1, 3000\)"):
        CompressedSpectra()(torch.zeros(1, 1, 4000), torch.zeros(1, 1, 3000))
    with pytest.raises(ValueError, match="longer than 1024 samples, got 1000"):
        CompressedSpectra()(torch.zeros(1, 1, 1000), torch.zeros(1, 1, 1000))
