import numpy as np
import pytest
import torch

from vqkit.data import AudioAugmentation, AudioCrops, list_clips, sample_folder

RATE, SAMPLES = 16000, 16000
PLAIN = {"speed": (1.0, 1.0), "equalizer_db": 0.0, "mix": 0.0, "synthetic": 0.0}


def tone(hz: float, samples: int) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE)[None]


def peak_hz(wav: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(wav[0] * torch.hann_window(wav.shape[1])).abs()
    return float(spectrum.argmax()) * RATE / wav.shape[1]


def test_without_changes_the_crop_comes_back() -> None:
    augment = AudioAugmentation(**PLAIN)
    crop = torch.randn(1, augment.needed_samples(SAMPLES))
    assert torch.equal(augment(crop, None, SAMPLES, RATE, np.random.default_rng(0)), crop[:, :SAMPLES])


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_moves_the_pitch(factor: float) -> None:
    augment = AudioAugmentation(**{**PLAIN, "speed": (factor, factor)})
    crop = tone(1000, augment.needed_samples(SAMPLES))
    out = augment(crop, None, SAMPLES, RATE, np.random.default_rng(0))
    assert out.shape == (1, SAMPLES)
    assert peak_hz(out) == pytest.approx(1000 * factor, abs=2)
    assert float(out[:, 2000:-2000].square().mean()) == pytest.approx(0.5, rel=0.05)


def test_equalizer_keeps_to_its_limit_and_changes_the_colour() -> None:
    augment = AudioAugmentation(**{**PLAIN, "equalizer_db": 6.0})
    crop = torch.randn(1, augment.needed_samples(SAMPLES), generator=torch.Generator().manual_seed(0))
    out = augment(crop, None, SAMPLES, RATE, np.random.default_rng(0))
    gain = torch.fft.rfft(out).abs() / torch.fft.rfft(crop[:, :SAMPLES]).abs()
    limit = 10 ** (6 / 20)
    assert 1 / limit - 1e-2 <= float(gain.min()) < float(gain.max()) <= limit + 1e-2
    assert float(gain.max() / gain.min()) > 1.2


def test_mixing_adds_the_other_crop_at_its_level() -> None:
    augment = AudioAugmentation(**{**PLAIN, "mix": 1.0})
    random = np.random.default_rng(3)
    assert augment.wants_another(random)
    samples = augment.needed_samples(SAMPLES)
    crop, other = tone(500, samples), 20 * tone(3000, samples)
    out = augment(crop, other, SAMPLES, RATE, random)
    spectrum = torch.fft.rfft(out[0]).abs()
    ratio_db = 20 * torch.log10(spectrum[3000] / spectrum[500])  # one hertz a bin
    assert -15.5 <= float(ratio_db) <= 0.5
    assert torch.equal(
        augment(crop, torch.zeros_like(crop), SAMPLES, RATE, np.random.default_rng(0)), crop[:, :SAMPLES]
    )


def test_synthetic_sounds_are_bounded_and_sometimes_tones() -> None:
    augment = AudioAugmentation(**{**PLAIN, "synthetic": 1.0})
    crop = torch.zeros(2, augment.needed_samples(SAMPLES))
    sounds = [augment(crop, None, SAMPLES, RATE, np.random.default_rng(seed)) for seed in range(40)]
    assert all(sound.shape == (2, SAMPLES) and bool(sound.isfinite().all()) for sound in sounds)
    assert all(0 < float(sound.abs().max()) <= 1 + 1e-6 for sound in sounds)
    # the share of energy in the eight strongest bins tells tones from noise
    powers = [torch.fft.rfft(sound[0]).abs().square() for sound in sounds]
    tonal = [float(power.topk(8).values.sum() / power.sum()) > 0.5 for power in powers]
    assert 5 <= sum(tonal) <= 38


def test_crops_depend_on_seed_epoch_and_index_only() -> None:
    clips = list_clips(sample_folder(), "train", "music")

    def crops(augment: AudioAugmentation | None) -> AudioCrops:
        return AudioCrops(clips, RATE, 1, 0.5, crops_per_epoch=20, seed=0, short="pad", augment=augment)

    changed = AudioAugmentation(mix=0.5)
    first, again, plain = crops(changed), crops(changed), crops(None)
    backwards = {index: again[index] for index in reversed(range(6))}
    for index in range(6):
        assert first[index].shape == plain[index].shape == (1, 8000)
        assert torch.equal(first[index], backwards[index])
    assert any(not torch.equal(first[index], plain[index]) for index in range(6))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"speed": (1.2, 0.9)}, "speed is (1.2, 0.9), it must be two rising factors in 0.5 … 2"),
        ({"equalizer_db": -1}, "equalizer_db is -1, it must be in 0 … 40"),
        ({"mix": 1.5}, "mix is 1.5, it must be in 0 … 1"),
        ({"synthetic": -0.1}, "synthetic is -0.1, it must be in 0 … 1"),
    ],
)
def test_arguments_out_of_range_are_refused(bad: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        AudioAugmentation(**bad)
