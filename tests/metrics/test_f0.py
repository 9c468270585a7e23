"""Pitch tracks against the formula of the tone that was made, and what the two metrics make of changes whose effect is known."""

import numpy as np
import pytest
import torch

from vqkit.metrics import F0Correlation, VoicingAgreement
from vqkit.metrics.pitch import HOP_SECONDS, f0_hz, pitch_samples

RATE = 16000


def voice(track_hz: np.ndarray) -> torch.Tensor:
    """Five harmonics of an F0 given for every sample, as a voice has them: (1, 1, samples)."""
    phase = 2 * np.pi * np.cumsum(track_hz) / RATE
    wave = sum(0.2 / n * np.sin(n * phase) for n in range(1, 6))
    return torch.from_numpy(np.where(track_hz > 0, wave, 0.0).astype(np.float32))[None, None]


def melody(seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 160 * 2 ** (0.4 * np.sin(2 * np.pi * 0.8 * time))


def value(metric, estimate, reference):
    metric.update(estimate, reference)
    return metric.compute().item()


@pytest.mark.parametrize("hertz", [70.0, 123.4, 220.0, 440.0])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_f0_of_a_tone_is_its_frequency(hertz, rate):
    time = torch.arange(rate, dtype=torch.float64) / rate
    track = f0_hz(0.3 * (2 * torch.pi * hertz * time).sin()[None], rate, 60.0, 500.0, 0.2)[0]
    assert len(track) == (rate - pitch_samples(rate, 60.0)) // round(HOP_SECONDS * rate) + 1
    assert (track / hertz - 1).abs().max() < 2e-3


def test_f0_follows_a_melody_and_is_not_that_of_a_harmonic():
    track = melody()
    found = f0_hz(voice(track)[0].double(), RATE, 60.0, 500.0, 0.2)[0, :190].numpy()
    hop = round(HOP_SECONDS * RATE)
    # a frame compares samples of about its first 40 ms
    around = np.stack([track[start : start + 640] for start in range(0, 190 * hop, hop)])
    assert ((found > 0.99 * around.min(axis=1)) & (found < 1.01 * around.max(axis=1))).all()


def test_noise_silence_and_a_faint_tone_have_no_f0():
    noise = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (f0_hz(noise, RATE, 60.0, 500.0, 0.2) > 0).double().mean() < 0.02
    assert not f0_hz(torch.zeros(1, RATE), RATE, 60.0, 500.0, 0.2).any()
    assert not f0_hz(1e-4 * voice(melody())[0], RATE, 60.0, 500.0, 0.2).any()


def test_a_transposed_melody_correlates_fully_and_an_inverted_one_not_at_all():
    track = melody()
    same = value(F0Correlation(RATE), voice(1.3 * track), voice(track))
    inverted = value(F0Correlation(RATE), voice(160**2 / track), voice(track))
    assert same == pytest.approx(1, abs=1e-3)
    assert inverted == pytest.approx(-1, abs=1e-2)


def test_correlation_is_that_of_numpy():
    generator = torch.Generator().manual_seed(3)
    reference = voice(melody())
    estimate = voice(melody() * 2 ** (0.3 * np.sin(np.arange(2 * RATE) / 3000))) + 0.02 * torch.randn(
        reference.shape, generator=generator
    )
    one, other = (f0_hz(wave[0].double(), RATE, 60.0, 500.0, 0.2)[0].numpy() for wave in (estimate, reference))
    both = (one > 0) & (other > 0)
    expected = np.corrcoef(np.log(one[both]), np.log(other[both]))[0, 1]
    assert 0.5 < expected < 0.99
    assert value(F0Correlation(RATE), estimate, reference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 1.0), (1.01, 1.0), (1.06, 0.0)])
def test_a_held_pitch_is_kept_within_a_quarter_tone(ratio, expected):
    held = np.full(RATE, 200.0)
    assert value(F0Correlation(RATE), voice(ratio * held), voice(held)) == pytest.approx(expected, abs=1e-6)


def test_agreement_counts_the_frames_that_lost_their_voice():
    reference = voice(melody())
    estimate = reference.clone()
    estimate[..., RATE // 2 : RATE] = 0.05 * torch.randn(RATE // 2, generator=torch.Generator().manual_seed(1))
    # a quarter of the frames, and a few at the borders
    assert value(VoicingAgreement(RATE), estimate, reference) == pytest.approx(0.75, abs=0.03)
    assert value(F0Correlation(RATE), estimate, reference) > 0.95


def test_a_clip_without_voice_has_nothing_to_correlate():
    noise = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    assert value(F0Correlation(RATE), noise, torch.zeros_like(noise)) == 1
    assert value(F0Correlation(RATE), noise, voice(melody(1.0))) == 0


def test_what_is_no_range_is_refused():
    with pytest.raises(ValueError, match="the range of F0 must be within 0 … 2000 Hz, got 300 … 200"):
        F0Correlation(8000, lowest_hz=300, highest_hz=200)
    with pytest.raises(ValueError, match="within 0 … 2000 Hz, got 60 … 2500"):
        VoicingAgreement(8000, highest_hz=2500)
    with pytest.raises(ValueError, match="threshold must be in 0 … 1, got 1"):
        F0Correlation(8000, threshold=1.0)
