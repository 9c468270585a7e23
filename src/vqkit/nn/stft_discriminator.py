"""EnCodec's multi-scale STFT discriminator: 2-D convolutions on complex spectrograms of several window lengths.

References:
    Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4 and figure 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from vqkit.constants import Constant
from vqkit.types import Float

__all__ = ["Judgement", "STFTDiscriminator"]


@dataclass(frozen=True)
class Judgement:
    """Output of a discriminator for waveforms.

    Attributes:
        scores: one tensor a window, ``(batch · channels, 1, frames, bins)``; high where the sound seems real.
        features: activations of the layers of each window.
    """

    scores: list[Tensor]
    features: list[list[Tensor]]


class STFTDiscriminator(nn.Module):
    """Discriminator with a stack of convolutions for each STFT window; the channels of stereo are judged one by one.

    Args:
        num_filters: channels of every layer.
        window_samples: lengths of the STFT windows; the hop is a quarter.
        dilations: dilations in time of the strided layers.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> judgement = STFTDiscriminator(num_filters=4, window_samples=(256, 128))(torch.randn(2, 1, 1600))
        >>> len(judgement.scores), len(judgement.features[0])
        (2, 5)
    """

    def __init__(
        self,
        *,
        num_filters: int = 32,
        window_samples: Sequence[int] = (2048, 1024, 512, 256, 128),
        dilations: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        if num_filters < 1:
            raise ValueError(f"num_filters must be at least 1, got {num_filters}")
        if not window_samples or any(window < 32 or window % 4 for window in window_samples):
            raise ValueError(f"window_samples must be multiples of 4, at least 32, got {tuple(window_samples)}")
        self.longest_samples = max(window_samples)
        self.parts = nn.ModuleList(_OneWindow(num_filters, window, dilations) for window in window_samples)

    def forward(self, wav: Float[Tensor, "batch channels samples"]) -> Judgement:
        """Judge waveforms.

        Raises:
            ValueError: wav is not (batch, channels, samples), or not longer than half the longest window.
        """
        least = self.longest_samples // 2
        if wav.ndim != 3 or wav.shape[-1] <= least:
            raise ValueError(f"wav must be (batch, channels, more than {least} samples), got shape {tuple(wav.shape)}")
        judged = [part(wav.flatten(end_dim=1)) for part in self.parts]
        return Judgement([layers[-1] for layers in judged], [layers[:-1] for layers in judged])


class _OneWindow(nn.Module):
    def __init__(self, num_filters: int, window_samples: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.window_samples = window_samples
        self.window = Constant(lambda: torch.hann_window(window_samples))
        layers = [_conv(2, num_filters, (3, 9))]
        layers += [_conv(num_filters, num_filters, (3, 9), (1, 2), dilation) for dilation in dilations]
        layers += [_conv(num_filters, num_filters, (3, 3))]
        self.layers = nn.ModuleList(layers)
        self.score = _conv(num_filters, 1, (3, 3))

    def forward(self, wav: Tensor) -> list[Tensor]:
        """(rows, samples) → activations of the layers, and the score last."""
        size, window = self.window_samples, self.window.on(wav.device)
        with torch.autocast(device_type=wav.device.type, enabled=False):
            spectrum = torch.stft(wav.float(), size, size // 4, window=window, pad_mode="reflect", return_complex=True)
            spectrum = spectrum / window.square().sum().sqrt()
        x = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)  # (rows, 2, frames, bins)
        x = x.to(next(self.score.parameters()).dtype)
        found = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.2)
            found.append(x)
        return [*found, self.score(x)]


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: int = 1
) -> nn.Module:
    padding = ((kernel[0] - 1) * dilation // 2, kernel[1] // 2)
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding, (dilation, 1)))
