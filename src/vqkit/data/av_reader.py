"""Read the sound of what FFmpeg knows: m4a, mp4, webm, mka, mp3 and many more, through PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vqkit.data.sample_limit import check_samples
from vqkit.types import need

# Containers that hold their sound themselves. FFmpeg also "reads" playlists and scripts (hls, dash, concat, sdp, image2, lavfi …), which
# open other files, addresses or devices, whatever the protocols allowed; a list of what is refused would miss the next one.
FORMATS = (
    "aa,aac,ac3,adx,aea,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,bonk,caf,dsf,dts,dtshd,dv,eac3,epaf,flac,flv,gsm,gxf,iff,ilbc,ircam,"
    "kux,lc3,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,paf,pvf,qcp,qoa,rka,rm,rso,sbc,sds,shn,"
    "sox,spdif,tak,truehd,tta,voc,w64,wav,wavarc,wsd,wtv,wv,xwma"
)
_PREROLL_SECONDS = 0.25  # codecs with overlapping windows need some packets before the first exact sample


class AvReader:
    """The first audio stream of a file, read by FFmpeg; one `read` or `blocks` an opening.

    Args:
        path: an existing file, or an open binary file or pipe; of a pipe only `blocks` can be had.

    Raises:
        ValueError: FFmpeg cannot read it, or it has no audio stream.
    """

    def __init__(self, path: Path | BinaryIO) -> None:
        self._av = need("av", "audio")
        # "file:" keeps a name with a colon from being taken for a protocol
        source, allowed = (f"file:{path}", "file") if isinstance(path, Path) else (path, "pipe")
        path = path if isinstance(path, Path) else Path(str(getattr(path, "name", "the stream")))
        try:
            options = {"protocol_whitelist": allowed, "format_whitelist": FORMATS}
            self._container = self._av.open(source, options=options)
        except self._av.FFmpegError:
            raise ValueError(f"{path} is not audio that soundfile or PyAV can read") from None
        if not self._container.streams.audio:
            self._container.close()
            raise ValueError(f"{path} has no audio stream")
        self._path = path
        self._stream = self._container.streams.audio[0]
        self.sample_rate: int = self._stream.sample_rate
        self.channels: int = self._stream.channels
        if self.sample_rate <= 0 or self.channels <= 0:
            self._container.close()
            raise ValueError(f"{path} is not audio that soundfile or PyAV can read")
        time_base = self._stream.time_base
        # Only the mp4 family states the exact length, and only there do time stamps after a seek name exact samples:
        # Matroska and WebM round them to milliseconds, MP3 estimates them.
        self._exact = (
            "mp4" in self._container.format.name
            and time_base is not None
            and time_base <= Fraction(1, self.sample_rate)
        )
        if self._stream.duration is not None and time_base is not None:
            seconds = self._stream.duration * time_base
        else:
            seconds = Fraction(self._container.duration or 0, 1_000_000)
        self.num_samples: int | None = round(seconds * self.sample_rate) if seconds > 0 else None

    def read(self, start: int, count: int | None, max_samples: int | None = None) -> np.ndarray:
        """Read ``count`` samples a channel from ``start``, fewer at the end of the file; None reads to the end.

        Returns:
            float32 of shape ``(samples, channels)``.

        Raises:
            ValueError: the file is damaged, or holds more than max_samples in all channels.
        """
        if self._exact and self.num_samples is not None:
            count = max(0, self.num_samples - start if count is None else min(count, self.num_samples - start))
        try:
            position, chunks = self._decode(start, None if count is None else start + count, max_samples)
        except self._av.FFmpegError as error:
            raise ValueError(f"{self._path} is damaged: {error.strerror}") from None
        samples = (
            np.concatenate(chunks, axis=1)[:, max(0, start - position) :]
            if chunks
            else np.zeros((self.channels, 0), np.float32)
        )
        return samples[:, :count].T

    def blocks(self) -> Iterator[np.ndarray]:
        """The whole file, as FFmpeg's frames come.

        Yields:
            float32 of shape ``(samples, channels)``.

        Raises:
            ValueError: the file is damaged.
        """
        left = self.num_samples if self._exact and self.num_samples is not None else None
        resampler = self._av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.sample_rate)
        try:
            for frame in self._container.decode(self._stream):
                for converted in resampler.resample(frame):
                    samples = converted.to_ndarray().T[:left]
                    left = None if left is None else left - len(samples)
                    yield samples
        except self._av.FFmpegError as error:
            raise ValueError(f"{self._path} is damaged: {error.strerror}") from None

    def _decode(self, start: int, stop: int | None, max_samples: int | None) -> tuple[int, list[np.ndarray]]:
        """Decode from at or before ``start`` until ``stop``; returns the index of the first decoded sample and the chunks."""
        origin = self._stream.start_time or 0
        first = max(0, start - int(_PREROLL_SECONDS * self.sample_rate)) if self._exact else 0
        time_base = self._stream.time_base or Fraction(1, self.sample_rate)
        if first:
            self._container.seek(
                origin + int(Fraction(first, self.sample_rate) / time_base), stream=self._stream, backward=True
            )
        resampler = self._av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.sample_rate)
        position, end, chunks = None, 0, []
        for frame in self._container.decode(self._stream):
            if position is None:
                position = round((frame.pts - origin) * time_base * self.sample_rate) if first else 0
                end = position
            for converted in resampler.resample(frame):
                chunks.append(converted.to_ndarray())
                end += chunks[-1].shape[1]
                check_samples(self._path, end - max(position, start), self.channels, max_samples)
            if stop is not None and end >= stop:
                break
        return position or 0, chunks

    def close(self) -> None:
        """Close the file."""
        self._container.close()
