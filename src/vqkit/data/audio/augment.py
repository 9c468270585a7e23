"""Random changes of training sound that leave it natural: a few hours become many.

A change depends only on the crop, on the other crop that it may be mixed with, and on the random generator that it is given, so a run that
is interrupted draws the same crops again.
"""

import numpy as np
import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["AudioAugmentation"]

_TONES_HZ = (60.0, 0.47)  # lowest frequency of synthetic partials, and the highest as a share of the sample rate
_HISS_DB = (-60.0, -20.0)  # level of the noise under most synthetic tones, beside their peak
_MIX_DB = (-15.0, 0.0)  # level of the sound that is mixed in, beside the crop's own


class AudioAugmentation:
    """Speed, equalizer, mixtures, and synthetic tones and noise in place of some crops.

    Args:
        speed: range of the factor of speed and pitch together, drawn on a logarithmic scale; (1, 1) changes nothing.
        equalizer_db: largest boost or cut at five random frequencies, between which the gain is interpolated.
        mix: share of the crops to which another crop is added, at −15 to 0 dB beside their own level.
        synthetic: share of the crops that are replaced by tones (steady, gliding, harmonic), noise or both. Codecs that never hear a pure
            tone in training lose it. Under most tones lies a little noise: beside perfect silence at all other frequencies, distances of
            log spectra count the codec's own noise there more than a tone that is missing.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> augment = AudioAugmentation(speed=(0.9, 1.1), equalizer_db=6)
        >>> crop = torch.randn(1, augment.needed_samples(16000))
        >>> augment(crop, None, 16000, 16000, np.random.default_rng(0)).shape
        torch.Size([1, 16000])
    """

    def __init__(
        self,
        speed: tuple[float, float] = (0.85, 1.18),
        equalizer_db: float = 6.0,
        mix: float = 0.2,
        synthetic: float = 0.08,
    ) -> None:
        if not 0.5 <= speed[0] <= speed[1] <= 2:
            raise ValueError(f"speed is {tuple(speed)}, it must be two rising factors in 0.5 … 2")
        if not 0 <= equalizer_db <= 40:
            raise ValueError(f"equalizer_db is {equalizer_db}, it must be in 0 … 40")
        for name, share in {"mix": mix, "synthetic": synthetic}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}, it must be in 0 … 1")
        self.speed, self.equalizer_db, self.mix, self.synthetic = (speed[0], speed[1]), equalizer_db, mix, synthetic

    def needed_samples(self, samples: int) -> int:
        """Length of the crop to read, so that the fastest one still fills ``samples``."""
        return int(np.ceil(samples * self.speed[1])) + 1

    def wants_another(self, random: np.random.Generator) -> bool:
        """Draw whether this crop is mixed with another one."""
        return bool(random.random() < self.mix)

    def __call__(
        self,
        crop: Float[Tensor, "channels _"],
        other: Float[Tensor, "channels _"] | None,
        samples: int,
        sample_rate: int,
        random: np.random.Generator,
    ) -> Float[Tensor, "channels samples"]:
        """The changed crop.

        Args:
            crop: crop, at least `needed_samples` long.
            other: another crop of that length, to be mixed in; None mixes nothing.
            samples: length of the result.
            sample_rate: sample rate in Hz.
            random: source of all draws.
        """
        if random.random() < self.synthetic:
            return _synthetic(crop.shape[0], samples, sample_rate, random)
        changed = self._equalized(self._resampled(crop, samples, random), random)
        if other is None:
            return changed
        added = self._resampled(other, samples, random)
        level, added_level = (float(sound.square().mean().sqrt()) for sound in (changed, added))
        if added_level == 0:
            return changed
        return changed + added * (level / added_level * 10 ** (random.uniform(*_MIX_DB) / 20))

    def _resampled(self, crop: Tensor, samples: int, random: np.random.Generator) -> Tensor:
        """Change the speed of a crop by the Fourier transform of all its samples."""
        factor = float(np.exp(random.uniform(*np.log(self.speed))))
        size = min(crop.shape[1], int(np.ceil(samples * factor)))
        if size == samples:
            return crop[:, :samples]
        spectrum = torch.fft.rfft(crop[:, :size])
        return torch.fft.irfft(spectrum, n=samples) * (samples / size)

    def _equalized(self, crop: Tensor, random: np.random.Generator) -> Tensor:
        if self.equalizer_db == 0:
            return crop
        spectrum = torch.fft.rfft(crop)
        bins = np.log(np.arange(1, spectrum.shape[1] + 1))
        places = np.sort(random.uniform(bins[0], bins[-1], 5))
        gains_db = np.interp(bins, places, random.uniform(-self.equalizer_db, self.equalizer_db, 5))
        return torch.fft.irfft(spectrum * torch.from_numpy(10 ** (gains_db / 20)).float(), n=crop.shape[1])


def _synthetic(channels: int, samples: int, sample_rate: int, random: np.random.Generator) -> Tensor:
    """Synthesize one to four tones or harmonics of one, each perhaps gliding or a beep within the crop; most with noise under them."""
    time = np.arange(samples) / sample_rate
    lowest, highest = _TONES_HZ[0], _TONES_HZ[1] * sample_rate
    sound = np.zeros(samples)
    kind = random.random()
    count = int(random.integers(1, 5))
    start = np.exp(random.uniform(np.log(lowest), np.log(highest), count))
    if kind < 0.3:  # harmonics of one fundamental
        start = np.minimum(start[0], highest / 6) * np.arange(1, count + 3)
    for frequency in start[start < highest]:
        glide = np.exp(random.uniform(-1, 1)) if random.random() < 0.3 else 1.0
        end = np.clip(frequency * glide, lowest, highest)
        cycles = frequency * time + (end - frequency) * time**2 / (2 * time[-1] if samples > 1 else 1)
        tone = 10 ** (random.uniform(-12, 0) / 20) * np.sin(2 * np.pi * (cycles + random.random()))
        if random.random() < 0.4:  # a beep
            begin, length = random.uniform(0, 0.7), random.uniform(0.1, 0.6)
            edge = np.clip((time / time[-1] - begin) / 0.01, 0, 1) * np.clip(
                (begin + length - time / time[-1]) / 0.01, 0, 1
            )
            tone = tone * edge
        sound += tone
    spectrum = np.fft.rfft(random.standard_normal(samples))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -random.uniform(0, 1)  # white to brown
    noise = np.fft.irfft(spectrum, n=samples)
    noise /= np.abs(noise).max()
    if kind > 0.7:
        sound = sound * (random.random() < 0.5) + noise * 10 ** (random.uniform(-30, 0) / 20)
    elif random.random() < 0.75:
        sound += noise * 10 ** (random.uniform(*_HISS_DB) / 20)
    return torch.from_numpy(sound / max(1.0, np.abs(sound).max())).float()[None].repeat(channels, 1)
