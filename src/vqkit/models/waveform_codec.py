"""What every neural audio codec does, whatever its encoder and decoder are made of.

wav (batch, channels, samples)
 └─ encoder ─ z (batch, frames, dim) ─ quantizer ─ codes (batch, num_codes, frames)
                                          └─ z_q ─ decoder ─ wav
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqkit.models import compression, padding
from vqkit.models.hub import HubModel
from vqkit.models.rates import stage_rates_kbps, stages_within
from vqkit.quantize import Quantizer
from vqkit.types import Bool, Float, Int, Quantized

__all__ = ["CodecOutput", "WaveformCodec"]


@dataclass(frozen=True)
class CodecOutput:
    """What the codec makes of a waveform.

    Attributes:
        wav: reconstruction, as many samples as the input; zeros after the end of each item.
        latent: what the quantizer was given, ``(batch, frames, dim)``.
        quantized: the quantizer's result; codes ``(batch, frames, num_codes)``, and the losses.
        mask: ``(batch, frames)``, True where a frame is real; None when all are.
    """

    wav: Float[Tensor, "batch channels samples"]
    latent: Float[Tensor, "batch frames dim"]
    quantized: Quantized
    mask: Bool[Tensor, "batch frames"] | None


class WaveformCodec(HubModel):
    """Encoder, quantizer, decoder; abstract. A subclass makes them in its constructor.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        channels: of the waveforms.
        hop_samples: samples a frame.
        encoder: waveforms (batch, channels, samples) → latents (batch, dim, ⌈samples / hop⌉).
        quantizer: of the latents.
        decoder: latents (batch, dim, frames) → waveforms of frames · hop samples.
    """

    sample_rate: int
    channels: int
    hop_samples: int
    encoder: nn.Module
    quantizer: Quantizer
    decoder: nn.Module

    # --- rates

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_samples

    @property
    def rates_kbps(self) -> tuple[float, ...]:
        """Bitrates that `encode` can keep to, before entropy coding: of the first stage, of the first two and so on."""
        return stage_rates_kbps(self.quantizer, self.frame_rate)

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Bitrate of the first so many stages, all by default."""
        return self.rates_kbps[-1 if stages is None else stages - 1]

    # --- coding

    def forward(
        self, wav: Float[Tensor, "batch channels samples"], lengths: Int[Tensor, " batch"] | None = None
    ) -> CodecOutput:
        """Encode, quantize and decode; in training mode the quantizer learns.

        Args:
            wav: waveforms at `sample_rate`.
            lengths: samples of each item, where items were padded at the end.

        Returns:
            `CodecOutput`.

        Raises:
            TypeError: wav is not floating, or lengths are not integers.
            ValueError: wrong channels, an empty waveform, or lengths out of range.
        """
        lengths = self._checked(wav, lengths)
        mask = None if lengths is None else padding.frame_mask(lengths, wav.shape[-1], self.hop_samples)
        with torch.set_grad_enabled(torch.is_grad_enabled() and (self.training or wav.requires_grad)):
            latent = padding.encode_padded(self.encoder, wav, lengths, self.hop_samples, together=self.training)
            quantized = self.quantizer(latent, mask)
            decoded = padding.decode_padded(self.decoder, quantized.z_q, mask, self.hop_samples, together=self.training)
            return CodecOutput(padding.silence_end(decoded[..., : wav.shape[-1]], lengths), latent, quantized, mask)

    def autoencode(
        self, wav: Float[Tensor, "batch channels samples"]
    ) -> tuple[Float[Tensor, "batch channels samples"], Float[Tensor, "batch frames dim"]]:
        """Encode and decode without the quantizer, with gradients: what training starts from, and what no quantizer can beat.

        Args:
            wav: waveforms at `sample_rate`.

        Returns:
            Reconstruction, and the latent it was decoded from; errors as in `forward`.
        """
        self._checked(wav, None)
        latent = padding.encode_padded(self.encoder, wav, None, self.hop_samples, together=self.training)
        decoded = padding.decode_padded(self.decoder, latent, None, self.hop_samples, together=self.training)
        return decoded[..., : wav.shape[-1]], latent

    @torch.no_grad()
    def analyze(self, wav: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch frames dim"]:
        """The latents of waveforms, as the quantizer gets them; errors as in `forward`."""
        self._checked(wav, None)
        return padding.encode_padded(self.encoder, wav, None, self.hop_samples, together=self.training)

    @torch.no_grad()
    def synthesize(
        self, z: Float[Tensor, "batch frames dim"], samples: int | None = None
    ) -> Float[Tensor, "batch channels samples"]:
        """The waveforms of latents; ``samples`` and errors as in `decode`."""
        return self._cut(
            padding.decode_padded(self.decoder, z, None, self.hop_samples, together=self.training), samples
        )

    @torch.no_grad()
    def encode(
        self,
        wav: Float[Tensor, "batch channels samples"],
        kbps: float | None = None,
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        sample_rate: int | None = None,
    ) -> Int[Tensor, "batch num_codes frames"]:
        """Codes of waveforms.

        Args:
            wav: waveforms.
            kbps: keep as many stages as fit into this rate; all by default.
            lengths: samples of each item, where items were padded at the end; frames after it have code −1.
            sample_rate: of wav, in Hz, if it is not the codec's: wav is then resampled.

        Returns:
            int64 codes; the first stages come first.

        Raises:
            TypeError: wav is not floating, or lengths are not integers.
            ValueError: as in `forward`, or kbps below the first stage.
        """
        stages = None if kbps is None else stages_within(self.rates_kbps, kbps)
        wav, lengths = padding.resample_padded(
            wav, self._checked(wav, lengths), sample_rate or self.sample_rate, self.sample_rate
        )
        mask = None if lengths is None else padding.frame_mask(lengths, wav.shape[-1], self.hop_samples)
        latent = padding.encode_padded(self.encoder, wav, lengths, self.hop_samples, together=self.training)
        codes = self.quantizer.encode(latent, mask)
        return codes[..., : sum(self.quantizer.codes_per_stage[:stages])].transpose(1, 2)

    @torch.no_grad()
    def decode(
        self, codes: Int[Tensor, "batch num_codes frames"], samples: int | None = None
    ) -> Float[Tensor, "batch channels samples"]:
        """Waveforms of codes.

        Args:
            codes: of all stages or of the first ones; −1 after the end of an item.
            samples: length of the result, at most frames · hop; all of them by default.

        Returns:
            Waveforms at `sample_rate`.

        Raises:
            TypeError: codes are not integers.
            ValueError: codes of the wrong shape or out of range, or more samples than the frames hold.
        """
        if codes.ndim != 3 or codes.shape[-1] == 0:
            raise ValueError(f"codes must be (batch, num_codes, frames), got shape {tuple(codes.shape)}")
        z_q = self.quantizer.decode(codes.transpose(1, 2)).to(next(self.decoder.parameters()).dtype)
        return self._cut(
            padding.decode_padded(self.decoder, z_q, padding.real_frames(codes), self.hop_samples, self.training),
            samples,
        )

    def compress(self, wav: Float[Tensor, "channels samples"], sample_rate: int, kbps: float | None = None) -> bytes:
        """The bytes of a ``.vqk`` file.

        Args:
            wav: waveform; resampled, mixed to mono or doubled to stereo as the codec needs.
            sample_rate: of wav, in Hz.
            kbps: keep as many stages as fit into this rate; all by default.

        Returns:
            A file that `decompress` of the same weights reads, and `vqkit.bitstream` without them.

        Raises:
            TypeError: wav is not floating.
            ValueError: wav has another shape, a sample rate below 1 Hz, or kbps is below the first stage.
        """
        return compression.compress(self, wav, sample_rate, kbps)

    def decompress(self, data: bytes) -> tuple[Float[Tensor, "channels samples"], int]:
        """The waveform of a ``.vqk`` file, and its sample rate in Hz.

        What is damaged is silent, and named in a warning; the rest is not touched by it.

        Args:
            data: the whole file, or what there is of it.

        Raises:
            BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights.
        """
        return compression.decompress(self, data)

    def _cut(self, wav: Tensor, samples: int | None) -> Tensor:
        if samples is not None and not 1 <= samples <= wav.shape[-1]:
            raise ValueError(f"samples must be in 1 … {wav.shape[-1]}, got {samples}")
        return wav[..., :samples]

    def _checked(self, wav: Tensor, lengths: Tensor | None) -> Tensor | None:
        if not wav.is_floating_point():
            raise TypeError(f"wav must be floating, got {wav.dtype}")
        if wav.ndim != 3 or wav.shape[1] != self.channels or 0 in wav.shape:
            raise ValueError(f"wav must be (batch, {self.channels} channels, samples), got shape {tuple(wav.shape)}")
        return padding.check_lengths(wav, lengths)
