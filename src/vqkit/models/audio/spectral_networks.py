"""The networks of `vqkit.models.audio.spectral_codec`: from waveforms to latents, and back."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from vqkit.nn.convnext import ConvNeXtBlock
from vqkit.nn.fast_linear import fast_linear
from vqkit.nn.lapped_spectrum import LappedAnalysis, LappedSynthesis
from vqkit.nn.pitch_filter import PitchFilter
from vqkit.nn.streaming_layer import Chain, Pointwise, ResidualSum
from vqkit.nn.wide import no_autocast, wide, wide_linear
from vqkit.types import Float

__all__ = ["SpectralDecoder", "SpectralEncoder", "start_as_identity"]

_SILENCE = 1e-3  # magnitude below which logarithms and roots flatten: 60 dB under noise of variance one
_NETWORK_SHARE = 0.3  # of the latent, at the start


class SpectralEncoder(nn.Module):
    """Waveforms (batch, channels, samples) → latents (batch, dim, ⌈samples / hop⌉).

    Args:
        dim: width of the latent.
        hop_samples: samples a frame.
        channels: number of channels of the waveform.
        width: channels of the blocks.
        blocks: number of blocks.
        causal: whether the blocks see no future beyond their frame's window.
    """

    def __init__(self, dim: int, hop_samples: int, channels: int, width: int, blocks: int, causal: bool) -> None:
        super().__init__()
        bins = channels * (hop_samples + 1)
        self.analysis = LappedAnalysis(hop_samples, channels)
        self.linear = nn.Linear(2 * bins, dim, bias=False)
        self.enter = nn.Linear(3 * bins, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(width, causal=causal) for _ in range(blocks)])
        self.last_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)
        self.turn = nn.Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.leave.weight.mul_(_NETWORK_SHARE)
            start_as_identity(self.turn.weight)

    def forward(self, wav: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch dim frames"]:
        """The latents."""
        spectra = self.analysis(wav)
        return self._turn(self._finish(self.blocks(self._start(spectra))) + self._linear(spectra))

    def streaming(self) -> Chain:
        """The network in blocks, with its present weights."""
        network = Chain([Pointwise(self._start), *[_blockwise(b) for b in self.blocks], Pointwise(self._finish)])
        analysis = self.analysis.streaming(self.linear.weight.device, self.linear.weight.dtype)
        return Chain([analysis, ResidualSum(network, Pointwise(self._linear)), Pointwise(self._turn)])

    def _start(self, spectra: Tensor) -> Tensor:
        real, imaginary = spectra.unflatten(1, (self.analysis.channels, 2, -1)).unbind(2)
        magnitude = (real.square() + imaginary.square() + _SILENCE**2).sqrt()
        root = magnitude.rsqrt()
        features = torch.cat([real * root, imaginary * root, 0.3 * magnitude.log()], dim=2).flatten(1, 2)
        return self.norm(fast_linear(self.enter, _as(features, self.enter).transpose(1, 2))).transpose(1, 2)

    def _finish(self, x: Tensor) -> Tensor:
        return wide(fast_linear(self.leave, self.last_norm(x.transpose(1, 2))).transpose(1, 2))

    def _linear(self, spectra: Tensor) -> Tensor:
        with no_autocast(spectra.device):
            return _signed_root(wide_linear(self.linear, spectra.transpose(1, 2))).transpose(1, 2)

    def _turn(self, z: Tensor) -> Tensor:
        with no_autocast(z.device):
            return wide_linear(self.turn, z.transpose(1, 2)).transpose(1, 2)


class SpectralDecoder(nn.Module):
    """Latents (batch, dim, frames) → waveforms of frames · hop samples.

    Args:
        dim: width of the latent.
        hop_samples: samples a frame.
        channels: number of channels of the waveform.
        width: channels of the blocks.
        blocks: number of blocks.
        causal: whether the blocks see no future.
        pitch_filter: makes the voices of the waveforms cleaner; None for waveforms as they are.
    """

    def __init__(
        self,
        dim: int,
        hop_samples: int,
        channels: int,
        width: int,
        blocks: int,
        causal: bool,
        pitch_filter: PitchFilter | None = None,
    ) -> None:
        super().__init__()
        bins = channels * (hop_samples + 1)
        self.turn = nn.Linear(dim, dim)
        self.linear = nn.Linear(dim, 2 * bins, bias=False)
        self.enter = nn.Linear(dim, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(width, causal=causal) for _ in range(blocks)])
        self.last_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 3 * bins)
        self.synthesis = LappedSynthesis(hop_samples, channels)
        self.pitch_filter = pitch_filter

    def forward(self, z: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch channels samples"]:
        """The waveforms."""
        wav = self.synthesis(self._finish(self.blocks(self._start(z))) + self._linear(z))
        return _as(wav if self.pitch_filter is None else self.pitch_filter(wav), self.leave)

    def unfiltered(self) -> Self:
        """The same over the same memory, without pitch filter."""
        twin = copy.copy(self)
        twin._modules = self._modules | {"pitch_filter": None}
        return twin

    def streaming(self) -> Chain:
        """The network in blocks, with its present weights."""
        network = Chain([Pointwise(self._start), *[_blockwise(b) for b in self.blocks], Pointwise(self._finish)])
        synthesis = self.synthesis.streaming(self.linear.weight.device, self.linear.weight.dtype)
        last = Pointwise(lambda wav: _as(wav, self.leave))
        filters = [] if self.pitch_filter is None else [self.pitch_filter.streaming()]
        return Chain([ResidualSum(network, Pointwise(self._linear)), synthesis, *filters, last])

    def _start(self, z: Tensor) -> Tensor:
        return self.norm(fast_linear(self.enter, _as(z, self.enter).transpose(1, 2))).transpose(1, 2)

    def _finish(self, x: Tensor) -> Tensor:
        made = wide(fast_linear(self.leave, self.last_norm(x.transpose(1, 2))).transpose(1, 2))
        level, real, imaginary = made.unflatten(1, (self.synthesis.channels, 3, -1)).unbind(2)
        size = (level - 3).clamp(max=6).exp() * (real.square() + imaginary.square() + 1e-4).rsqrt()
        return torch.cat([size * real, size * imaginary], dim=2).flatten(1, 2)

    def _linear(self, z: Tensor) -> Tensor:
        with no_autocast(z.device):
            return wide_linear(self.linear, _signed_square(wide_linear(self.turn, z.transpose(1, 2)))).transpose(1, 2)


def start_as_identity(weight: Tensor) -> None:
    """Make a square weight the identity; `torch.eye` would import PyTorch's compiler on the meta device."""
    weight.zero_().diagonal().fill_(1)


def _blockwise(block: Any) -> ResidualSum:
    found: ResidualSum = block.streaming()
    return found


def _as(x: Tensor, layer: nn.Linear) -> Tensor:
    """The tensor in the dtype of a layer's weights."""
    return x.to(layer.weight.dtype)


def _signed_root(x: Tensor) -> Tensor:
    """sign(x) √|x|, with a finite slope at 0."""
    return x * (x.square() + 1e-4).pow(-0.25)


def _signed_square(x: Tensor) -> Tensor:
    """sign(x) x²."""
    return x * (x.square() + 1e-4).sqrt()
