"""The base of what has codes for sound: its rates in kbit/s, its words for `Tokenizer`'s methods, and its files."""

from typing import Self

import torch
from torch import Tensor

from vqkit.counts import check_numbers, check_stages
from vqkit.modality import SOUND
from vqkit.models.audio import compression, padding
from vqkit.models.audio.streaming import CodecStream
from vqkit.models.input_checks import check_wav_shape
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.vqk_files import CodedSignal
from vqkit.scale import check_wav_scale
from vqkit.types import Bool, Float, Int

__all__ = ["AudioTokenizer"]


class AudioTokenizer(Tokenizer):
    """A model of waveforms that has codes; abstract.

    Waveforms and codes may be of any floating or integer dtype and on any device: they move to the codec's. Waveforms come back on its
    device and in the dtype of its weights.

    Attributes:
        sample_rate: sample rate of the waveforms, in Hz.
        channels: channels of the waveforms.
        hop_samples: samples from frame to frame.
        level_rounds: rounds in which files are encoded so that the decoded levels are right, see
            `vqkit.models.audio.level_matching.LevelMatching`; 0 encodes once.
        refine_steps: steps in which the codes of files are refined by listening to what they decode to, see
            `vqkit.models.audio.refinement.LatentRefinement`; 0 takes the codes that the encoder finds.
    """

    sample_rate: int
    channels: int
    hop_samples: int
    level_rounds: int = 0
    refine_steps: int = 0
    modality = SOUND
    saved_as = "codec"

    # --- rates

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_samples

    def vectors_per_unit(self, *size: int) -> float:
        """Frames a millisecond: a bit a millisecond is a kbit/s."""
        return self.frame_rate / 1000

    @property
    def rates_kbps(self) -> tuple[float, ...]:
        """Bitrates that `encode` can keep to, before entropy coding: of the first stage, of the first two and so on."""
        return self.rates()

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Return the bitrate of the first ``stages`` stages in kbit/s; of all by default.

        Raises:
            ValueError: there are not so many stages.
        """
        rates = self.rates_kbps
        return rates[-1 if stages is None else check_stages(stages, len(rates), "this codec") - 1]

    def samples_of(self, frames: int) -> int:
        """Return the number of samples that ``frames`` frames decode to."""
        return frames * self.hop_samples

    def touched(self, frames: Bool[Tensor, " frames"]) -> Bool[Tensor, " samples"]:
        """Mark the samples that depend on the marked frames."""
        return frames.repeat_interleave(self.hop_samples)

    # --- coding

    def synthesize(
        self, z: Float[Tensor, "batch frames dim"], samples: int | None = None, *, gradient: bool = False
    ) -> Float[Tensor, "batch channels samples"]:
        """The waveforms of latents; ``samples`` and errors as in `decode`, ``gradient`` as in `Tokenizer.synthesize`."""
        return super().synthesize(z, samples, gradient=gradient)

    @torch.no_grad()
    def encode(
        self,
        wav: Float[Tensor, "batch channels samples"],
        kbps: float | None = None,
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        sample_rate: int | None = None,
        rate_weight: float | None = None,
    ) -> Int[Tensor, "batch num_codes frames"]:
        """Codes of waveforms.

        Args:
            wav: waveforms.
            kbps: keep as many stages as fit into this rate; all by default.
            lengths: samples of each item, where items were padded at the end; frames after it have code −1.
            sample_rate: sample rate of wav, in Hz, if it is not the codec's: wav is then resampled.
            rate_weight: λ of error + λ·bits, with the squared error of a latent vector: every frame keeps only the stages that are worth
                their bits, and its later codes are −1, see `Quantizer.encode`; with kbps at most as many as fit.

        Returns:
            int64 codes; the first stages come first.

        Raises:
            TypeError: wav is not floating, or lengths are not integers.
            ValueError: as in `forward`, NaN, Inf or samples far outside −1 … 1, or kbps below the first stage.
        """
        check_numbers(sample_rate=sample_rate)
        lengths = self._checked(wav, lengths)
        check_wav_scale("wav", padding.silence_end(wav, lengths))
        stages = None if kbps is None else self.stages_within(kbps)
        wav, lengths = padding.resample_padded(wav, lengths, sample_rate or self.sample_rate, self.sample_rate)
        return self._encoded(wav, lengths, stages, rate_weight)

    @torch.no_grad()
    def decode(
        self, codes: Int[Tensor, "batch num_codes frames"], samples: int | None = None
    ) -> Float[Tensor, "batch channels samples"]:
        """Waveforms of codes.

        Args:
            codes: codes of all stages or of the first ones; −1 after the end of an item.
            samples: length of the result, at most what the frames hold; all of them by default.

        Returns:
            Waveforms at `sample_rate`.

        Raises:
            TypeError: codes are not integers.
            ValueError: codes of the wrong shape or out of range, or more samples than the frames hold.
        """
        if codes.ndim != 3 or codes.shape[-1] == 0:
            raise ValueError(f"codes must be (batch, num_codes, frames), got shape {tuple(codes.shape)}")
        return self._decoded(codes, samples, padding.real_frames(codes))

    def coded(self, wav: Float[Tensor, "channels samples"]) -> CodedSignal:
        """The codes of one waveform of the codec's channels and rate, as its file holds them; errors as in `encode`."""
        return compression.coded(self, wav)

    def compress(
        self,
        wav: Float[Tensor, "channels samples"],
        sample_rate: int,
        kbps: float | None = None,
        *,
        plain: bool = False,
        rate_weight: float | None = None,
        level_rounds: int | None = None,
        refine_steps: int | None = None,
    ) -> bytes:
        """The bytes of a ``.vqk`` file, coded with the `prior` if there is one.

        Args:
            wav: waveform, in about −1 … 1, on any device; resampled, mixed to mono or doubled to stereo as the codec needs.
            sample_rate: sample rate of wav, in Hz.
            kbps: highest rate before entropy coding, the numbers of stages included; all stages by default. As many stages as fit are
                kept; where there is a prior and codes are refined, frames get one more or less where it is heard, as many bits on
                average, and the file is of format version 3.
            plain: plain bits although there is a prior; all frames then have as many stages.
            rate_weight: λ; every frame keeps only the stages that are worth their bits, as in `encode`, and the file is of format
                version 3.
            level_rounds: how often a second of the sound is encoded and decoded to bring the decoded levels near those of wav, each as
                slow as encoding and decoding once; by default the codec's own number.
            refine_steps: steps in which the latent is then moved until what its codes decode to is nearer to wav for the ear, each as slow
                as decoding three times; by default the codec's own number. With 0 of both the codes are those that `encode` gives.

        Returns:
            A file that `decompress` of the same weights and prior reads, and `vqkit.bitstream` without the weights.

        Raises:
            TypeError: wav is not floating.
            ValueError: wav has another shape, NaN, Inf or samples far outside −1 … 1, a sample rate below 1 Hz, kbps is below the
                first stage, level_rounds is no integer in 0 … 16, or refine_steps none in 0 … 1000.
        """
        return compression.compress(self, wav, sample_rate, kbps, plain, rate_weight, level_rounds, refine_steps)

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

    def for_search(self) -> Self:
        """The codec over the same memory as a search through its decoder hears it, without what takes time and hardly changes the codes."""
        return self

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

        Raises:
            ValueError: the codec needs the whole signal.
        """
        raise ValueError(f"{type(self).__name__} cannot be streamed; encode and decode take whole clips")

    # --- inside

    def _checked(self, wav: Tensor, lengths: Tensor | None) -> Tensor | None:
        check_wav_shape(wav, self.channels)
        return padding.check_lengths(wav, lengths)

    def _cut(self, signal: Tensor, size: int | None) -> Tensor:
        check_numbers(samples=size)
        if size is not None and not 1 <= size <= signal.shape[-1]:
            raise ValueError(f"samples must be in 1 … {signal.shape[-1]}, got {size}")
        return signal[..., :size]

    def _fitted(self, made: Tensor, signal: Tensor, lengths: Tensor | None) -> Tensor:
        made = super()._fitted(made, signal, lengths)
        return made if lengths is None else padding.silence_end(made, lengths.to(made.device))
