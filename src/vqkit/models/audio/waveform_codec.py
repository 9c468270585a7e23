"""Base class of the neural audio codecs, independent of the networks that are their encoder and decoder.

wav (batch, channels, samples)
└─ encoder ─ z (batch, frames, dim) ─ quantizer ─ codes (batch, num_codes, frames)
└─ z_q ─ decoder ─ wav
"""

from torch import Tensor, nn

from vqkit.models.audio import padding
from vqkit.models.audio.streaming import CodecStream
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.input_checks import home
from vqkit.models.reconstruction import Reconstruction
from vqkit.nn.streaming_layer import Chain
from vqkit.types import Float

__all__ = ["CodecOutput", "WaveformCodec"]


CodecOutput = Reconstruction
"""The name that `Reconstruction` had here."""


class WaveformCodec(AudioTokenizer):
    """Encoder, quantizer, decoder; abstract. A subclass makes them in its constructor, and overrides what it can do besides.

    Attributes:
        encoder: waveforms (batch, channels, samples) → latents (batch, dim, ⌈samples / hop⌉).
        decoder: latents (batch, dim, frames) → waveforms of frames · hop samples.
    """

    encoder: nn.Module
    decoder: nn.Module

    # --- streaming

    def streaming(
        self,
        kbps: float | None = None,
        *,
        block_frames: int = 1,
        sample_rate: int | None = None,
        rate_weight: float | None = None,
    ) -> CodecStream:
        """Encode and decode a signal that comes in blocks of any sizes, in constant memory; use it in a ``with``.

        Args:
            kbps: keep as many stages as fit into this rate; all by default.
            block_frames: frames that the network takes at once: 1 for the least latency, about a second of them for speed.
            sample_rate: sample rate of the blocks, in Hz; only the codec's is taken.
            rate_weight: λ; every frame keeps only the stages that are worth their bits, as in `encode`.

        Returns:
            `CodecStream`: one signal's state. Several streams do not touch each other.

        Raises:
            ValueError: layers that need the whole signal, kbps below the first stage, block_frames below 1, or another sample rate.
        """
        return CodecStream(self, kbps=kbps, block_frames=block_frames, sample_rate=sample_rate, rate_weight=rate_weight)

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

    def _analyzed(
        self, signal: Float[Tensor, "batch channels samples"], lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        lengths = self._checked(signal, lengths)
        signal = signal.to(home(self.encoder))
        mask = None
        if lengths is not None:
            lengths = lengths.to(signal.device)
            mask = padding.frame_mask(lengths, signal.shape[-1], self.hop_samples)
        return padding.encode_padded(self.encoder, signal, lengths, self.hop_samples, together=self.training), mask

    def _synthesized(self, z: Float[Tensor, "batch frames dim"], mask: Tensor | None) -> Tensor:
        z = z.to(home(self.decoder))
        return padding.decode_padded(self.decoder, z, mask, self.hop_samples, together=self.training)

    def _decoded(self, codes: Tensor, size: int | None, mask: Tensor | None = None) -> Tensor:
        return super()._decoded(codes.to(home(self.decoder).device), size, mask)

    def _taken(self, wav: Tensor) -> Tensor:
        """A training batch on the codec's device and in its dtype."""
        self._checked(wav, None)
        return wav.to(home(self.encoder))
