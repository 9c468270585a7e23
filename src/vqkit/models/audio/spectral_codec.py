"""A neural audio codec at one frame rate: ConvNeXt blocks between a windowed Fourier transform and its inverse.

    wav ─ spectrum ─┬─ compressed parts, log magnitudes ─ ConvNeXt blocks ─┐
                    └─ linear map ─ signed root ───────────────────────────┴─ z ─ quantizer ─ z_q

    z_q ─┬─ ConvNeXt blocks ─ magnitudes and phases ─┐
         └─ signed square ─ linear map ──────────────┴─ spectrum ─ wav ─ pitch filter, if any ─ wav

The linear way through is a transform codec: it starts as the principal components of the cosine transform and carries the phase from the
first step on, which networks alone take very long to find. The networks do what a transform codec cannot. All layers work at the frame
rate, so it trains and runs several times faster than strided convolutions on samples.

References:
    Siuzdak, "Vocos" (2023), arXiv:2306.00814 (the decoder's blocks and head); Princen & Bradley (1986) (the cosine transform).
"""

import copy
import math
from typing import Self

import torch
from torch import Tensor

from vqkit.models.audio.latent_search import check_refine_steps
from vqkit.models.audio.level_matching import check_level_rounds
from vqkit.models.audio.rates import check_sample_rate
from vqkit.models.audio.spectral_networks import SpectralDecoder, SpectralEncoder, start_as_identity
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.nn.lapped_spectrum import fourier_basis
from vqkit.nn.pitch_filter import PitchFilter, check_passes
from vqkit.nn.streaming_layer import Chain
from vqkit.nn.turned_layers import check_rotation, turn_inputs, turn_outputs
from vqkit.quantize import Quantizer
from vqkit.ranks import mean_over_ranks
from vqkit.types import Float

__all__ = ["SpectralCodec", "SpectralDecoder", "SpectralEncoder"]

_SILENCE = 1e-3  # magnitude below which logarithms and roots flatten: 60 dB under noise of variance one


