"""What every neural audio codec does, whatever its encoder and decoder are made of.

wav (batch, channels, samples)
 └─ encoder ─ z (batch, frames, dim) ─ quantizer ─ codes (batch, num_codes, frames)
                                          └─ z_q ─ decoder ─ wav
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from vqkit.bitstream import EntropyModel
from vqkit.models import compression, padding
from vqkit.models.hub import HubModel
from vqkit.models.input_checks import check_wav_scale, check_wav_shape, home
from vqkit.models.prior_file import PRIOR_FILE, read_prior, save_prior
from vqkit.models.rates import stage_rates_kbps, stages_within
from vqkit.models.reconstruction import Reconstruction
from vqkit.models.streaming import CodecStream
from vqkit.nn.streaming_layer import Chain
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["CodecOutput", "WaveformCodec"]


CodecOutput = Reconstruction
"""The name that `Reconstruction` had here."""


class WaveformCodec(HubModel):
    """Encoder, quantizer, decoder; abstract. A subclass makes them in its constructor, and overrides what says so.

    Waveforms and codes may be of any floating or integer dtype and on any device: they move to the codec's. Waveforms come back on its
    device and in the dtype of its weights.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        channels: of the waveforms.
        hop_samples: samples a frame.
        encoder: waveforms (batch, channels, samples) → latents (batch, dim, ⌈samples / hop⌉).
        quantizer: of the latents.
        decoder: latents (batch, dim, frames) → waveforms of frames · hop samples.
        initialized: whether `initialize` has run, or weights were loaded.
        prior: probabilities of the codes, which make files smaller than plain bits; None without. `vqkit.models.prior` and
            ``vqkit fit-prior`` fit it; it is saved beside the weights as ``prior.vqe``.
    """

    sample_rate: int
    channels: int
    hop_samples: int
    encoder: nn.Module
    quantizer: Quantizer
    decoder: nn.Module
    initialized: Tensor | bool
    prior: EntropyModel | None = None
    saved_as = "codec"

    _beside: ClassVar[tuple[str, ...]] = (PRIOR_FILE,)

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
    ) -> Reconstruction:
        """Encode, quantize and decode; in training mode the quantizer learns.

        Args:
            wav: waveforms at `sample_rate`.
            lengths: samples of each item, where items were padded at the end.

        Returns:
            `Reconstruction`: waveforms of as many samples as given.

        Raises:
            TypeError: wav is not floating, or lengths are not integers.
            ValueError: wrong channels, an empty waveform, or lengths out of range.
        """
        wav, lengths = self._taken(wav, lengths)
        mask = None if lengths is None else padding.frame_mask(lengths, wav.shape[-1], self.hop_samples)
        with torch.set_grad_enabled(torch.is_grad_enabled() and (self.training or wav.requires_grad)):
            latent = padding.encode_padded(self.encoder, wav, lengths, self.hop_samples, together=self.training)
            quantized = self.quantizer(latent, mask)
            decoded = self._decoded(quantized.z_q, mask)
            return Reconstruction(padding.silence_end(decoded[..., : wav.shape[-1]], lengths), latent, quantized, mask)

    def autoencode(self, wav: Float[Tensor, "batch channels samples"]) -> Reconstruction:
        """Encode and decode without the quantizer, with gradients: what training starts from, and what no quantizer can beat.

        Args:
            wav: waveforms at `sample_rate`.

        Returns:
            `Reconstruction`, of which ``quantized`` is None; errors as in `forward`.
        """
        wav, _ = self._taken(wav)
        latent = padding.encode_padded(self.encoder, wav, None, self.hop_samples, together=self.training)
        return Reconstruction(self._decoded(latent)[..., : wav.shape[-1]], latent)

    @torch.no_grad()
    def analyze(self, wav: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch frames dim"]:
        """The latents of waveforms, as the quantizer gets them; errors as in `forward`."""
        wav, _ = self._taken(wav)
        return padding.encode_padded(self.encoder, wav, None, self.hop_samples, together=self.training)

    @torch.no_grad()
    def synthesize(
        self, z: Float[Tensor, "batch frames dim"], samples: int | None = None
    ) -> Float[Tensor, "batch channels samples"]:
        """The waveforms of latents; ``samples`` and errors as in `decode`."""
        return self._cut(self._decoded(z), samples)

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
            ValueError: as in `forward`, NaN, Inf or samples far outside −1 … 1, or kbps below the first stage.
        """
        lengths = self._checked(wav, lengths)
        check_wav_scale("wav", padding.silence_end(wav, lengths))
        stages = None if kbps is None else stages_within(self.rates_kbps, kbps)
        wav, lengths = padding.resample_padded(wav, lengths, sample_rate or self.sample_rate, self.sample_rate)
        wav, lengths = self._moved(wav, lengths)
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
        codes = codes.to(home(self.decoder).device)
        z_q = self.quantizer.decode(codes.transpose(1, 2))
        return self._cut(self._decoded(z_q, padding.real_frames(codes)), samples)

    def compress(
        self,
        wav: Float[Tensor, "channels samples"],
        sample_rate: int,
        kbps: float | None = None,
        *,
        plain: bool = False,
    ) -> bytes:
        """The bytes of a ``.vqk`` file, coded with the `prior` if there is one.

        Args:
            wav: waveform, in about −1 … 1, on any device; resampled, mixed to mono or doubled to stereo as the codec needs.
            sample_rate: of wav, in Hz.
            kbps: keep as many stages as fit into this rate; all by default.
            plain: plain bits although there is a prior.

        Returns:
            A file that `decompress` of the same weights and prior reads, and `vqkit.bitstream` without the weights.

        Raises:
            TypeError: wav is not floating.
            ValueError: wav has another shape, NaN, Inf or samples far outside −1 … 1, a sample rate below 1 Hz, or kbps is below the
                first stage.
        """
        return compression.compress(self, wav, sample_rate, kbps, plain)

    def decompress(self, data: bytes) -> tuple[Float[Tensor, "channels samples"], int]:
        """The waveform of a ``.vqk`` file, float32 on the CPU, and its sample rate in Hz.

        What is damaged is silent, and named in a warning; the rest is not touched by it.

        Args:
            data: the whole file, or what there is of it.

        Raises:
            BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights or
                another prior.
        """
        return compression.decompress(self, data)

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        save_prior(save_directory, self.prior)

    def _read_beside(self, folder: Path) -> None:
        self.prior = read_prior(folder, self.quantizer.code_sizes)

    # --- training's start; a subclass overrides them

    def initialize(self, wav: Float[Tensor, "batch channels samples"]) -> None:
        """Fit what can be fitted to a first training batch without gradients; training calls it unless `initialized` is set.

        Raises:
            ValueError: as in `forward`, or the batch is silent.
        """
        raise ValueError(f"{type(self).__name__} has nothing to fit to a first batch")

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can turn the latent."""
        return False

    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: what the codec does without quantizer stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, not orthonormal, or not `rotatable`.
        """
        raise ValueError(f"the latent of a {type(self).__name__} cannot be rotated")

    # --- streaming

    def streaming(
        self, kbps: float | None = None, *, block_frames: int = 1, sample_rate: int | None = None
    ) -> CodecStream:
        """Encode and decode a signal that comes in blocks of any sizes, in constant memory; use it in a ``with``.

        Args:
            kbps: keep as many stages as fit into this rate; all by default.
            block_frames: frames that the network takes at once: 1 for the least latency, about a second of them for speed.
            sample_rate: of the blocks, in Hz; only the codec's is taken.

        Returns:
            `CodecStream`: one signal's state. Several streams do not touch each other.

        Raises:
            ValueError: layers that need the whole signal, kbps below the first stage, block_frames below 1, or another sample rate.
        """
        return CodecStream(self, kbps=kbps, block_frames=block_frames, sample_rate=sample_rate)

    def streaming_encoder(self) -> Chain:
        """The encoder in blocks, at the start of a signal, with the weights of now; a subclass overrides it.

        Raises:
            ValueError: its layers need the whole signal.
        """
        raise ValueError(f"{type(self).__name__} cannot be streamed; encode and decode take whole clips")

    def streaming_decoder(self) -> Chain:
        """The decoder in blocks; as `streaming_encoder`."""
        raise ValueError(f"{type(self).__name__} cannot be streamed; encode and decode take whole clips")

    # --- inside

    def _cut(self, wav: Tensor, samples: int | None) -> Tensor:
        if samples is not None and not 1 <= samples <= wav.shape[-1]:
            raise ValueError(f"samples must be in 1 … {wav.shape[-1]}, got {samples}")
        return wav[..., :samples]

    def _decoded(self, z: Tensor, mask: Tensor | None = None) -> Tensor:
        z = z.to(home(self.decoder))
        return padding.decode_padded(self.decoder, z, mask, self.hop_samples, together=self.training)

    def _taken(self, wav: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self._moved(wav, self._checked(wav, lengths))

    def _moved(self, wav: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        wav = wav.to(home(self.encoder))
        return wav, None if lengths is None else lengths.to(wav.device)

    def _checked(self, wav: Tensor, lengths: Tensor | None) -> Tensor | None:
        check_wav_shape(wav, self.channels)
        return padding.check_lengths(wav, lengths)
