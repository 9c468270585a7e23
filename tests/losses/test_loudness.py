import math

import librosa
import numpy as np
import pytest
import torch

from vqkit.data import sample_folder
from vqkit.losses import LoudnessDisturbance


def plain(one: np.ndarray, other: np.ndarray, rate: int = 16000) -> float:
    """The model of one pair of mono signals, band by band and frame by frame, with librosa's STFT."""
    window = 4 * round(0.032 * rate / 4)
    step = rate / window

    def bark(hertz):
        return 13 * math.atan(0.00076 * hertz) + 3.5 * math.atan((hertz / 7500) ** 2)

    count = math.ceil(bark(rate / 2) / 0.5)
    bands = np.zeros((count, window // 2 + 1))
    for k in range(window // 2 + 1):
        low, high = (bark(min(max((k + side) * step, 0), rate / 2)) for side in (-0.5, 0.5))
        for b in range(count):
            bands[b, k] = max(0, min(high, (b + 1) / 2) - max(low, b / 2)) / (high - low)
    energy = (librosa.filters.get_window("hann", window) ** 2).sum()
    powers = []
    for wav in (one, other):
        stft = librosa.stft(wav.astype(np.float64), n_fft=window, hop_length=window // 2, pad_mode="reflect")
        powers.append(bands @ (2 * np.abs(stft) ** 2 / (window * energy)))
    total = powers[1].sum(axis=0)
    scale = 10**7.9 / ((total**2).mean() / total.mean())
    ours, theirs = (power * scale for power in powers)
    disturbances = np.zeros((2, ours.shape[1]))
    thresholds = []
    grid = np.linspace(50, rate / 2, 8192)
    for b in range(count):
        place = next((h for h in grid if bark(h) >= (b + 0.5) / 2), rate / 2) / 1000
        thresholds.append(
            10 ** ((3.64 * place**-0.8 - 6.5 * math.exp(-0.6 * (place - 3.3) ** 2) + 0.001 * place**4) / 10)
        )
    for t in range(ours.shape[1]):
        squares, added, audible = 0.0, 0.0, 0.0
        for b, threshold in enumerate(thresholds):
            sone = 2 * (2 / 1e4) ** 0.23 * (threshold / 0.5) ** 0.23
            loud, goal = (sone * ((0.5 + 0.5 * p[b, t] / threshold) ** 0.23 - 1) for p in (ours, theirs))
            difference = max(abs(loud - goal) - 0.25 * max(min(loud, goal), 0), 0)
            more = ((ours[b, t] + 50) / (theirs[b, t] + 50)) ** 1.2
            squares += difference**2
            added += difference * (0 if more < 3 else min(more, 12))
            audible += theirs[b, t] if theirs[b, t] > threshold else 0
        weight = ((audible + 1e5) / 1e7) ** -0.04 * 0.5 * count
        disturbances[:, t] = math.sqrt(squares / count) * weight, added / count * weight
    disturbances = np.where(disturbances < 45, disturbances, 45 + 0.02 * (disturbances - 45))
    length = min(round(0.32 * rate / (window // 2)), ours.shape[1])
    starts = range(0, ours.shape[1] - length + 1, length // 2)
    parts = [math.sqrt(np.mean([np.mean(row[s : s + length] ** 6) ** (2 / 6) for s in starts])) for row in disturbances]
    return 0.1 * parts[0] + 0.0309 * parts[1]


@pytest.mark.parametrize("rate", [16000, 24000])
def test_equals_the_model(rate):
    random = np.random.default_rng(0)
    reference = 0.1 * random.standard_normal(rate) * np.linspace(0, 1, rate) ** 2
    estimate = 0.7 * reference + 0.02 * random.standard_normal(rate)
    found = LoudnessDisturbance(rate)(torch.from_numpy(estimate)[None, None], torch.from_numpy(reference)[None, None])
    assert found.item() == pytest.approx(plain(estimate, reference, rate), rel=1e-3)


def test_it_says_about_what_pesq_takes_off():
    """Of noises of three levels, clipping and coarse samples; of its raw scale, in which it forgives a wrong level and we do not."""
    pesq = pytest.importorskip("pesq").pesq
    path = sorted((sample_folder() / "speech").rglob("*.*"))[0]
    wav, _ = librosa.load(path, sr=16000, mono=True, duration=4)
    random = np.random.default_rng(0)
    estimates = [wav + level * random.standard_normal(len(wav)) * np.abs(wav).max() for level in (0.001, 0.01, 0.05)]
    estimates += [wav.clip(*(share * np.abs(wav).max() for share in (-0.3, 0.3))), (wav * 40).round() / 40]
    found, expected = [], []
    for estimate in estimates:
        estimate = estimate.astype(np.float32)
        found.append(LoudnessDisturbance(16000)(*(torch.from_numpy(x)[None, None] for x in (estimate, wav))).item())
        score = pesq(16000, wav, estimate, "wb")
        expected.append(4.5 - (3.8224 - math.log(4 / (score - 0.999) - 1)) / 1.3669)  # P.862.2, backwards
    assert np.corrcoef(found, expected)[0, 1] > 0.9
    assert np.argsort(found[:3]).tolist() == np.argsort(expected[:3]).tolist()


def test_what_was_added_counts_more_than_what_is_missing():
    random = torch.Generator().manual_seed(0)
    low, high = (0.1 * torch.randn(1, 1, 16000, generator=random) for _ in range(2))
    low = torch.fft.irfft(torch.fft.rfft(low) * (torch.arange(8001) < 2000))
    high = torch.fft.irfft(torch.fft.rfft(high) * (torch.arange(8001) > 3000))
    distance = LoudnessDisturbance(16000)
    assert distance(low + 0.3 * high, low) > 1.3 * distance(low, low + 0.3 * high)


def test_an_estimate_of_silence_has_a_gradient_and_two_silences_are_equal():
    estimate = torch.full((1, 1, 16000), 1e-6).requires_grad_()
    distance = LoudnessDisturbance(16000)
    distance(estimate, 0.1 * torch.randn(1, 1, 16000)).backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
    assert estimate.grad.any()
    silent = torch.zeros(1, 1, 16000, requires_grad=True)
    both = distance(silent, torch.zeros(1, 1, 16000))
    both.backward()
    assert both.item() == pytest.approx(0, abs=1e-6)
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_items_are_heard_one_by_one():
    """A loud item does not hide a quiet one."""
    loud, quiet = torch.randn(1, 1, 16000), 0.01 * torch.randn(1, 1, 16000)
    distance = LoudnessDisturbance(16000)
    together = distance(0.5 * torch.cat([loud, quiet]), torch.cat([loud, quiet]))
    assert together.item() == pytest.approx((distance(0.5 * loud, loud) + distance(0.5 * quiet, quiet)).item() / 2)


def test_rates_that_hold_no_speech_are_refused():
    with pytest.raises(ValueError, match="sample_rate must be at least 4000 Hz, got 3000"):
        LoudnessDisturbance(3000)
