"""Read sample-exact parts of the formats that libsndfile knows: wav, flac, Ogg Vorbis, Opus, aiff and others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vqkit.data.sample_limit import check_samples
from vqkit.types import need

_OPUS_PREROLL_SECONDS = (
    1.0  # an Opus decoder needs a while to converge after a seek: RFC 7845 asks for 80 ms, longer is closer
)
_BLOCK_SAMPLES = 1 << 16
_UNKNOWN_FRAMES = 2**60  # libsndfile reports a length about 2^63 when a header leaves it open (FLAC from a pipe)


class SoundfileReader:
    """An open audio file, read by libsndfile.

    Args:
        path: an existing file.

    Raises:
        ValueError: libsndfile cannot read it, or cannot read it exactly.
    """

    def __init__(self, path: Path) -> None:
        soundfile = need("soundfile", "audio")
        try:
            self._file = soundfile.SoundFile(str(path))
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a suffix that means headerless samples
            raise ValueError(f"{path} cannot be read by soundfile: {error}") from None
        # libsndfile 1.2 places MP3 seeks over a thousand samples off and guesses the length of VBR files without a Xing header.
        if self._file.format == "MP3" or self._file.frames >= _UNKNOWN_FRAMES:
            self._file.close()
            raise ValueError(f"{path} cannot be read exactly by soundfile")
        self._path = path
        self._error = soundfile.LibsndfileError
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.num_samples: int = self._file.frames

    def read(self, start: int, count: int | None, max_samples: int | None = None) -> np.ndarray:
        """Read ``count`` samples a channel from ``start``, fewer at the end of the file; None reads to the end.

        Returns:
            float32 of shape ``(samples, channels)``.

        Raises:
            ValueError: the file is damaged, shorter than its header says, or holds more than max_samples in all channels.
        """
        preroll = int(_OPUS_PREROLL_SECONDS * self.sample_rate) if self._file.subtype == "OPUS" else 0
        # Vorbis seeks land up to a block beside the mark (libsndfile issue 885), so it is decoded from the start: 1000 times real time
        first = 0 if self._file.subtype == "VORBIS" else max(0, start - preroll)
        wanted = max(0, self.num_samples - start) if count is None else max(0, min(count, self.num_samples - start))
        check_samples(self._path, wanted, self.channels, max_samples)
        if wanted == 0:
            return np.zeros((0, self.channels), np.float32)
        try:
            self._file.seek(first)
            for position in range(first, start, _BLOCK_SAMPLES):
                self._file.read(min(_BLOCK_SAMPLES, start - position), dtype="float32")
            samples: np.ndarray = self._file.read(wanted, dtype="float32", always_2d=True)
        except self._error as error:
            raise ValueError(f"{self._path} is damaged: {error}") from None
        self._check_end(start + len(samples), start + wanted)
        return samples

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """The whole file, ``size`` samples a channel at a time, the last block shorter; nothing may have been read before.

        Yields:
            float32 of shape ``(samples, channels)``.

        Raises:
            ValueError: the file is damaged or shorter than its header says.
        """
        for start in range(0, self.num_samples, size):
            stop = min(start + size, self.num_samples)
            try:
                samples: np.ndarray = self._file.read(stop - start, dtype="float32", always_2d=True)
            except self._error as error:
                raise ValueError(f"{self._path} is damaged: {error}") from None
            self._check_end(start + len(samples), stop)
            yield samples

    def _check_end(self, end: int, wanted: int) -> None:
        if end < wanted:
            raise ValueError(
                f"{self._path} is cut short: the header promises {self.num_samples} samples a channel, {end} can be read"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
