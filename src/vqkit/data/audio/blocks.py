"""A sound file as blocks of samples: what is longer than memory, and pipes."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from vqkit.data.audio.readers.findings import Findings
from vqkit.data.audio.readers.sample_check import SampleCheck, check_samples
from vqkit.data.audio.readers.sound import SoundReader
from vqkit.types import Float

__all__ = ["AudioBlocks"]


class AudioBlocks:
    """Blocks of a file's sound from its beginning to its end, read on demand; use it in a ``with``, and iterate once.

    The blocks joined are what `read_audio` gives. Nothing is printed and no Python warning raised: what was lost or changed is in
    ``warnings`` and ``notes``, complete after the last block.

    Args:
        source: path of any file that `read_audio` reads; or an open binary file or pipe with what can be read front to back, such as wav,
            flac, ogg, mp3 and webm.
        block_seconds: length of a block; the last one is shorter.
        max_samples: most samples of all channels together; more is an error, raised at once where the header states it, and otherwise
            when they come. None allows any number.
        strict: whether what is missing, cannot be decoded or is doubtful is an error.

    Attributes:
        sample_rate: sample rate in Hz.
        channels: channels of the blocks.
        num_samples: number of samples in each channel, where the header of a file states it exactly; otherwise None.
        seconds: the duration that the header states, perhaps an estimate; None where it says nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or not audio, states more samples than allowed, or block_seconds is not more than 0.

    Example:
        >>> from vqkit.data import sample_folder
        >>> with AudioBlocks(sample_folder() / "music/stereo/test/freedoom_countd.flac", block_seconds=0.75) as source:
        ...     print(source.sample_rate, [tuple(block.shape) for block in source], source.warnings)
        48000 [(2, 36000), (2, 36000), (2, 24000)] ()
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        block_seconds: float = 1.0,
        max_samples: int | None = None,
        strict: bool = False,
    ) -> None:
        if not block_seconds > 0:
            raise ValueError(f"block_seconds is {block_seconds}, it must be more than 0")
        if isinstance(source, str | Path):
            self._reader = SoundReader(Path(source), str(source), strict)
        else:
            self._reader = SoundReader(source, str(getattr(source, "name", "the stream")), strict)
        self.sample_rate, self.channels = self._reader.sample_rate, self._reader.channels
        self.num_samples, self.seconds = self._reader.num_samples, self._reader.seconds
        self._size = max(1, round(block_seconds * self.sample_rate))
        self._max_samples = max_samples
        try:
            check_samples(self.findings.name, round((self.seconds or 0) * self.sample_rate), self.channels, max_samples)
        except ValueError:
            self.close()
            raise

    @property
    def findings(self) -> Findings:
        """Notes and losses found so far; later stages of processing add theirs."""
        return self._reader.findings

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes to the sound that are no fault, such as the conversion of a sample rate that changed in the middle."""
        return self.findings.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of what is missing, damaged or doubtful."""
        return self.findings.warnings

    @property
    def missing_seconds(self) -> float:
        """Silence in place of what is missing."""
        return self.findings.missing_seconds

    def __iter__(self) -> Iterator[Float[Tensor, "channels samples"]]:
        """The blocks, float32.

        Raises:
            ValueError: the file holds NaN, no samples or more than allowed; with strict, it is damaged. Perhaps after some blocks.
        """
        check = SampleCheck(self.findings, self.sample_rate, self._max_samples)
        for samples in self._gathered():
            check.look(samples)
            yield torch.from_numpy(np.ascontiguousarray(samples.T))
        check.finish()
        if not check.samples:
            reason = "".join(f": {text}" for text in self.warnings[:1])
            raise ValueError(f"{self.findings.name} holds no samples{reason}")

    def _gathered(self) -> Iterator[np.ndarray]:
        """Join the decoders' output, about 1000 samples at a time, into blocks of the requested size."""
        waiting: list[np.ndarray] = []
        count = 0
        for samples in self._reader.blocks():
            waiting.append(samples)
            count += len(samples)
            if count >= self._size:
                joined = np.concatenate(waiting)
                whole = count // self._size * self._size
                yield from np.split(joined[:whole], whole // self._size)
                waiting, count = [joined[whole:].copy()], count - whole
        if count:
            yield np.concatenate(waiting)

    def close(self) -> None:
        """Close the file; what was given open stays open."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
