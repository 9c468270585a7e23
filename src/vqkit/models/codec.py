"""A neural audio codec: EnCodec's encoder and decoder around any quantizer.

    wav (batch, channels, samples)
     └─ encoder ─ z (batch, frames, dim) ─ quantizer ─ codes (batch, num_codes, frames)
                                              └─ z_q ─ decoder ─ wav

References:
    Défossez et al., "High fidelity neural audio compression" (2022), arXiv:2210.13438; IVQ, section 4.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers.models.encodec.modeling_encodec import EncodecDecoder, EncodecEncoder

from vqkit.losses.ranks import mean_over_ranks
from vqkit.models import padding
from vqkit.models.encodec_checkpoint import codec_arguments, encodec_config, first_difference, read_encodec
from vqkit.models.hub import HubModel
from vqkit.models.rates import stage_rates_kbps, stages_within
from vqkit.nn import scale_convolutions
from vqkit.quantize import Quantizer
from vqkit.types import Bool, Float, Int, Quantized

__all__ = ["AudioCodec", "CodecOutput"]


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


class AudioCodec(HubModel):
    """Encoder, quantizer, decoder.

    In evaluation ``decode(encode(wav))`` equals ``forward(wav).wav`` bit for bit. (No gradient is then computed, unless wav asks for one:
    PyTorch's LSTM rounds differently with gradients on.) Items padded to one length: in evaluation those of different numbers of frames
    run one by one, so each equals itself alone bit for bit, whatever the configuration; those of one number of frames run together and
    equal themselves alone within float rounding. In training all run together and the quantizer sees the real frames only; behind an
    item the convolutions see zeros, which a causal weight-norm codec never lets into its real samples, save by the reflected start of
    items shorter than a kernel.

    Args:
        quantizer: any; its ``dim`` is the width of the latent.
        sample_rate: of the waveforms, in Hz.
        channels: of the waveforms, 1 or 2.
        num_filters: channels of the first convolution; they double at each stride.
        strides: of the encoder's blocks, from the waveform on; their product is `hop_samples`.
        num_lstm_layers: LSTM layers in the encoder and in the decoder.
        causal: convolutions that see no future.
        norm: ``"weight_norm"`` or ``"time_group_norm"``.
        layers: further arguments of ``transformers.EncodecConfig`` about its layers, such as ``{"num_residual_layers": 3}``.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from vqkit import RVQ
        >>> codec = AudioCodec(RVQ(dim=12, codebook_size=64, num_quantizers=4), sample_rate=16000, num_filters=4).eval()
        >>> wav = torch.randn(1, 1, 16000)
        >>> codes = codec.encode(wav, kbps=0.6)
        >>> codes.shape, codec.frame_rate, codec.rates_kbps, codec.decode(codes, samples=16000).shape
        (torch.Size([1, 2, 50]), 50.0, (0.3, 0.6, 0.9, 1.2), torch.Size([1, 1, 16000]))
    """

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        sample_rate: int = 24000,
        channels: int = 1,
        num_filters: int = 32,
        strides: Sequence[int] = (2, 4, 5, 8),
        num_lstm_layers: int = 2,
        causal: bool = True,
        norm: str = "weight_norm",
        layers: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encodec = encodec_config(
            hidden_size=quantizer.dim,
            sample_rate=sample_rate,
            channels=channels,
            num_filters=num_filters,
            strides=strides,
            num_lstm_layers=num_lstm_layers,
            causal=causal,
            norm=norm,
            layers=layers or {},
        )
        self.sample_rate, self.channels = sample_rate, channels
        self.hop_samples = math.prod(strides)
        self.encoder = EncodecEncoder(self.encodec)
        self.quantizer = quantizer
        self.decoder = EncodecDecoder(self.encodec)
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(False))

    @classmethod
    def from_encodec(cls, name: str | Path, quantizer: Quantizer) -> Self:
        """Give a published EnCodec checkpoint's encoder and decoder another quantizer.

        Args:
            name: a folder saved by ``transformers.EncodecModel.save_pretrained``, or its name on the hub, such as
                ``"facebook/encodec_24khz"``; safetensors only.
            quantizer: its ``dim`` is the checkpoint's ``hidden_size``.

        Returns:
            The codec in evaluation mode. A checkpoint's loudness normalisation and chunks are not carried over: a warning says so.

        Raises:
            ValueError: not such a checkpoint, or the quantizer has another dim.
        """
        config, encoder, decoder = read_encodec(name)
        if config.hidden_size != quantizer.dim:
            raise ValueError(f"the latents of {name} have dim {config.hidden_size}, the quantizer has {quantizer.dim}")
        dropped = [f"{key}={getattr(config, key)}" for key in ("normalize", "chunk_length_s") if getattr(config, key)]
        if dropped:
            warnings.warn(
                f"not carried over from {name}: {', '.join(dropped)} (whole clips are coded as they are)", stacklevel=2
            )
        codec = cls(quantizer, **codec_arguments(config))
        return codec._with_weights(encoder, decoder).eval()

    def load_encodec_weights(self, name: str | Path) -> Self:
        """Load the encoder and decoder of a published EnCodec checkpoint of the same shape; the quantizer stays as it is.

        Raises:
            ValueError: not such a checkpoint, or its layers differ from this codec's.
        """
        config, encoder, decoder = read_encodec(name)
        difference = first_difference(self.encodec, config)
        if difference:
            raise ValueError(f"{name} has other layers than this codec; {difference} there")
        return self._with_weights(encoder, decoder)

    def _with_weights(self, encoder: EncodecEncoder, decoder: EncodecDecoder) -> Self:
        self.encoder.load_state_dict(encoder.state_dict())
        self.decoder.load_state_dict(decoder.state_dict())
        self.initialized.fill_(True)
        return self

    @torch.no_grad()
    def initialize(self, wav: Float[Tensor, "batch channels samples"]) -> None:
        """Scale an untrained codec's layers on a batch, so that the signal neither fades nor swells from wav to wav.

        Every convolution then has outputs of standard deviation one, the last one that of wav. Training calls it at its first step,
        unless the codec has `initialized` set, as a loaded one has. All ranks scale alike.

        Args:
            wav: a training batch.

        Raises:
            ValueError: as in `forward`, or the batch is silent.
        """
        self._checked(wav, None)
        found: list[Tensor] = []
        scale_convolutions(self.encoder, lambda: found.append(self.encoder(wav)), mean_over_ranks)
        scale_convolutions(self.decoder, lambda: self.decoder(found[-1]), mean_over_ranks)
        last: Any = self.decoder.layers[-1]
        grouped = self.encodec.norm_type == "time_group_norm"
        gain = last.norm.weight if grouped else last.conv.parametrizations.weight.original0
        gain.mul_(mean_over_ranks(wav.float().square().mean()).sqrt())
        self.initialized.fill_(True)

    @torch.no_grad()
    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: what the codec does without quantizer stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, not orthonormal, or ``norm="time_group_norm"``, which scales the latent's channels by themselves.
        """
        dim = self.quantizer.dim
        if rotation.shape != (dim, dim) or (rotation @ rotation.T - torch.eye(dim).to(rotation)).abs().max() > 1e-3:
            raise ValueError(f"rotation must be orthonormal and ({dim}, {dim}), got shape {tuple(rotation.shape)}")
        if self.encodec.norm_type != "weight_norm":
            raise ValueError(
                f"only the latent of a weight_norm codec can be rotated, this one has {self.encodec.norm_type}"
            )
        last: Any = self.encoder.layers[-1]
        first: Any = self.decoder.layers[0]
        last.conv.weight = torch.einsum("ick,io->ock", last.conv.weight, rotation)
        last.conv.bias.copy_(last.conv.bias @ rotation)
        first.conv.weight = torch.einsum("cik,io->cok", first.conv.weight, rotation)

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
