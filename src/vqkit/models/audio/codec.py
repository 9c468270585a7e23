"""A neural audio codec: EnCodec's encoder and decoder around any quantizer.

References:
    Défossez et al., "High fidelity neural audio compression" (2022), arXiv:2210.13438; IVQ, section 4.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers.models.encodec.modeling_encodec import EncodecDecoder, EncodecEncoder

from vqkit.models.audio.encodec_layers import with_plain_numbers
from vqkit.models.audio.encodec_stream import check_streamable, streaming_network
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.audio.waveform_codec import CodecOutput, WaveformCodec
from vqkit.models.loading import load_codec
from vqkit.models.peers.encodec_checkpoint import codec_arguments, encodec_config, first_difference, read_encodec
from vqkit.nn import scale_convolutions
from vqkit.nn.streaming_layer import Chain
from vqkit.nn.turned_layers import check_rotation, turned
from vqkit.quantize import Quantizer
from vqkit.ranks import mean_over_ranks
from vqkit.types import Float

__all__ = ["AudioCodec", "CodecOutput"]


class AudioCodec(WaveformCodec):
    """Encoder, quantizer, decoder.

    In evaluation ``decode(encode(wav))`` equals ``forward(wav).wav`` bit for bit. (No gradient is then computed, unless wav asks for one:
    PyTorch's LSTM rounds differently with gradients on.) Items padded to one length: in evaluation those of different numbers of frames
    run one by one, so each equals itself alone bit for bit, whatever the configuration; those of one number of frames run together and
    equal themselves alone within float rounding. In training all run together and the quantizer sees the real frames only; behind an
    item the convolutions see zeros, which a causal weight-norm codec never lets into its real samples, save by the reflected start of
    items shorter than a kernel.

    Args:
        quantizer: any; its ``dim`` is the width of the latent.
        sample_rate: sample rate of the waveforms, in Hz.
        channels: number of channels of the waveforms, 1 or 2.
        num_filters: channels of the first convolution; they double at each stride.
        strides: strides of the encoder's blocks, from the waveform on; their product is `hop_samples`.
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

    encoder: EncodecEncoder
    decoder: EncodecDecoder

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
        self.encoder = with_plain_numbers(EncodecEncoder(self.encodec))
        self.quantizer = quantizer
        self.decoder = with_plain_numbers(EncodecDecoder(self.encodec))
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(False))

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, **options: Any) -> AudioTokenizer:  # type: ignore[override]
        """Read a saved codec, of whatever kind its config names; without a name the codec that ships with vqkit.

        Args:
            name: a folder of ``save_pretrained``, or a name on the hub, ``"owner/model"``.
            options: the same as in `HubModel.from_pretrained`: ``revision``, ``cache_dir``, ``token``, ``local_files_only``.

        Returns:
            The codec in evaluation mode: an `AudioCodec`, a `SpectralCodec` (which the shipped one is) or another.

        Raises:
            ValueError: not a saved codec, or weights that do not fit its config.
        """
        return load_codec(name, **options)

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
        wav = self._taken(wav)
        found: list[Tensor] = []
        scale_convolutions(self.encoder, lambda: found.append(self.encoder(wav)), mean_over_ranks)
        scale_convolutions(self.decoder, lambda: self.decoder(found[-1]), mean_over_ranks)
        last: Any = self.decoder.layers[-1]
        grouped = self.encodec.norm_type == "time_group_norm"
        gain = last.norm.weight if grouped else last.conv.parametrizations.weight.original0
        gain.mul_(mean_over_ranks(wav.float().square().mean()).sqrt())
        self.initialized.fill_(True)

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last convolution, or its direction where that is what is trained."""
        last: Any = self.decoder.layers[-1]
        weight: Tensor = last.conv.parametrizations.weight.original1 if self.rotatable else last.conv.weight
        return weight

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can rotate the latent; not with group norm, which scales its channels separately."""
        return self.encodec.norm_type == "weight_norm"

    @torch.no_grad()
    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: what the codec does without quantizer stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, not orthonormal, or ``norm="time_group_norm"``, which scales the latent's channels by themselves.
        """
        check_rotation(rotation, self.quantizer.dim)
        if not self.rotatable:
            raise ValueError(
                f"only the latent of a weight_norm codec can be rotated, this one has {self.encodec.norm_type}"
            )
        last: Any = self.encoder.layers[-1]
        first: Any = self.decoder.layers[0]
        _write_weight(last.conv, turned("ick,io->ock", last.conv.weight, rotation))
        last.conv.bias.copy_(turned("i,io->o", last.conv.bias, rotation))
        _write_weight(first.conv, turned("cik,io->cok", first.conv.weight, rotation))

    def streaming_encoder(self) -> Chain:
        """The encoder in blocks, at the start of a signal, with the weights of now.

        Raises:
            ValueError: ``norm="time_group_norm"``, or a padding that needs the end of the signal at its start.
        """
        check_streamable(self.encodec)
        return streaming_network(self.encoder)

    def streaming_decoder(self) -> Chain:
        """The decoder in blocks; as `streaming_encoder`."""
        check_streamable(self.encodec)
        return streaming_network(self.decoder)


def _write_weight(layer: Any, weight: Tensor) -> None:
    """Set a weight-normed layer's weight within its parameters.

    ``layer.weight = …`` gives them new storage instead, which DDP does not watch: no gradient would be averaged over ranks any more.
    """
    parameters = layer.parametrizations.weight
    for own, value in zip(
        (parameters.original0, parameters.original1), parameters[0].right_inverse(weight), strict=True
    ):
        own.copy_(value)
