"""A codec without a neural network: quantized frames of a lapped transform. The primer's system; `fit` alone makes it.

    wav (batch, 1, samples)
     └─ MDCT ÷ deviation^whitening ─ DCT ─ z (batch, frames, dim) ─ quantizer ─ codes (batch, num_codes, frames)
                                           └─ z_q ─ inverse DCT · deviation^whitening ─ inverse MDCT ─ wav

Conventions:
    The hop is ``quantizer.dim`` samples, the window twice that (Vorbis power-complementary). The transform is orthonormal: with
    ``whitening=0`` the squared error of the coefficients is the squared error of the waveform. The DCT over the coefficients of a frame is
    a rotation: it changes nothing for VQ and RVQ, but lets each piece of a product quantizer carry all frequencies. Without it a codebook
    that pieces share has to serve strong low and weak high bands at once.

References:
    Princen & Bradley, "Analysis/synthesis filter bank design based on time domain aliasing cancellation" (1986).
"""

import math
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.constants import Constant
from vqkit.models.audio import padding
from vqkit.models.audio.rates import check_sample_rate
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.input_checks import check_floating
from vqkit.quantize import Quantizer
from vqkit.quantize.sampling import sample_rows
from vqkit.types import Bool, Float, Int, need

__all__ = ["FrameCodec"]

_transform = need("torch_mdct", "audio")


