import time

import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics import MelDistance

WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)


def reference_distance(estimate, reference, sample_rate, num_mels):
    scales = []
    for window, mels in zip(WINDOWS, num_mels, strict=True):

        def log_mel(wave, window=window, mels=mels):
            mel = librosa.feature.melspectrogram(
                y=wave, sr=sample_rate, n_fft=window, hop_length=window // 4, n_mels=mels, power=1.0,
                pad_mode="reflect", dtype=np.float64,
            )  # fmt: skip
            return np.log10(np.maximum(mel, 1e-5))

        difference = log_mel(estimate) - log_mel(reference)
        scales.append(np.mean(np.abs(difference).mean(0) + np.sqrt((difference**2).mean(0))))
    return np.mean(scales)


@pytest.mark.parametrize("sample_rate", [16000, 24000])
def test_equals_librosa_and_numpy(music, noisy, sample_rate):
    metric = MelDistance(sample_rate)
    metric.update(noisy[None], music[None])
    expected = np.mean(
        [
            reference_distance(e, r, sample_rate, metric.settings["num_mels"])
            for e, r in zip(noisy.double().numpy(), music.double().numpy(), strict=True)
        ]
    )
    assert metric.compute().item() == pytest.approx(expected, rel=1e-5)


def test_gain_of_twenty_db_is_two():
    noise = torch.randn(1, 1, 24000, generator=torch.Generator().manual_seed(0))
    metric = MelDistance(24000)
    metric.update(10 * noise, noise)
    assert metric.compute().item() == pytest.approx(2.0, abs=1e-3)


def test_protocol_states_the_mels_in_use():
    assert MelDistance(48000).settings["num_mels"][0] == 4  # five filters do not fit in 17 bins of 1.5 kHz
    assert MelDistance(24000, window_samples=(512,), num_mels=(40,)).settings == {
        "sample_rate": 24000,
        "window_samples": [512],
        "hop_samples": [128],
        "num_mels": [40],
        "eps": 1e-5,
    }


def test_ten_seconds_take_less_than_a_second():
    wave = torch.randn(1, 1, 240000, generator=torch.Generator().manual_seed(0))
    metric, threads = MelDistance(24000), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.process_time()  # not wall time: other tests share the cores
        metric.update(wave, wave)
        assert time.process_time() - start < 1.0
    finally:
        torch.set_num_threads(threads)


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="must be of one length, at least 1, got 2 and 1"):
        MelDistance(24000, window_samples=(64, 128), num_mels=(10,))
    with pytest.raises(ValueError, match=r"must be positive multiples of 4, got \(30,\)"):
        MelDistance(24000, window_samples=(30,), num_mels=(5,))
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        MelDistance(24000, eps=0)
    with pytest.raises(ValueError, match=r"sample_rate must be positive \(Hz\), got 0"):
        MelDistance(0)
    with pytest.raises(TypeError, match=r"sample_rate must be an int in Hz, got 24000\.0"):
        MelDistance(24000.0)
