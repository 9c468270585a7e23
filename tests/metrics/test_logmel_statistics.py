import dataclasses

import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics import FrechetDistance, LogMelStatistics


def test_first_window_is_librosas(music):
    extractor = LogMelStatistics(24000)
    ours = extractor(music.double())
    spectrum = librosa.stft(music[0].double().numpy(), n_fft=1024, hop_length=256, pad_mode="reflect") / 256
    mel = librosa.filters.mel(sr=24000, n_fft=1024, n_mels=32, norm=None, dtype=np.float64) @ np.abs(spectrum) ** 2
    log_mel = np.log10(np.maximum(mel, 1e-8))
    assert log_mel.shape[1] == 94  # one second: 24000 / 256 = 93.75 frames
    expected = np.concatenate([log_mel.mean(1), log_mel.std(1)])
    assert ours.shape == (2, extractor.dim)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-9)


def test_windows_of_a_second_every_half_second():
    extractor = LogMelStatistics(16000)
    for seconds, windows in ((0.3, 1), (1.0, 1), (1.5, 2), (3.0, 5)):
        wave = torch.randn(2, int(16000 * seconds), dtype=torch.float64)
        assert extractor(wave).shape == (2 * windows, 64)
    assert extractor(torch.zeros(1, extractor.min_samples, dtype=torch.float64)).isfinite().all()


def test_more_noise_is_further(music):
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(0))
    values = []
    for level in (0.0, 1e-3, 1e-2, 1e-1):
        metric = FrechetDistance(LogMelStatistics(24000, num_mels=16))
        metric.update((music + level * noise)[None], music[None])
        values.append(metric.compute().item())
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.0, abs=1e-6)


def test_is_frozen_and_refuses_too_many_mels():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LogMelStatistics(24000).num_mels = 3
    with pytest.raises(ValueError, match=r"num_mels must be at most \d+ at 24000 Hz, got 500"):
        LogMelStatistics(24000, num_mels=500)
