"""Encoding of one sound file to a ``.vqk`` file.

blocks of a second ─ mixed to the codec's channels ─ resampled ─ levels matched ─ codec's stream ─ codes ─ chunks ─ file
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from torch import Tensor

from vqkit.bitstream import thin_to_fit
from vqkit.coding.audio.blocks import encoded_blocks
from vqkit.coding.coded import LOUD_PEAK, CodedSound, Watch, unwatched
from vqkit.coding.rate import Rate, spooled
from vqkit.data import AudioBlocks
from vqkit.data.audio.readers.sample_check import Cancellation
from vqkit.models.audio.compression import open_writer, refinement_of
from vqkit.models.audio.level_matching import LevelMatching
from vqkit.models.audio.resampling_stream import ResamplingStream, resampled_length
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.scale import check_wav_scale
from vqkit.types import Float, Int

__all__ = ["SoundOnItsWay", "encode_file"]


def encode_file(
    codec: AudioTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    *,
    plain: bool = False,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    strict: bool = False,
    level_rounds: int | None = None,
    refine_steps: int | None = None,
    watch: Watch = unwatched,
) -> CodedSound:
    """Encode a sound file, or the sound of a video file, of any length in constant memory.

    All that can be decoded is encoded, with silence for what is missing where its length is known; the result's warnings name it. The
    file is the one that ``codec.compress`` makes of the whole sound, if no two codes lie equally near within float rounding.

    Args:
        codec: a codec in evaluation mode. One without streaming takes the whole sound at once.
        source: path, or open file or pipe; what `vqkit.data.AudioBlocks` takes.
        target: path, which appears when it is complete, or open file or pipe, which gets every chunk at once (with ``max_bytes``: all at
            the end).
        rate: stages to keep.
        plain: plain bits although the codec has a prior.
        licence: licence of the content, for the header.
        metadata: free text by name, for the header.
        strict: whether what is missing, cannot be decoded or is doubtful is an error instead.
        level_rounds: rounds that bring the decoded levels near the sound's, as in `AudioTokenizer.compress`.
        refine_steps: steps that refine the codes by listening to them, likewise.
        watch: called with the seconds done and their share of all.

    Returns:
        What was written, and what was noted and warned of.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: the source is no sound, or damaged with strict; it holds NaN, has more channels than the codec can take, the rate is
            too low, level_rounds is no integer in 0 … 16, or refine_steps none in 0 … 1000.
    """
    stages = rate.stages_of(codec)
    with ExitStack() as stack:
        file = stack.enter_context(spooled(target, rate.max_bytes is not None))
        header: dict[str, Any] = {"plain": plain, "licence": licence, "metadata": metadata}
        rounds = codec.level_rounds if level_rounds is None else level_rounds
        steps = codec.refine_steps if refine_steps is None else refine_steps
        how = partial(refinement_of, rate_weight=rate.rate_weight, kbps=rate.kbps, plain=plain)
        refining = how(codec, stages, rounds, steps)
        stages = refining.stages if refining else stages
        header["variable_stages"] = refining.variable_stages if refining else rate.rate_weight is not None
        # refining matches levels itself: it needs the sound beside the matched one
        before: dict[str, Any] = {"strict": strict, "watch": watch, "level_rounds": 0 if refining else rounds}
        with SoundOnItsWay(codec, source, file, stages, **before, **header) as way:
            plain_codes = partial(encoded_blocks, codec, rate_weight=rate.rate_weight)
            for codes in (refining.through if refining else plain_codes)(way.blocks):
                way.take(codes)
            coded = way.finish()
        if rate.max_bytes is not None and not isinstance(file, str | Path):
            stages, size = thin_to_fit(file, target, max_bytes=rate.max_bytes)
            coded = replace(coded, stages=stages, bytes=size)
    return coded


class SoundOnItsWay:
    """Sound that is read while the file of its codes is written; use it in a ``with``.

    Args:
        codec: Codec in evaluation mode.
        source: What `vqkit.data.AudioBlocks` takes.
        target: Path or stream of the ``.vqk`` file.
        stages: Number of stages to keep.
        strict: Whether what is missing or doubtful is an error.
        level_rounds: Rounds that bring the decoded levels near the sound's, see `LevelMatching`.
        watch: Called with the seconds done and their share of all.
        header: Arguments of `open_writer` by name: ``plain``, ``licence``, ``metadata``, ``variable_stages``.

    Attributes:
        blocks: Blocks (channels, samples) as the codec takes them, to be iterated once.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: The source is no sound, or has more channels than the codec can take.
    """

    def __init__(
        self,
        codec: AudioTokenizer,
        source: str | Path | BinaryIO,
        target: str | Path | BinaryIO,
        stages: int,
        *,
        strict: bool = False,
        level_rounds: int = 0,
        watch: Watch = unwatched,
        **header: Any,
    ) -> None:
        self._codec = codec
        matching = LevelMatching(codec, stages, level_rounds)
        with ExitStack() as stack:  # what is open is closed if the rest fails
            self._sound = sound = stack.enter_context(AudioBlocks(source, strict=strict))
            _note_mixing(sound, codec)
            known = sound.num_samples
            length = None if known is None else resampled_length(known, sound.sample_rate, codec.sample_rate)
            self._prepared = _Prepared(sound, codec, watch)
            self.blocks = matching.through(self._prepared)
            self._writer = stack.enter_context(open_writer(codec, target, stages, length=length, **header))
            self._open = stack.pop_all()

    def take(self, codes: Int[Tensor, "frames num_codes"]) -> None:
        """Write the codes of the next frames; of all stages, of which the first ones are kept."""
        self._writer.write(codes[:, : self._writer.header.num_codes])

    def finish(self) -> CodedSound:
        """End the file; what was written."""
        self._writer.close(length=self._prepared.samples)
        return CodedSound(
            seconds=self._prepared.samples / self._codec.sample_rate,
            bytes=self._writer.bytes_written,
            stages=self._writer.stages,
            variable_stages=self._writer.header.variable_stages,
            notes=self._sound.notes,
            warnings=self._sound.warnings,
            missing_seconds=self._sound.missing_seconds,
        )

    def discard(self) -> None:
        """Give up: a file leaves nothing behind."""
        self._writer.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def _note_mixing(sound: AudioBlocks, codec: AudioTokenizer) -> None:
    if sound.channels == codec.channels:
        return
    if codec.channels == 1:
        sound.findings.note("mixing", f"{sound.channels} channels mixed to one: the codec is mono")
    elif sound.channels == 1:
        sound.findings.note("mixing", f"mono in each of {codec.channels} channels")
    else:
        raise ValueError(f"it has {sound.channels} channels, this codec takes {codec.channels} or 1")


class _Prepared:
    """A sound's blocks as the codec takes them, and how many samples they were."""

    def __init__(self, sound: AudioBlocks, codec: AudioTokenizer, watch: Watch) -> None:
        self._sound, self._codec, self._watch = sound, codec, watch
        self.samples, self._peak = 0, 0.0

    def __iter__(self) -> Iterator[Float[Tensor, "channels _"]]:
        for block in self._resampled():
            check_wav_scale("wav", block)  # before anything is computed of it that could overflow
            self._peak = max(self._peak, float(block.abs().max()) if block.numel() else 0.0)
            self.samples += block.shape[-1]
            yield block
            # back again: this block is encoded
            seconds = self.samples / self._codec.sample_rate
            self._watch(seconds, min(1.0, seconds / self._sound.seconds) if self._sound.seconds else None)
        if self._peak > LOUD_PEAK:
            self._sound.findings.note("peak", f"reaches {self._peak:.3g} × full scale, where decoded files are cut off")
        if not self.samples:
            raise ValueError(f"it is too short: no sample is left at {self._codec.sample_rate} Hz")

    def _resampled(self) -> Iterator[Tensor]:
        channels = self._codec.channels
        resampling = ResamplingStream(self._sound.sample_rate, self._codec.sample_rate, channels)
        cancellation = Cancellation(self._sound.findings, self._sound.sample_rate)
        for block in self._sound:
            mixed = block.mean(dim=0, keepdim=True) if channels == 1 else block.expand(channels, -1)
            if len(mixed) < len(block):
                cancellation.look(block.T.numpy(), mixed.T.numpy())
            yield resampling.push(mixed)
        cancellation.finish()
        yield resampling.finish()
