import librosa
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vqkit.metrics import LogMelPSNR, LogMelSSIM


def picture(wave, sample_rate, floor_db):
    spectrum = librosa.stft(wave, n_fft=2048, hop_length=512, pad_mode="reflect") / 512  # a sine of amplitude 1 is 1
    mel = librosa.feature.melspectrogram(S=np.abs(spectrum) ** 2, sr=sample_rate, n_mels=128, norm=None)
    db = librosa.power_to_db(mel, ref=1.0, amin=1e-20, top_db=None)
    return np.clip((db - floor_db) / -floor_db, 0.0, 1.0)


@pytest.mark.parametrize(("sample_rate", "floor_db"), [(24000, -80.0), (16000, -60.0)])
def test_equal_librosa_and_skimage(music, noisy, sample_rate, floor_db):
    psnr, ssim = LogMelPSNR(sample_rate, floor_db=floor_db), LogMelSSIM(sample_rate, floor_db=floor_db)
    psnr.update(noisy[None], music[None])
    ssim.update(noisy[None], music[None])
    pairs = [
        (picture(e, sample_rate, floor_db), picture(r, sample_rate, floor_db))
        for e, r in zip(noisy.double().numpy(), music.double().numpy(), strict=True)
    ]
    expected = np.mean([peak_signal_noise_ratio(r, e, data_range=1.0) for e, r in pairs])
    assert psnr.compute().item() == pytest.approx(expected, abs=1e-4)
    expected = np.mean(
        [
            structural_similarity(r, e, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
            for e, r in pairs
        ]
    )
    assert ssim.compute().item() == pytest.approx(expected, abs=1e-6)


def test_range_is_fixed_and_clamped():
    metric = LogMelPSNR(24000)
    time = torch.arange(24000, dtype=torch.float64) / 24000
    sine = (2 * torch.pi * 1000 * time).sin()[None]
    assert metric.picture(sine).max() == 1.0  # full scale
    assert metric.picture(torch.zeros(1, 24000).double()).max() == 0.0
    quiet, quieter = metric.picture(0.1 * sine).max(), metric.picture(0.01 * sine).max()
    assert (quiet - quieter).item() == pytest.approx(20 / 80, abs=1e-6)


def test_a_level_error_is_seen(music):
    metric = LogMelPSNR(24000)
    metric.update(0.5 * music[None], music[None])
    assert metric.compute() < 40  # a per-clip reference level would make this perfect


def test_fewer_mels_where_they_would_be_empty():
    assert LogMelPSNR(24000).settings["num_mels"] == 128
    assert LogMelPSNR(48000, window_samples=512, hop_samples=128).settings["num_mels"] < 128


def test_refuse_wrong_settings():
    with pytest.raises(ValueError, match=r"floor_db must be below 0 dB, got 0\.0"):
        LogMelPSNR(24000, floor_db=0.0)
    with pytest.raises(ValueError, match="cap_db must be positive, got -1"):
        LogMelPSNR(24000, cap_db=-1)
    with pytest.raises(ValueError, match="window_samples must be positive, got 0"):
        LogMelSSIM(24000, window_samples=0)
    with pytest.raises(ValueError, match="log_mel_ssim needs at least 11 mels, got 8"):
        LogMelSSIM(24000, num_mels=8)
