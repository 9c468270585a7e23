"""One sound file to a ``.vqk`` file.

blocks of a second ─ mixed to the codec's channels ─ resampled ─ levels matched ─ codec's stream ─ codes ─ chunks ─ file
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from vqkit.bitstream import thin_to_fit
from vqkit.coding.audio.blocks import encoded_blocks
from vqkit.coding.coded import CodedSound, Watch, unwatched
from vqkit.coding.rate import Rate, spooled
from vqkit.data import AudioBlocks
from vqkit.data.audio.readers.sample_check import Cancellation
from vqkit.models.audio.compression import open_writer
from vqkit.models.audio.level_matching import LevelMatching
from vqkit.models.audio.resampling_stream import ResamplingStream, resampled_length
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.types import Float

__all__ = ["encode_file"]


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
        watch: called with the seconds done and their share of all.

    Returns:
        What was written, and what was noted and warned of.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: the source is no sound, or damaged with strict; it holds NaN, has more channels than the codec can take, the rate is
            too low, or level_rounds is no integer in 0 … 16.
    """
    stages = rate.stages_of(codec)
    matching = LevelMatching(codec, stages, codec.level_rounds if level_rounds is None else level_rounds)
    with AudioBlocks(source, strict=strict) as sound:
        _note_mixing(sound, codec)
        known = sound.num_samples
        length = None if known is None else resampled_length(known, sound.sample_rate, codec.sample_rate)
        blocks = _Prepared(sound, codec, watch)
        with spooled(target, rate.max_bytes is not None) as file:
            with open_writer(
                codec,
                file,
                stages,
                plain=plain,
                length=length,
                licence=licence,
                metadata=metadata,
            ) as writer:
                for codes in encoded_blocks(codec, matching.through(blocks)):
                    writer.write(codes[:, : writer.header.num_codes])
                writer.close(length=blocks.samples)
            size = writer.bytes_written
            if rate.max_bytes is not None and not isinstance(file, str | Path):
                stages, size = thin_to_fit(file, target, max_bytes=rate.max_bytes)
    return CodedSound(
        seconds=blocks.samples / codec.sample_rate,
        bytes=size,
        stages=stages,
        notes=sound.notes,
        warnings=sound.warnings,
        missing_seconds=sound.missing_seconds,
    )


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
        self.samples = 0

    def __iter__(self) -> Iterator[Float[Tensor, "channels _"]]:
        for block in self._resampled():
            self.samples += block.shape[-1]
            yield block
            # back again: this block is encoded
            seconds = self.samples / self._codec.sample_rate
            self._watch(seconds, min(1.0, seconds / self._sound.seconds) if self._sound.seconds else None)
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
