"""Windowed Fourier spectra of overlapping frames, and back: two fixed linear maps, as convolutions.

Frames overlap by half and are windowed by a sine on both sides, so the squares of the windows add up to one and ``synthesis(analysis(x))``
is x, but for the outer half of the first and of the last frame.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.constants import Constant
from vqkit.nn.streaming_convolution import StreamingConvolution, StreamingTransposedConvolution
from vqkit.nn.streaming_layer import Chain, Pointwise
from vqkit.nn.wide import no_autocast, wide, wide_dtype
from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float

__all__ = ["LappedAnalysis", "LappedSynthesis", "fourier_basis", "lapped_basis"]

_CPU = torch.device("cpu")


def fourier_basis(hop_samples: int) -> Float[Tensor, "coefficients window"]:
    """Rows: cosines, then sines, of the hop_samples + 1 frequencies of 2 · hop_samples samples, in float64; ``basis.T @ basis`` is 1.

    Example:
        >>> basis = fourier_basis(4)
        >>> basis.shape, bool(torch.allclose(basis.T @ basis, torch.eye(8, dtype=torch.float64)))
        (torch.Size([10, 8]), True)
    """
    size = 2 * hop_samples
    angle = 2 * math.pi / size * torch.arange(hop_samples + 1)[:, None].double() * torch.arange(size)
    scale = torch.full((hop_samples + 1, 1), math.sqrt(2 / size), dtype=torch.float64)
    scale[0] = scale[-1] = math.sqrt(1 / size)
    return torch.cat([scale * angle.cos(), -scale * angle.sin()])


def lapped_basis(hop_samples: int) -> Float[Tensor, "coefficients window"]:
    """`fourier_basis` of a windowed frame, real parts before imaginary ones."""
    return fourier_basis(hop_samples) * _sine_window(hop_samples)


def _sine_window(hop_samples: int) -> Tensor:
    return (math.pi / (2 * hop_samples) * (torch.arange(2 * hop_samples).double() + 0.5)).sin()


def _bin_scale(hop_samples: int) -> Tensor:
    """Rows of `fourier_basis` over those of the unitary transform: all bins but the first and the last stand for two frequencies."""
    scale = torch.full((hop_samples + 1,), math.sqrt(2), dtype=torch.float64)
    scale[0] = scale[-1] = 1
    return scale


def _takes_transform(x: Tensor) -> bool:
    """Whether the fast transform may stand in for the convolution: on the CPU, where nothing is traced."""
    return takes_fast_paths(x)


class LappedAnalysis(nn.Module):
    """Waveform → spectra of its frames, real parts before imaginary ones.

    Args:
        hop_samples: samples a frame; the window is twice as long.
        channels: channels of the waveform; their spectra follow each other.

    Example:
        >>> LappedAnalysis(160)(torch.randn(2, 1, 1000)).shape
        torch.Size([2, 322, 7])
    """

    def __init__(self, hop_samples: int, channels: int = 1) -> None:
        super().__init__()
        self.hop_samples, self.channels = hop_samples, channels
        self.basis = Constant(lambda: lapped_basis(hop_samples).repeat(channels, 1)[:, None])
        self._window = Constant(lambda: _sine_window(hop_samples))
        self._scale = Constant(lambda: _bin_scale(hop_samples))

    def forward(self, wav: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch coefficients frames"]:
        """⌈samples / hop⌉ frames; float32 (float64 of a float64 wav) whatever autocast says, since phases do not survive bfloat16."""
        hop, samples = self.hop_samples, wav.shape[-1]
        left = hop // 2
        right = (
            hop - left + (samples + hop - 1) // hop * hop - samples
        )  # no negative modulo: exporters round it another way
        with no_autocast(wav.device):
            padded = functional.pad(wide(wav), (left, right))
            if _takes_transform(padded):
                return self._transformed(padded)
            basis = self.basis.on(padded.device, padded.dtype)
            return functional.conv1d(padded, basis, stride=self.hop_samples, groups=self.channels)

    def _transformed(self, padded: Tensor) -> Tensor:
        """The same by the fast transform: (batch, channels, padded samples) → spectra."""
        frames = padded.unfold(-1, 2 * self.hop_samples, self.hop_samples)
        window = self._window.on(padded.device, padded.dtype)
        # (batch, channels, frames, bins)
        spectra = torch.fft.rfft(frames * window, norm="ortho") * self._scale.on(padded.device, padded.dtype)
        parts = torch.cat([spectra.real, spectra.imag], dim=-1)
        return parts.transpose(2, 3).flatten(1, 2)

    def streaming(self, device: torch.device = _CPU, dtype: torch.dtype = torch.float32) -> Chain:
        """The same in blocks of a device and dtype."""
        left = self.hop_samples // 2
        convolution = StreamingConvolution(
            self.basis.on(device, wide_dtype(dtype)),
            None,
            stride=self.hop_samples,
            pad_left=left,
            pad_right=self.hop_samples - left,
            pad_mode="constant",
            groups=self.channels,
        )
        return Chain([Pointwise(wide), convolution])


class LappedSynthesis(nn.Module):
    """Spectra of frames → waveform, by overlap-add.

    Args:
        hop_samples: samples a frame.
        channels: channels of the waveform.

    Example:
        >>> wav = torch.randn(2, 1, 1600)
        >>> back = LappedSynthesis(160)(LappedAnalysis(160)(wav))
        >>> back.shape, bool(torch.allclose(back[..., 80:-80], wav[..., 80:-80], atol=1e-5))
        (torch.Size([2, 1, 1600]), True)
    """

    def __init__(self, hop_samples: int, channels: int = 1) -> None:
        super().__init__()
        self.hop_samples, self.channels = hop_samples, channels
        self.basis = Constant(lambda: _side_by_side(lapped_basis(hop_samples), channels))
        self._window = Constant(lambda: _sine_window(hop_samples))
        self._scale = Constant(lambda: 1 / _bin_scale(hop_samples))

    def forward(self, spectra: Float[Tensor, "batch coefficients frames"]) -> Float[Tensor, "batch channels samples"]:
        """Overlap-add; frames · hop samples, float32, or float64 of float64 spectra."""
        left = self.hop_samples // 2
        with no_autocast(spectra.device):
            spectra = wide(spectra)
            if _takes_transform(spectra):
                wav = self._transformed(spectra)
            else:
                basis = self.basis.on(spectra.device, spectra.dtype)
                wav = functional.conv_transpose1d(spectra, basis, stride=self.hop_samples)
        return wav[..., left : left + spectra.shape[-1] * self.hop_samples]

    def _transformed(self, spectra: Tensor) -> Tensor:
        """The same by the fast transform: spectra → (batch, channels, (frames + 1) · hop)."""
        parts = spectra.unflatten(1, (self.channels, 2, -1)).transpose(3, 4)  # (batch, channels, 2, frames, bins)
        scale = self._scale.on(spectra.device, spectra.dtype)
        bins = torch.complex((parts[:, :, 0] * scale).contiguous(), (parts[:, :, 1] * scale).contiguous())
        frames = torch.fft.irfft(bins, n=2 * self.hop_samples, norm="ortho")
        halves = (frames * self._window.on(spectra.device, spectra.dtype)).unflatten(-1, (2, -1))
        # hop h is the second half of frame h − 1 and the first half of frame h
        hops = functional.pad(halves[..., 0, :], (0, 0, 0, 1))
        hops[..., 1:, :] += halves[..., 1, :]
        return hops.flatten(-2)

    def streaming(
        self, device: torch.device = _CPU, dtype: torch.dtype = torch.float32
    ) -> StreamingTransposedConvolution:
        """The same in blocks of a device, and of float32 or float64."""
        left = self.hop_samples // 2
        return StreamingTransposedConvolution(
            self.basis.on(device, wide_dtype(dtype)),
            None,
            stride=self.hop_samples,
            trim_left=left,
            trim_right=self.hop_samples - left,
        )


def _side_by_side(one: Tensor, channels: int) -> Tensor:
    """The basis (coefficients, window) for channels that do not see each other: (channels · coefficients, channels, window)."""
    basis = one.new_zeros(channels, one.shape[0], channels, one.shape[1])
    for channel in range(channels):  # each is made of its own spectra
        basis[channel, :, channel] = one
    return basis.flatten(0, 1)
