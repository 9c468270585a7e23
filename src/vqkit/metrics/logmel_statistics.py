"""An extractor without weights for the Fréchet distance: statistics of log-mel spectra.

Conventions:
    Levels are relative to a sine of amplitude 1 and floored 80 dB below; powers are log10, so 1 is 10 dB. Each channel
    is embedded by itself.

Metrics:
    None: :class:`LogMelStatistics` goes into :class:`vqkit.metrics.FrechetDistance`, as FD-logmel. It sees the
    long-term spectrum and its spread, nothing of what a trained network hears, and is no substitute for FAD.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.spectrum import full_scale, magnitudes, mel_filters, min_samples
from vqkit.types import Float

__all__ = ["LogMelStatistics"]

_WINDOW, _HOP, _FLOOR = 1024, 256, 1e-8


@dataclass(frozen=True)
class LogMelStatistics:
    """Mean and standard deviation over time of log10 mel powers, in windows of a second every half second.

    A clip shorter than a second is one window; what a longer one has left after its last full window is not used.

    Attributes:
        sample_rate: sample rate in Hz.
        num_mels: mel filters, from 0 Hz to half the sample rate.

    Raises:
        ValueError: so many mels do not fit.

    Example:
        >>> LogMelStatistics(16000)(torch.zeros(1, 40000, dtype=torch.float64)).shape
        torch.Size([4, 64])
    """

    sample_rate: int
    num_mels: int = 32
    _filters: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the filters."""
        filters, count = mel_filters(self.sample_rate, _WINDOW, self.num_mels, norm=None)
        if count < self.num_mels:
            raise ValueError(f"num_mels must be at most {count} at {self.sample_rate} Hz, got {self.num_mels}")
        object.__setattr__(self, "_filters", filters)

    @property
    def name(self) -> str:
        """Short name."""
        return "logmel"

    @property
    def dim(self) -> int:
        """A mean and a deviation per mel."""
        return 2 * self.num_mels

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return min_samples(_WINDOW)

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""
        return {
            "sample_rate": self.sample_rate,
            "num_mels": self.num_mels,
            "window_samples": _WINDOW,
            "hop_samples": _HOP,
            "floor_power": _FLOOR,
            "embedding_seconds": 1.0,
            "embedding_hop_seconds": 0.5,
        }

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "embeddings dim"]:
        """Embed a clip.

        Args:
            waveform: waveform at ``sample_rate``.

        Returns:
            One embedding per window and channel.
        """
        power = (magnitudes(waveform, _WINDOW, _HOP) / full_scale(_WINDOW)).square()
        mel = (self._filters.to(power) @ power).clamp_min(_FLOOR).log10()
        frames = mel.shape[-1]
        length = min(frames, max(2, round(self.sample_rate / _HOP)))
        windows = mel.unfold(-1, length, max(1, length // 2))  # (channels, mels, windows, frames)
        statistics = torch.cat([windows.mean(-1), windows.std(-1, correction=0)], dim=1)
        return statistics.transpose(1, 2).flatten(0, 1)
