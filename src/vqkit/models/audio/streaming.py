"""A codec on a signal that comes in blocks: live, or longer than memory.

    blocks of samples ─ wait for block_frames · hop ─ encoder ─ wait for neighbours ─ quantizer ─ codes
    blocks of codes ─── wait for block_frames ─ quantizer ─ decoder ─ samples

Every layer keeps the few samples of its past that it still needs and the LSTM its state, so nothing is computed twice and memory does
not grow. The network always sees ``block_frames`` frames at once: PyTorch picks convolution kernels by size, and they round differently.
"""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from vqkit.models.audio.pieces import Pieces
from vqkit.models.audio.streaming_quantizer import StreamingQuantizer
from vqkit.models.input_checks import check_wav_shape, home
from vqkit.models.layout import channels_first
from vqkit.nn.streaming_layer import Chain
from vqkit.quantize import Quantizer
from vqkit.quantize.checks import positive
from vqkit.scale import check_wav_scale
from vqkit.types import Float, Int

__all__ = ["CodecStream"]


class _Streamed(Protocol):
    """Interface of `WaveformCodec` that a stream relies on."""

    sample_rate: int
    channels: int
    hop_samples: int
    quantizer: Quantizer
    encoder: nn.Module

    def stages_within(self, kbps: float) -> int: ...

    def streaming_encoder(self) -> Chain: ...

    def streaming_decoder(self) -> Chain: ...


