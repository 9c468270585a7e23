import warnings

import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics.spectrum import full_scale, magnitudes, mel_filters, min_samples


@pytest.mark.parametrize("samples", [2048, 4000])
def test_magnitudes_are_librosas(samples):
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.abs(librosa.stft(wave.numpy(), n_fft=2048, hop_length=512, pad_mode="reflect"))
    ours = magnitudes(wave, 2048, 512)
    assert ours.shape[-1] == 1 + samples // 512
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-9)
    assert samples >= min_samples(2048)


def test_full_scale_is_the_peak_of_a_sine_of_amplitude_one():
    time = torch.arange(8192, dtype=torch.float64)
    sine = (2 * torch.pi * 64 / 1024 * time).sin()[None]  # centred on bin 64
    assert magnitudes(sine, 1024, 256)[0, 64, 16].item() == pytest.approx(full_scale(1024), rel=1e-9)


@pytest.mark.parametrize(("norm", "sample_rate"), [("slaney", 24000), (None, 16000)])
def test_mel_filters_are_librosas(norm, sample_rate):
    ours, count = mel_filters(sample_rate, 2048, 128, norm)
    expected = librosa.filters.mel(sr=sample_rate, n_fft=2048, n_mels=128, htk=False, norm=norm, dtype=np.float64)
    assert count == 128
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("sample_rate", "window", "wanted"), [(48000, 32, 5), (24000, 512, 200), (8000, 64, 80)])
def test_as_many_filters_as_fit_and_no_more(sample_rate, window, wanted):
    filters, count = mel_filters(sample_rate, window, wanted, None)
    assert 1 <= count < wanted
    assert (filters.amax(1) > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty filters
        one_more = librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=count + 1, norm=None)
    assert (one_more.max(1) == 0).any()


def test_refuses_no_filters():
    with pytest.raises(ValueError, match="num_mels must be at least 1, got 0"):
        mel_filters(16000, 512, 0, None)
