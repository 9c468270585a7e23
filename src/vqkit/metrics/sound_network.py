"""The network behind :class:`vqkit.metrics.SoundClassifier`: log-mel pictures of a second, a few convolutions, a label.

::

    (channels, samples) at 16 kHz → log-mel (channels, 64, frames) → windows (n, 64, 64) → 4 × conv, batch norm, ReLU, pool
    → mean over mels → mean and maximum over time → linear → softmax → mean over windows and channels

Conventions:
    Frames of 512 samples every 256 (32 and 16 ms), 64 mel filters of peak 1 from 0 to 8 kHz, power relative to a sine of
    amplitude 1, −80…0 dB mapped to 0…1 (louder is above 1). Windows are 64 frames, at most 32 apart; a shorter clip is
    filled up with zeros, which is silence.

Metrics:
    None.
"""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.metrics.spectrum import full_scale, magnitudes, mel_filters
from vqkit.metrics.windows import window_starts
from vqkit.types import Float

__all__ = ["HOP_FRAMES", "HOP_SAMPLES", "MODEL_RATE", "NUM_MELS", "WINDOW_FRAMES", "SoundNetwork", "log_mel"]

MODEL_RATE = 16000
NUM_MELS = 64
WINDOW_FRAMES, HOP_FRAMES = 64, 32
HOP_SAMPLES = 256
_FFT, _FLOOR_DB = 512, -80.0


def log_mel(waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels mels frames"]:
    """Log-mel picture, 0 at −80 dB and below, 1 at 0 dB.

    Args:
        waveform: waveform at 16 kHz, at least 257 samples.

    Returns:
        1 + samples // 256 frames.

    Example:
        >>> log_mel(torch.zeros(1, 16000)).shape
        torch.Size([1, 64, 63])
    """
    power = (magnitudes(waveform, _FFT, HOP_SAMPLES) / full_scale(_FFT)).square()
    mel = _filters().to(power) @ power
    return 1 - 10 * mel.clamp_min(10 ** (_FLOOR_DB / 10)).log10() / _FLOOR_DB


@functools.cache
def _filters() -> Tensor:
    return mel_filters(MODEL_RATE, _FFT, NUM_MELS, norm=None)[0]


class SoundNetwork(nn.Module):
    """A small convolutional classifier of log-mel windows.

    Args:
        num_classes: number of labels.
        channels: channels of each convolution; all but the first and the last are followed by a pooling of 2.
        dropout: dropout rate before the last layer, in training.

    Example:
        >>> SoundNetwork(5)(torch.zeros(3, 64, 64)).shape
        torch.Size([3, 5])
    """

    def __init__(self, num_classes: int, channels: tuple[int, ...] = (24, 48, 96, 128), dropout: float = 0.2) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(NUM_MELS)  # each mel filter has its own usual level
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((1, *channels), channels, strict=False)):
            size, stride = (5, 2) if i == 0 else (3, 1)
            layers += [nn.Conv2d(before, after, size, stride, size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            if 0 < i < len(channels) - 1:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * channels[-1], num_classes)

    def forward(self, windows: Float[Tensor, "windows mels frames"]) -> Float[Tensor, "windows classes"]:
        """Logits of each window.

        Args:
            windows: windows of :func:`log_mel`.

        Returns:
            Logits.
        """
        features = self.layers(self.norm(windows)[:, None]).mean(2)
        return self.head(self.dropout(torch.cat([features.mean(-1), features.amax(-1)], dim=1)))

    def posterior(self, picture: Float[Tensor, "channels mels frames"]) -> Float[Tensor, "classes"]:
        """Class probabilities of a clip: the mean of those of its windows and channels.

        Args:
            picture: picture of :func:`log_mel`.

        Returns:
            Probabilities, adding up to 1.
        """
        picture = F.pad(picture, (0, max(0, WINDOW_FRAMES - picture.shape[-1])))
        starts = window_starts(picture.shape[-1], WINDOW_FRAMES, HOP_FRAMES)
        windows = torch.cat([picture[:, :, start : start + WINDOW_FRAMES] for start in starts])
        return self(windows).softmax(-1).mean(0)