class CodecStream:
    """Block-wise encoding and decoding of one signal; ``codec.streaming()`` makes it.

    Encoding and decoding are independent: a stream can do either or both. Several streams of one codec do not touch each other. The
    codec's weights have to stay as they are while a signal lasts. After `finish_encoding` or `finish_decoding` that side begins anew.

    Guarantee: the codes and the waveform do not depend, bit for bit, on how the signal was cut into blocks. Against the codec's
    `encode` of the full signal, the latents differ by float rounding only, so codes are equal but where two lie equally near within that
    rounding; the waveform of the same codes differs by float rounding.

    Args:
        codec: causal or not; an `AudioCodec` with ``norm="weight_norm"``.
        kbps: keep as many stages as fit into this rate; all by default.
        block_frames: frames that the network takes at once: 1 for the least latency, about a second of them for speed.
        sample_rate: sample rate of the blocks, in Hz, where the caller wants it checked.
        rate_weight: λ; every frame keeps only the stages that are worth their bits, and its later codes are −1.

    Raises:
        ValueError: a codec that cannot be streamed, kbps below the first stage, block_frames below 1, or another sample rate.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import AudioCodec
        >>> codec = AudioCodec(RVQ(12, 64, 4), sample_rate=16000, num_filters=4).eval()
        >>> wav = torch.randn(1, 1, 16000)
        >>> with codec.streaming() as stream:
        ...     codes = torch.cat(list(stream.encode_blocks(wav.split(999, dim=-1))), dim=-1)
        ...     decoded = torch.cat(list(stream.decode_blocks(codes.split(7, dim=-1), samples=16000)), dim=-1)
        >>> codes.shape, decoded.shape, stream.latency_samples
        (torch.Size([1, 4, 50]), torch.Size([1, 1, 16000]), 320)
    """

    def __init__(
        self,
        codec: _Streamed,
        *,
        kbps: float | None = None,
        block_frames: int = 1,
        sample_rate: int | None = None,
        rate_weight: float | None = None,
    ) -> None:
        positive("block_frames", block_frames)
        if sample_rate not in (None, codec.sample_rate):
            raise ValueError(
                f"a stream takes the codec's sample_rate, {codec.sample_rate} Hz, got {sample_rate}; resample first"
            )
        stages = codec.quantizer.num_stages if kbps is None else codec.stages_within(kbps)
        codec.streaming_encoder()  # raises where there is none
        self._codec, self._block_frames, self._rate_weight = codec, block_frames, rate_weight
        self._num_codes = codec.quantizer.stage_ends[stages - 1]
        self._closed = False
        self._start_encoding()
        self._start_decoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discard unfinished signals and refuse all further input."""
        self._start_encoding()
        self._start_decoding()
        self._closed = True

    # --- encoding

    @torch.no_grad()
    def encode(self, wav: Float[Tensor, "batch channels samples"]) -> Int[Tensor, "batch num_codes frames"]:
        """Take the next samples of the signal.

        Args:
            wav: any number of samples, also none; the same batch at each call. They move to the codec's device and dtype.

        Returns:
            The codes of all whole frames that are now determined, perhaps none.

        Raises:
            TypeError: wav is not floating.
            ValueError: wrong shape, another batch than before, NaN, Inf or samples far outside −1 … 1, or a closed stream. The stream
                goes on as though the block had not come.
        """
        wav = self._taken(wav)
        return self._encoded(self._samples.push(wav), wav.shape[0])

    @torch.no_grad()
    def finish_encoding(self) -> Int[Tensor, "batch num_codes frames"]:
        """The codes of the rest, as though the signal ended here; the next block begins another signal.

        Raises:
            ValueError: no sample was given, or a closed stream.
        """
        self._check_open()
        rest = self._samples.rest()
        if rest is None:
            raise ValueError("no samples were given to this stream: there is nothing to finish")
        codes = self._encoded([rest], rest.shape[0], last=True)
        self._start_encoding()
        return codes

    def encode_blocks(
        self, blocks: Iterable[Float[Tensor, "batch channels samples"]]
    ) -> Iterator[Int[Tensor, "batch num_codes frames"]]:
        """Encode a signal of any length in constant memory.

        Args:
            blocks: the signal in pieces of any sizes, such as ``wav.split(24000, dim=-1)``; read one by one.

        Yields:
            Codes, as soon as there are some; joined, those of the whole signal. Errors as in `encode` and `finish_encoding`.
        """
        for wav in blocks:
            yield from _if_any(self.encode(wav))
        yield from _if_any(self.finish_encoding())

    # --- decoding

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "batch num_codes frames"]) -> Float[Tensor, "batch channels samples"]:
        """Take the next frames of the signal.

        Args:
            codes: any number of frames, also none, of all stages or of the first ones; the same batch and codes at each call. −1 is a
                lost code. Frames that only pad a batch do not belong here: unlike the codec's `decode`, a stream cannot know the end.

        Returns:
            All samples that are now determined, perhaps none.

        Raises:
            TypeError: codes are not integers.
            ValueError: codes of the wrong shape or out of range, or a closed stream.
        """
        codes = self._taken_codes(codes)
        return self._decoded(self._frames.push(codes), codes.shape[0])

    @torch.no_grad()
    def finish_decoding(self) -> Float[Tensor, "batch channels samples"]:
        """The samples of the rest, as though the signal ended here; the next block begins another signal.

        Raises:
            ValueError: no frame was given, or a closed stream.
        """
        self._check_open()
        rest = self._frames.rest()
        if rest is None:
            raise ValueError("no codes were given to this stream: there is nothing to finish")
        wav = self._decoded([rest], rest.shape[0], last=True)
        self._start_decoding()
        return wav

    def decode_blocks(
        self, blocks: Iterable[Int[Tensor, "batch num_codes frames"]], samples: int | None = None
    ) -> Iterator[Float[Tensor, "batch channels samples"]]:
        """Decode a signal of any length in constant memory.

        Args:
            blocks: codes of the signal in blocks of any numbers of frames; read one by one.
            samples: length of the result; all of the frames' samples by default.

        Yields:
            Samples, as soon as there are some. Errors as in `decode` and `finish_decoding`.

        Raises:
            ValueError: more samples than the frames hold; found at the end.
        """
        given = 0
        for wav in self._all_decoded(blocks):
            part = wav if samples is None else wav[..., : max(0, samples - given)]
            given += part.shape[-1]
            yield from _if_any(part)
        if samples is not None and given < samples:
            raise ValueError(f"samples must be at most {given}, which is what the frames hold, got {samples}")

    def _all_decoded(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for codes in blocks:
            yield self.decode(codes)
        yield self.finish_decoding()

    # --- what it costs

    @property
    def latency_samples(self) -> int:
        """Delay between a sample's arrival and its output, encoder and decoder together, at most, once output flows.

        It is block_frames · hop plus the samples of future that the layers look at, which for a causal codec are none.
        """
        given, back = self._first_output()
        return self._block_frames * self._codec.hop_samples + given - back

    @property
    def latency_seconds(self) -> float:
        """`latency_samples` as time."""
        return self.latency_samples / self._codec.sample_rate

    @property
    def start_samples(self) -> int:
        """Samples that have to come before the first come out: more than the latency where padding reflects the start of the signal.

        What then comes out catches up. A player that must never pause waits for the larger of this and the latency.
        """
        return self._first_output()[0]

    @property
    def state_bytes(self) -> int:
        """Memory of all that is kept from block to block; it does not grow with the signal."""
        kept = [*self._samples.state(), *self._frames.state(), *self._codes.state()]
        for network in (self._encoder, self._decoder):
            kept += network.state() if network is not None else []
        return sum(tensor.untyped_storage().nbytes() for tensor in kept)

    def _first_output(self) -> tuple[int, int]:
        """Samples in and samples out when the first come out; from then on the difference repeats from piece to piece."""
        encoder, decoder = self._codec.streaming_encoder(), self._codec.streaming_decoder()
        given = back = 0
        while not back:
            given += self._block_frames * self._codec.hop_samples
            frames = self._codes.ready(encoder.ready(given))
            back = decoder.ready(frames - frames % self._block_frames)
        return given, back

    # --- inside

    def _start_encoding(self) -> None:
        self._encoder: Chain | None = None
        self._samples = Pieces(self._block_frames * self._codec.hop_samples)
        self._codes = StreamingQuantizer(self._codec.quantizer, rate_weight=self._rate_weight)

    def _start_decoding(self) -> None:
        self._decoder: Chain | None = None
        self._frames = Pieces(self._block_frames)

    def _encoded(self, pieces: list[Tensor], batch: int, last: bool = False) -> Tensor:
        self._encoder = self._encoder or self._codec.streaming_encoder()
        codes = [self._codes.push(self._encoder.push(wav, last).transpose(1, 2), last) for wav in pieces]
        if not codes:
            return torch.zeros(batch, self._num_codes, 0, dtype=torch.long, device=self._device)
        return torch.cat(codes, dim=1)[..., : self._num_codes].transpose(1, 2)

    def _decoded(self, pieces: list[Tensor], batch: int, last: bool = False) -> Tensor:
        self._decoder = self._decoder or self._codec.streaming_decoder()
        nothing = torch.zeros(batch, self._codec.channels, 0, dtype=self._dtype, device=self._device)
        return torch.cat([nothing, *(self._decoder.push(self._latent(codes), last) for codes in pieces)], dim=-1)

    def _latent(self, codes: Tensor) -> Tensor:
        if not codes.shape[-1]:
            return torch.zeros(codes.shape[0], self._codec.quantizer.dim, 0, dtype=self._dtype, device=self._device)
        return channels_first(self._codec.quantizer.decode(codes.transpose(1, 2)).to(self._dtype))

    @property
    def _dtype(self) -> torch.dtype:
        return home(self._codec.encoder).dtype

    @property
    def _device(self) -> torch.device:
        return home(self._codec.encoder).device

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the stream is closed")

    def _taken(self, wav: Tensor) -> Tensor:
        """A block on the codec's device and in its dtype; one that is refused leaves the stream as it was."""
        self._check_open()
        check_wav_shape(wav, self._codec.channels, least_samples=0)
        check_wav_scale("wav", wav)  # found later, NaN would have spoilt the LSTM's state
        wav = wav.to(self._device, self._dtype)
        self._samples.check(wav)
        return wav

    def _taken_codes(self, codes: Tensor) -> Tensor:
        self._check_open()
        if codes.ndim != 3 or not codes.shape[0]:
            raise ValueError(f"codes must be (batch, num_codes, frames), got shape {tuple(codes.shape)}")
        codes = codes.to(self._device)
        self._codec.quantizer._checked_codes(codes.transpose(1, 2), None)
        self._frames.check(codes)
        return codes


def _if_any(block: Tensor) -> Iterator[Tensor]:
    if block.shape[-1]:
        yield block
