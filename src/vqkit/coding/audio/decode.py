"""Decoding of one ``.vqk`` file to a sound file.

chunks ─ codes (any, where they are lost) ─ codec's stream ─ samples (silence, where codes were lost) ─ file
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from vqkit.bitstream import VqkReader
from vqkit.coding.audio.blocks import decoded_blocks
from vqkit.coding.coded import LOUD_PEAK, CodedSound, Watch, unwatched
from vqkit.coding.temporary import written_as_file
from vqkit.data import AudioWriter, WavStream
from vqkit.modality import SOUND
from vqkit.models.audio.compression import in_frames
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.lost import cover_lost, without_lost
from vqkit.models.vqk_files import open_reader
from vqkit.types import Float, Int

__all__ = ["decode_file"]


def decode_file(
    codec: AudioTokenizer,
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    *,
    suffix: str = ".wav",
    watch: Watch = unwatched,
    overwrite: bool = True,
) -> CodedSound:
    """Decode a ``.vqk`` file of any length in constant memory.

    What is damaged is silent, and named in the result's ``warnings``; the rest is not touched by it.

    Args:
        codec: a codec in evaluation mode, of the weights that the file names. One without streaming takes all codes at once.
        source: path, or open file or pipe.
        target: path, whose suffix decides the format and which appears when it is complete; or open file or pipe, which gets WAV as it
            comes and other formats at the end.
        suffix: format for an open file or pipe.
        watch: called with the seconds done and their share of all.
        overwrite: replace a target that exists.

    Returns:
        What was read.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights.
        FileExistsError: the target exists, and ``overwrite`` is False.
        ValueError: the target's format is unknown or does not take the codec's rate, or the file holds no sound.
    """
    with open_reader(codec, source) as reader, ExitStack() as stack:
        sound = _Sound(codec, reader, watch)
        if isinstance(target, str | Path):
            writer: AudioWriter | WavStream = stack.enter_context(
                AudioWriter(target, codec.sample_rate, codec.channels, overwrite=overwrite)
            )
        elif suffix == ".wav":
            writer = WavStream(target, codec.sample_rate, codec.channels, sound.length)
        else:
            path = stack.enter_context(written_as_file(target, suffix))
            writer = stack.enter_context(AudioWriter(path, codec.sample_rate, codec.channels))
        for block in sound:
            writer.write(block)
        if not sound.given:
            raise ValueError("it holds no sound")
        warnings = [f"{damage}; silence stands for them" if damage.frames else str(damage) for damage in reader.damage]
        if not reader.complete:
            warnings.append(f"the file is cut off after {reader.frames} frames")
        elif reader.pending_bytes:
            warnings.append(f"{reader.pending_bytes} bytes follow the end that do not belong to the file")
        too_loud = sound.peak > LOUD_PEAK
        return CodedSound(
            seconds=sound.given / codec.sample_rate,
            bytes=reader.size,
            stages=sound.stages,
            variable_stages=reader.header.variable_stages,
            notes=(f"cut off at full scale, of which it reaches {sound.peak:.3g} ×",) if too_loud else (),
            warnings=tuple(warnings),
        )


class _Sound:
    """Samples of a file's frames in blocks, as many as the file states.

    Attributes:
        length: samples a channel, where that is known before the end is read; a pipe's header may belong to a part of it.
        given: samples a channel so far.
        stages: largest number of stages of a frame so far.
        peak: largest magnitude of a sample so far.
    """

    def __init__(self, codec: AudioTokenizer, reader: VqkReader, watch: Watch) -> None:
        self._codec, self._reader, self._watch = codec, reader, watch
        frames = reader.frames * codec.quantizer.block if reader.seekable else 0
        self.length = self._length(codec.samples_of(frames)) if reader.seekable else None
        self.given, self.stages, self.peak = 0, 0, 0.0
        self._lost = torch.zeros(
            0, dtype=torch.bool
        )  # whether a frame is lost, for all whose samples have not come yet
        self._come = 0  # samples that have come of the first of them

    def __iter__(self) -> Iterator[Float[Tensor, "channels _"]]:
        """Yield the samples; of a pipe, the last frame waits for the end, which says how much of it is sound."""
        held = torch.zeros(self._codec.channels, 0, dtype=torch.float32)
        for wav in decoded_blocks(self._codec, self._codes()):
            held = torch.cat([held, self._covered(wav)], dim=-1)
            most = held.shape[-1] - self._codec.hop_samples if self.length is None else self.length - self.given
            yield from self._next(held[:, : max(0, most)])
            held = held[:, max(0, most) :] if self.length is None else held[:, :0]
        if self.length is None:
            yield from self._next(held[:, : max(0, self._length(self.given + held.shape[-1]) - self.given)])

    def _next(self, wav: Tensor) -> Iterator[Tensor]:
        if wav.shape[-1]:
            self.given += wav.shape[-1]
            self.peak = max(self.peak, float(wav.abs().max()))
            self._watch(self.given / self._codec.sample_rate, self.given / self.length if self.length else None)
            yield wav

    def _length(self, samples: int) -> int:
        return min(self._reader.length or samples, samples)

    def _codes(self) -> Iterator[Int[Tensor, "frames num_codes"]]:
        if self._codec.quantizer.block > 1:  # no stream: how many frames the last block has is known at the end
            held = list(self._read())
            codes, self._lost = in_frames(
                self._codec, torch.cat(held or [torch.zeros(0, 0)]), self._lost, self._reader.length
            )
            yield codes
        else:
            yield from self._read()

    def _read(self) -> Iterator[Int[Tensor, "frames num_codes"]]:
        """Yield the codes of the file, with arbitrary ones where they are lost."""
        for block in self._reader:
            codes, lost = without_lost(block.codes)
            self._lost = torch.cat([self._lost, lost])
            if not block.lost and len(codes):
                self.stages = max(self.stages, self._reader.header.most_stages(codes))
            yield codes

    def _covered(self, wav: Tensor) -> Tensor:
        end = self._come + wav.shape[-1]
        lost = self._codec.touched(self._lost)[self._come : end]
        frames, self._come = divmod(end, self._codec.hop_samples)
        self._lost = self._lost[frames:]
        return cover_lost(wav, lost, SOUND)