class SpectralCodec(WaveformCodec):
    """Encoder, quantizer, decoder, all at the frame rate.

    Args:
        quantizer: any; its ``dim`` is the width of the latent.
        sample_rate: sample rate of the waveforms, in Hz.
        channels: number of channels of the waveforms, 1 or 2.
        hop_samples: samples a frame, even; the window is twice as long.
        encoder_width: channels of the encoder's blocks.
        encoder_blocks: number of blocks of the encoder.
        decoder_width: channels of the decoder's blocks.
        decoder_blocks: number of blocks of the decoder.
        causal: whether the blocks see no future.
        pitch_filter_width: channels of a filter behind the decoder that makes voices cleaner, `vqkit.nn.pitch_filter.PitchFilter`; 0 for
            none.
        pitch_filter_passes: times that a waveform goes through that filter.
        level_rounds: rounds in which files are encoded so that the decoded levels are right, by default.
        refine_steps: steps in which the codes of files are refined by listening to them, by default.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from vqkit import RVQ
        >>> codec = SpectralCodec(RVQ(16, 64, 4), sample_rate=16000, encoder_width=16, decoder_width=16).eval()
        >>> codes = codec.encode(torch.randn(1, 1, 16000), kbps=0.6)
        >>> codes.shape, codec.frame_rate, codec.rates_kbps, codec.decode(codes, samples=16000).shape
        (torch.Size([1, 2, 50]), 50.0, (0.3, 0.6, 0.9, 1.2), torch.Size([1, 1, 16000]))
    """

    encoder: SpectralEncoder
    decoder: SpectralDecoder

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        sample_rate: int = 16000,
        channels: int = 1,
        hop_samples: int = 320,
        encoder_width: int = 256,
        encoder_blocks: int = 4,
        decoder_width: int = 288,
        decoder_blocks: int = 6,
        causal: bool = False,
        pitch_filter_width: int = 0,
        pitch_filter_passes: int = 1,
        level_rounds: int = 0,
        refine_steps: int = 0,
    ) -> None:
        super().__init__()
        check_sample_rate(sample_rate)
        self.level_rounds = check_level_rounds(level_rounds)
        self.refine_steps = check_refine_steps(refine_steps)
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {channels}")
        if hop_samples < 2 or hop_samples % 2:
            raise ValueError(f"hop_samples must be even and at least 2, got {hop_samples}")
        if quantizer.dim > channels * hop_samples:
            raise ValueError(f"the quantizer's dim must be at most {channels * hop_samples}, got {quantizer.dim}")
        for name, value in {
            "encoder_width": encoder_width,
            "encoder_blocks": encoder_blocks,
            "decoder_width": decoder_width,
            "decoder_blocks": decoder_blocks,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if pitch_filter_width < 0 or (causal and pitch_filter_width):
            raise ValueError(
                f"pitch_filter_width must be at least 0, and 0 for a causal codec, since the filter looks ahead, got {pitch_filter_width}"
            )
        check_passes(pitch_filter_passes)
        self.sample_rate, self.channels, self.hop_samples = sample_rate, channels, hop_samples
        self.encoder = SpectralEncoder(quantizer.dim, hop_samples, channels, encoder_width, encoder_blocks, causal)
        self.quantizer = quantizer
        self.decoder = SpectralDecoder(
            quantizer.dim,
            hop_samples,
            channels,
            decoder_width,
            decoder_blocks,
            causal,
            PitchFilter(sample_rate, pitch_filter_width, passes=pitch_filter_passes) if pitch_filter_width else None,
        )
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(False))
        # a plan has no values, and PyTorch would import its compiler to compute none
        if not self.encoder.turn.weight.is_meta:
            self._start_linear(torch.eye(channels * hop_samples)[:, : quantizer.dim])

    @torch.no_grad()
    def initialize(self, wav: Float[Tensor, "batch channels samples"]) -> None:
        """Let the linear way carry the principal components of a batch's cosine transform.

        Args:
            wav: a training batch; quiet frames count more than their energy.

        Raises:
            ValueError: as in `forward`, or the batch is silent.
        """
        wav = self._taken(wav)
        spectra = self.encoder.analysis(wav).transpose(1, 2).flatten(end_dim=1)
        coefficients = spectra.double() @ _to_cosines(self.hop_samples, self.channels).T.to(spectra.device)
        level = coefficients.square().mean(dim=1, keepdim=True).sqrt()
        if not level.max() > 0:
            raise ValueError("a codec cannot be initialized on silence")
        weighted = coefficients / (level + _SILENCE).sqrt()
        covariance = mean_over_ranks(weighted.T @ weighted)
        self._start_linear(torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : self.quantizer.dim])
        self.initialized.fill_(True)

    @property
    def last_layer(self) -> Tensor:
        """Weight of the network's last linear layer."""
        return self.decoder.leave.weight

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can rotate the latent; always for this codec."""
        return True

    @torch.no_grad()
    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: what the codec does without quantizer stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, or not orthonormal.
        """
        check_rotation(rotation, self.quantizer.dim)
        turn_outputs(self.encoder.turn, rotation)
        for layer in (self.decoder.turn, self.decoder.enter):
            turn_inputs(layer, rotation)

    def for_search(self) -> Self:
        """The codec without its pitch filter: codes that were found through it were no better, and took twice as long."""
        if self.decoder.pitch_filter is None:
            return self
        twin = copy.copy(self)
        twin._modules = self._modules | {"decoder": self.decoder.unfiltered()}
        return twin

    def streaming_encoder(self) -> Chain:
        """The encoder in blocks, at the start of a signal, with the weights of now."""
        return self.encoder.streaming()

    def streaming_decoder(self) -> Chain:
        """The decoder in blocks, at the start of a signal, with the weights of now."""
        return self.decoder.streaming()

    @torch.no_grad()
    def _start_linear(self, directions: Tensor) -> None:
        """Carry these directions (channels · hop, dim) of the cosine transform through the linear way."""
        to_cosines = _to_cosines(self.hop_samples, self.channels).to(directions)
        basis = directions.T.double() @ to_cosines.double()
        self.encoder.linear.weight.copy_(basis)
        self.decoder.linear.weight.copy_(basis.T)
        start_as_identity(self.decoder.turn.weight)
        self.decoder.turn.bias.zero_()


def _to_cosines(hop_samples: int, channels: int) -> Tensor:
    """Matrix from a frame's windowed Fourier spectrum to its modified discrete cosine transform (channels · hop, coefficients)."""
    time = torch.arange(2 * hop_samples, dtype=torch.float64) + 0.5 + hop_samples / 2
    bins = torch.arange(hop_samples, dtype=torch.float64)[:, None] + 0.5
    cosines = math.sqrt(2 / hop_samples) * (math.pi / hop_samples * bins * time).cos()
    return torch.block_diag(*[cosines @ fourier_basis(hop_samples).T] * channels)