class FrameCodec(AudioTokenizer):
    """MDCT frames, each divided by the deviation of its coefficients, behind any quantizer.

    Args:
        quantizer: any; its ``dim`` is the hop in samples.
        sample_rate: sample rate of the waveforms, in Hz.
        whitening: 0 keeps the coefficients as they are (least waveform error), 1 gives all the same deviation (all frequencies count
            alike); in between trades one for the other.
        rotate: the DCT over the coefficients of a frame; without it the latent's dimensions are frequencies.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from vqkit import RVQ
        >>> codec = FrameCodec(RVQ(dim=120, codebook_size=16, num_quantizers=2), sample_rate=24000)
        >>> wave = torch.randn(1, 1, 24000)
        >>> codes = codec.fit([wave[0, 0]]).encode(wave)
        >>> codes.shape, codec.frame_rate, codec.rates_kbps, codec.decode(codes, samples=24000).shape
        (torch.Size([1, 2, 201]), 200.0, (0.8, 1.6), torch.Size([1, 1, 24000]))
    """

    deviation: Tensor

    def __init__(
        self, quantizer: Quantizer, *, sample_rate: int = 24000, whitening: float = 0.5, rotate: bool = True
    ) -> None:
        super().__init__()
        check_sample_rate(sample_rate)
        if not 0 <= whitening <= 1:
            raise ValueError(f"whitening must be in 0 … 1, got {whitening}")
        self.quantizer, self.sample_rate, self.whitening = quantizer, sample_rate, whitening
        self.hop_samples, self.channels = quantizer.dim, 1
        self._unit = 2 * math.sqrt(quantizer.dim)  # makes the library's transform orthonormal
        self.register_buffer("deviation", torch.ones(self.hop_samples))
        self._window = Constant(lambda: _transform.vorbis(2 * self.hop_samples))
        self._rotation = Constant(lambda: _dct(self.hop_samples) if rotate else torch.eye(self.hop_samples))

    @property
    def window(self) -> Float[Tensor, " window"]:
        """Window of a frame, of 2 · hop samples."""
        return self._window.on(self.deviation.device)

    @property
    def rotation(self) -> Float[Tensor, "dim dim"]:
        """Orthonormal map from whitened coefficients to the latent."""
        return self._rotation.on(self.deviation.device)

    @property
    def initialized(self) -> bool:  # type: ignore[override]
        """Whether the standard deviations of the coefficients have been measured or loaded."""
        return bool((self.deviation != 1).any())

    def samples_of(self, frames: int) -> int:
        """Return the number of samples that ``frames`` frames decode to: a sample lies in two frames."""
        return max(0, frames - 1) * self.hop_samples

    def touched(self, frames: Bool[Tensor, " frames"]) -> Bool[Tensor, " samples"]:
        """Mark the samples that depend on the marked frames: a frame reaches one hop back and one ahead."""
        return (frames[1:] | frames[:-1]).repeat_interleave(self.hop_samples)

    @torch.no_grad()
    def fit(
        self,
        waves: Iterable[Float[Tensor, " samples"]],
        *,
        max_frames: int = 1 << 17,
        iterations: int = 25,
        seed: int = 0,
    ) -> Self:
        """Measure the deviation of every coefficient and fit the quantizer to the frames.

        Args:
            waves: mono waveforms at `sample_rate`; of more than ``max_frames`` frames a uniform sample is kept.
            max_frames: most frames used.
            iterations: the same as in `Quantizer.fit`.
            seed: seed of the sample and of k-means.

        Returns:
            The codec itself, in evaluation mode.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            frames = sample_rows((self._coefficients(wave[None]).flatten(end_dim=-2) for wave in waves), max_frames)
        self.set_deviation(frames)
        self.quantizer.fit(
            frames / self._weight() @ self.rotation, iterations=iterations, seed=seed, max_vectors=max_frames
        )
        return self.eval()

    def set_deviation(self, coefficients: Float[Tensor, "frames dim"]) -> None:
        """Take the deviation of each coefficient (about zero) from frames."""
        power = coefficients.square().mean(dim=0)
        self.deviation.copy_(power.clamp_min(1e-8 * power.max().clamp_min(1e-12)).sqrt())

    @torch.no_grad()
    def initialize(self, wav: Float[Tensor, "batch 1 samples"]) -> None:
        """Measure the deviations on a training batch; errors as in `forward`."""
        self._checked(wav, None)
        self.set_deviation(self._coefficients(wav[:, 0]).flatten(end_dim=-2))

    def frame_mask(self, lengths: Int[Tensor, " batch"], frames: int) -> Bool[Tensor, "batch frames"]:
        """True where a frame touches real samples of its item."""
        real = torch.div(lengths + self.hop_samples - 1, self.hop_samples, rounding_mode="floor") + 1
        return torch.arange(frames, device=lengths.device) < real[:, None]

    def _analyzed(self, signal: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """⌈samples / hop⌉ + 1 frames of weighted coefficients, in float32."""
        lengths = self._checked(signal, lengths)
        z = self._coefficients(padding.silence_end(signal, lengths)[:, 0]) / self._weight() @ self.rotation
        return z, None if lengths is None else self.frame_mask(lengths.to(z.device), z.shape[1])

    def _synthesized(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """(frames − 1) · hop samples, in the codec's dtype."""
        z = z.to(self.deviation.device, torch.float32)
        coefficients = z @ self.rotation.T * self._weight() / self._unit
        wav = _transform.imdct(coefficients.transpose(1, 2), self.window)[:, None]
        return wav.to(self.deviation.dtype)

    def _decoded(self, codes: Tensor, size: int | None, mask: Tensor | None = None) -> Tensor:
        return super()._decoded(codes.to(self.deviation.device), size, mask)

    def _coefficients(self, wave: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        # padded here: the library's own centring adds a frame of zeros behind the last
        check_floating("wav", wave)
        wave = wave.to(self.deviation.device, torch.float32)
        padded = functional.pad(wave, (self.hop_samples, self.hop_samples - wave.shape[-1] % -self.hop_samples))
        return _transform.mdct(padded, self.window, center=False).transpose(1, 2) * self._unit

    def _weight(self) -> Tensor:
        # the least number above 0 of the buffer's dtype stands for what half precision rounded to 0
        info = torch.finfo(self.deviation.dtype)
        return self.deviation.float().clamp_min(info.smallest_normal * info.eps) ** self.whitening


def _dct(size: int) -> Float[Tensor, "size size"]:
    """Orthonormal DCT-II; its columns are the basis."""
    place = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (place[:, None] + 0.5) * place) * math.sqrt(2 / size)
    basis[:, 0] /= math.sqrt(2)
    return basis.float()
