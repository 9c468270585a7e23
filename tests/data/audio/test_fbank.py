"""Kaldi's filterbank against transformers' NumPy implementation, and against what is worked out on paper."""

import math

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from vqkit.data.audio.fbank import KaldiFilterbank


def independent(wave: np.ndarray, rate: int, mels: int) -> np.ndarray:
    """What transformers' feature extractors compute in place of Kaldi."""
    window, hop = rate // 40, rate // 100
    length = 1 << math.ceil(math.log2(window))
    filters = mel_filter_bank(
        num_frequency_bins=length // 2 + 1,
        num_mel_filters=mels,
        min_frequency=20,
        max_frequency=rate // 2,
        sampling_rate=rate,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return spectrogram(
        wave - wave.mean(),
        window_function(window, "hann", periodic=False),
        frame_length=window,
        hop_length=hop,
        fft_length=length,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T


@pytest.mark.filterwarnings(
    "ignore:At least one mel filter"
)  # 128 bands are more than 257 frequencies tell apart below
@pytest.mark.parametrize(("rate", "mels"), [(16000, 128), (16000, 40), (8000, 64)])
def test_it_is_what_an_independent_implementation_computes(rate, mels):
    random = np.random.default_rng(0)
    time = np.arange(rate) / rate
    wave = 0.1 * random.standard_normal(rate) * np.exp(-3 * time) + 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05
    ours = KaldiFilterbank(rate, mels)(torch.from_numpy(wave[None]).float())[0]
    theirs = torch.from_numpy(independent(wave, rate, mels)).float()
    assert ours.shape == theirs.shape == (98, mels)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_silence_is_the_floor_and_a_tone_lies_in_its_band():
    bank = KaldiFilterbank(16000, 128)
    assert bank(torch.zeros(1, 8000)).unique().tolist() == pytest.approx([bank.floor])
    assert bank.floor == pytest.approx(math.log(2**-23))
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    mel = 1127 * math.log(1 + 1000 / 700)
    low, high = (1127 * math.log(1 + hz / 700) for hz in (20, 8000))
    band = round((mel - low) / ((high - low) / 129)) - 1
    assert abs(int(bank(tone[None])[0].mean(0).argmax()) - band) <= 1


def test_the_number_of_frames():
    bank = KaldiFilterbank(16000, 128)
    for samples in (400, 559, 560, 16000):
        assert bank(torch.randn(1, samples)).shape[1] == bank.frames(samples) == 1 + (samples - 400) // 160
    with pytest.raises(ValueError, match="a clip of 399 samples is shorter than a frame, 400 samples"):
        bank(torch.randn(1, 399))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="low_hz below half the rate, got 16000, 128, 0.025, 0.01 and 9000"):
        KaldiFilterbank(16000, 128, low_hz=9000)
    with pytest.raises(ValueError, match="mels must be at most 256 at 16000 Hz, got 300"):
        KaldiFilterbank(16000, 300)
