"""Read sample-exact parts of the formats that libsndfile knows: wav, flac, Ogg Vorbis, Opus, aiff and others."""

from collections.abc import Iterator
from pathlib import Path

from vqkit.data.audio.readers.pieces import Piece, channel_names
from vqkit.types import need

__all__ = ["SoundfileReader", "Undecodable"]

_OPUS_PREROLL_SECONDS = (
    1.0  # an Opus decoder needs a while to converge after a seek: RFC 7845 asks for 80 ms, longer is closer
)
_BLOCK_SAMPLES = 1 << 16
_UNKNOWN_FRAMES = 2**60  # libsndfile reports a length about 2^63 when a header leaves it open (FLAC from a pipe)


class Undecodable(Exception):
    """libsndfile has met damage, and goes no further.

    Args:
        position: first sample that it has not given.
    """

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class SoundfileReader:
    """An open audio file, read by libsndfile.

    Args:
        path: an existing file that is no MP3.

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
        self._error = soundfile.LibsndfileError
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.layout = channel_names(self.channels)
        self.num_samples: int | None = self._file.frames
        self.reached = 0
        self.seconds: float | None = self._file.frames / self.sample_rate

    def pieces(self, start: int) -> Iterator[Piece]:
        """The samples from this one on.

        Raises:
            Undecodable: the file is damaged.
        """
        total = self._file.frames
        preroll = int(_OPUS_PREROLL_SECONDS * self.sample_rate) if self._file.subtype == "OPUS" else 0
        # Vorbis seeks land up to a block beside the mark (libsndfile issue 885), so it is decoded from the start: 1000 times real time
        position = 0 if self._file.subtype == "VORBIS" else max(0, min(start, total) - preroll)
        try:
            if position:
                self._file.seek(position)
            while position < total:
                stop = start if position < start else total
                samples = self._file.read(min(_BLOCK_SAMPLES, stop - position), dtype="float32", always_2d=True)
                if len(samples) == 0:
                    raise Undecodable(max(position, start))
                if position >= start:
                    yield Piece(samples, self.sample_rate, self.layout)
                position += len(samples)
                self.reached = position
        except self._error:
            raise Undecodable(max(position, start)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
