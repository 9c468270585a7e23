"""Log-mel filterbank energies as Kaldi computes them, on tensors.

wave ─ mean removed ─ frames ─ mean of each frame removed ─ pre-emphasis ─ Hann ─ |FFT|² ─ mel triangles ─ log

Conventions
    Waveforms are float in about [−1, 1]; a frame begins every hop and lies within the wave (Kaldi's ``snip_edges``).
    Logarithms are natural.

References:
    Povey et al., "The Kaldi speech recognition toolkit" (2011), feature-fbank; Gong et al., "AST: audio spectrogram transformer" (2021),
    arXiv:2104.01778 (the settings that BEATs, AudioMAE and BRIDLE took over).
"""

import math

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.types import Float

__all__ = ["KaldiFilterbank"]

_PRE_EMPHASIS = 0.97
_EPSILON = torch.finfo(torch.float32).eps  # energies below it are silence


class KaldiFilterbank(nn.Module):
    """Kaldi's filterbank without dither and energy, with a Hann window; nothing in it learns.

    Args:
        sample_rate: sample rate of the waves, in Hz.
        mels: number of mel bands between ``low_hz`` and half the sample rate.
        window_seconds: length of a frame.
        hop_seconds: time from the beginning of a frame to that of the next.
        low_hz: lower edge of the first band.

    Raises:
        ValueError: an argument that is not positive, or more bands than the frequencies of a frame can tell apart.

    Example:
        >>> KaldiFilterbank(16000, 128)(torch.randn(2, 16000)).shape
        torch.Size([2, 98, 128])
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        mels: int = 128,
        *,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.010,
        low_hz: float = 20.0,
    ) -> None:
        super().__init__()
        self.window_samples, self.hop_samples = round(window_seconds * sample_rate), round(hop_seconds * sample_rate)
        if min(sample_rate, mels, self.window_samples, self.hop_samples) < 1 or not 0 <= low_hz < sample_rate / 2:
            raise ValueError(
                f"sample_rate, mels, window and hop must be positive and low_hz below half the rate, got {sample_rate}, {mels}, "
                f"{window_seconds}, {hop_seconds} and {low_hz}"
            )
        self.sample_rate, self.mels = sample_rate, mels
        self.fft_samples = 1 << math.ceil(math.log2(self.window_samples))
        if mels > self.fft_samples // 2:
            raise ValueError(f"mels must be at most {self.fft_samples // 2} at {sample_rate} Hz, got {mels}")
        self._window = Constant(lambda: torch.hann_window(self.window_samples, periodic=False))
        self._triangles = Constant(lambda: _triangles(sample_rate, self.fft_samples, mels, low_hz))

    @property
    def floor(self) -> float:
        """Log energy of a band in digital silence."""
        return math.log(_EPSILON)

    def frames(self, samples: int) -> int:
        """Return the number of frames of a wave of ``samples`` samples."""
        return max(0, 1 + (samples - self.window_samples) // self.hop_samples)

    def forward(self, wave: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames mels"]:
        """Log energies.

        Raises:
            ValueError: the waves are shorter than a frame.
        """
        if wave.shape[-1] < self.window_samples:
            raise ValueError(
                f"a clip of {wave.shape[-1]} samples is shorter than a frame, {self.window_samples} samples"
            )
        with torch.autocast(device_type=wave.device.type, enabled=False):
            wave = wave.float()
            wave = wave - wave.mean(dim=-1, keepdim=True)
            frames = wave.unfold(-1, self.window_samples, self.hop_samples)
            frames = frames - frames.mean(dim=-1, keepdim=True)
            # the first sample of a frame has no predecessor: Kaldi takes the sample itself
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = (frames - _PRE_EMPHASIS * before) * self._window.on(wave.device)
            power = torch.fft.rfft(frames, n=self.fft_samples).abs().square()
            energies = power[..., :-1] @ self._triangles.on(wave.device)  # the highest frequency is in no band
            return energies.clamp_min(_EPSILON).log()


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hz / 700.0)


def _triangles(sample_rate: int, fft_samples: int, mels: int, low_hz: float) -> Float[Tensor, "frequencies mels"]:
    """Triangles that are linear in mel, each from the centre of the band before to that of the band after."""
    low, high = (float(_mel(torch.tensor(hz, dtype=torch.float64))) for hz in (low_hz, sample_rate / 2))
    edges = torch.linspace(low, high, mels + 2, dtype=torch.float64)
    frequencies = torch.arange(fft_samples // 2, dtype=torch.float64) * sample_rate / fft_samples
    mel = _mel(frequencies)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()
