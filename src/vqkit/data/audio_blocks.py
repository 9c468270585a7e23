"""A sound file as blocks of samples: what is longer than memory, and pipes."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from vqkit.data.audio_file import open_audio
from vqkit.data.av_reader import AvReader
from vqkit.data.sample_limit import check_samples
from vqkit.data.soundfile_reader import SoundfileReader
from vqkit.types import Float

__all__ = ["AudioBlocks"]


class AudioBlocks:
    """The sound of a file from its beginning to its end, read as it is asked for; use it in a ``with``, and iterate once.

    The blocks joined are what `read_audio` gives.

    Args:
        source: path of any file that `read_audio` reads; or an open binary file or pipe with what FFmpeg can read front to back, such as
            wav, flac, ogg, mp3 and webm.
        block_seconds: length of a block; the last one is shorter.
        max_samples: most samples of all channels together; more is an error, raised at once where the header states it, and otherwise
            when they come. None allows any number.

    Attributes:
        sample_rate: in Hz.
        channels: of the blocks.
        num_samples: a channel, where the header states it exactly; otherwise None.
        seconds: as the header says, perhaps an estimate; None where it says nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or not audio, states more samples than allowed, or block_seconds is not more than 0.

    Example:
        >>> from vqkit.data import sample_folder
        >>> with AudioBlocks(sample_folder() / "music/stereo/test/freedoom_countd.flac", block_seconds=0.75) as source:
        ...     print(source.sample_rate, [tuple(block.shape) for block in source])
        48000 [(2, 36000), (2, 36000), (2, 24000)]
    """

    def __init__(
        self, source: str | Path | BinaryIO, block_seconds: float = 1.0, max_samples: int | None = None
    ) -> None:
        if not block_seconds > 0:
            raise ValueError(f"block_seconds is {block_seconds}, it must be more than 0")
        named = isinstance(source, str | Path)
        self._reader: SoundfileReader | AvReader = (
            open_audio(Path(source)) if isinstance(source, str | Path) else AvReader(source)
        )
        self._name = str(source) if named else str(getattr(source, "name", "the stream"))
        self.sample_rate, self.channels = self._reader.sample_rate, self._reader.channels
        self._size = max(1, round(block_seconds * self.sample_rate))
        count = self._reader.num_samples
        self.num_samples = count if isinstance(self._reader, SoundfileReader) else None
        self.seconds = count / self.sample_rate if count else None
        self._max_samples = max_samples
        try:
            check_samples(self._name, count or 0, self.channels, max_samples)
        except ValueError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Float[Tensor, "channels samples"]]:
        """The blocks, float32.

        Raises:
            ValueError: the file is damaged, cut short, or holds NaN or no samples; perhaps after some blocks.
        """
        blocks = self._gathered(self._reader) if isinstance(self._reader, AvReader) else self._reader.blocks(self._size)
        done = 0
        for samples in blocks:
            done += len(samples)
            check_samples(self._name, done, self.channels, self._max_samples)
            if not np.isfinite(samples).all():
                raise ValueError(f"{self._name} holds NaN or infinite samples")
            yield torch.from_numpy(np.ascontiguousarray(samples.T))
        if not done:
            raise ValueError(f"{self._name} holds no samples")

    def _gathered(self, reader: AvReader) -> Iterator[np.ndarray]:
        """FFmpeg's frames, of 1000 samples or so, as blocks."""
        waiting: list[np.ndarray] = []
        count = 0
        for samples in reader.blocks():
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
