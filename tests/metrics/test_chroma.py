import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics import ChromaSimilarity

RATE = 24000


def tone(hz, level=0.3):
    return level * (2 * torch.pi * hz * torch.arange(RATE) / RATE).sin()[None, None]


def similarity(estimate, reference, **settings):
    metric = ChromaSimilarity(RATE, **settings)
    metric.update(estimate, reference)
    return metric.compute().item()


def test_filters_and_cosine_are_librosas(music, noisy):
    def chroma(wave):
        power = np.abs(librosa.stft(wave, n_fft=2048, hop_length=512, pad_mode="reflect")) ** 2
        return librosa.filters.chroma(sr=RATE, n_fft=2048, tuning=0.0, dtype=np.float64) @ power

    values = []
    for e, r in zip(noisy.double().numpy(), music.double().numpy(), strict=True):
        one, other = chroma(e), chroma(r)
        cosine = (one * other).sum(0) / np.linalg.norm(one, axis=0) / np.linalg.norm(other, axis=0)
        values.append(cosine.mean())
    assert similarity(noisy[None], music[None]) == pytest.approx(np.mean(values), abs=1e-6)


def test_pitch_class_counts_and_octave_does_not():
    assert similarity(tone(880.0), tone(440.0)) > 0.99
    assert similarity(tone(440.0, level=0.01), tone(440.0)) > 0.99
    assert similarity(tone(440.0 * 2 ** (6 / 12)), tone(440.0)) < 0.05  # a tritone


def test_unrelated_noise_is_far_above_zero():
    one, other = (torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    assert similarity(one, other) == pytest.approx(0.97, abs=0.015)  # as the module's header says


def test_frames_silent_in_both_are_skipped():
    time = torch.arange(RATE)
    reference = tone(440.0) * (time < RATE // 2)
    tritone = tone(440.0 * 2 ** (6 / 12)) * (time < RATE // 2)
    halves = similarity(tritone[..., : RATE // 2], reference[..., : RATE // 2])
    assert similarity(tritone, reference) == pytest.approx(halves, abs=0.03)  # the silent half does not lift it
    missing = torch.zeros_like(reference)
    assert similarity(missing, reference) == 0.0  # silent in one only counts


def test_level_of_silence_is_a_setting():
    faint, tritone = tone(440.0, level=1e-3), tone(440.0 * 2 ** (6 / 12), level=1e-3)
    assert similarity(tritone, faint) < 0.05
    assert similarity(tritone, faint, silence_db=-40.0) == 1.0


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match=r"silence_db must be below 0 dB, got 3\.0"):
        ChromaSimilarity(RATE, silence_db=3.0)
    with pytest.raises(ValueError, match="hop_samples must be positive, got 0"):
        ChromaSimilarity(RATE, hop_samples=0)
