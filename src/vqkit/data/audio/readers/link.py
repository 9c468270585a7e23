"""Reader of one link's samples, as many as its header promises: silence for what is missing at its end, no padding of codecs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vqkit.data.audio.containers import ByteQueue, FileSlice, Link, LinkStream
from vqkit.data.audio.readers.av import AvReader
from vqkit.data.audio.readers.findings import Findings
from vqkit.data.audio.readers.libsndfile import SoundfileReader, Undecodable
from vqkit.data.audio.readers.pcm import PcmReader
from vqkit.data.audio.readers.pieces import Decoder, Piece

__all__ = ["LinkReader"]

_BY_FFMPEG = {
    "mpeg",
    "adts",
    "ac3",
    "mp4",
    "matroska",
    "avi",
    "wavpack",
}  # libmpg123 would print its opinion to the terminal
_MOST_PADDING = 8192  # samples behind the stated end that are padding; more than that is sound, and the header wrong
_LEAST_SHARE = 0.01  # of what a header promises; if less is there, it is wrong
_CONTAINER_SECONDS = 0.1  # what containers of several streams may state too much
_HALF_A_FRAME = 575  # samples, of MP3
_NOTED_BEHIND = 1024  # bytes: fewer are tags
_BLOCK_SAMPLES = 1 << 16


class LinkReader:
    """Reader of one link with the decoder that reads it exactly: libsndfile where it is whole, others for PCM and damaged links.

    Args:
        source: the file, if the link is all of it; otherwise the link's bytes, from its beginning.
        link: facts of its structure; of a pipe complete only when all bytes were read.
        findings: collects notes and losses.

    Attributes:
        sample_rate: sample rate of its first sample, in Hz.
        layout: layout of its first sample.
        num_samples: number of samples in each channel, where that is known exactly.
        seconds: the duration that the header states, perhaps an estimate; None where it says nothing.

    Raises:
        ValueError: no one can read it.
    """

    def __init__(self, source: Path | FileSlice | LinkStream, link: Link, findings: Findings) -> None:
        self._source, self._link, self._findings = source, link, findings
        self._file: BinaryIO | None = None
        self._decoder = self._opened()
        self.sample_rate, self.layout = self._decoder.sample_rate, self._decoder.layout
        exact = isinstance(self._decoder, SoundfileReader | PcmReader) or link.kind == "flac"
        stated = self._stated()
        self.num_samples = stated if exact else None
        counted = link.frame_seconds if link.stop else 0.0
        self.seconds = stated / self.sample_rate if stated is not None else counted or self._decoder.seconds

    def _opened(self) -> Decoder:
        link, source = self._link, self._source
        if isinstance(source, Path) and link.whole and not link.open_ended and link.kind not in _BY_FFMPEG:
            try:
                return SoundfileReader(source)
            except ValueError:
                pass
        if link.pcm is not None and link.sample_rate > 0 and link.channels > 0:
            return PcmReader(self._bytes(), link, link.pcm)
        try:
            cleaned = link.kind == "ogg" and not link.whole  # without what is damaged
            # the pages of a pipe that were lost are known when their successors are decoded
            return AvReader(self._bytes() if cleaned else source, self._findings, self._begins_with_loss)  # type: ignore[arg-type]
        except ValueError as error:
            self.close()
            if link.fault:
                raise ValueError(f"{error}: {link.fault}") from None
            raise

    def _begins_with_loss(self) -> bool:
        """Return whether sound is missing before the first decoded sample and time stamps say how much."""
        link = self._source.link if isinstance(self._source, LinkStream) else self._link
        return link.kind == "ogg" and link.damaged_parts > 0

    def _bytes(self) -> BinaryIO:
        """Return the link from its first byte, for decoders that read from front to back."""
        if not isinstance(self._source, Path):
            return self._source  # type: ignore[return-value]
        self._file = self._source.open("rb")
        if self._link.kind != "ogg":
            return self._file
        return LinkStream(ByteQueue(self._file))  # type: ignore[return-value]

    def _stated(self) -> int | None:
        """Return the number of samples that the header promises, at the first sample's rate; None where it promises nothing credible."""
        link, decoder = self._link, self._decoder
        if isinstance(decoder, SoundfileReader):
            return decoder.num_samples
        if link.samples is not None and link.sample_rate > 0:
            number = round(link.samples * self.sample_rate / link.sample_rate)
            there = link.there
            return number if there is None or there >= number * _LEAST_SHARE else there
        if link.kind == "ogg":  # the last time mark tells the length, but not of a broadcast that someone joined late
            return link.end if link.damaged_parts and not link.cut else None
        seconds = None if link.open_ended or not isinstance(decoder, AvReader) else decoder.stated_seconds
        return None if seconds is None else round(seconds * self.sample_rate)

    def _tolerance(self) -> int:
        """Samples that may be missing without a word."""
        if self._link.kind == "mpeg":
            return _HALF_A_FRAME
        if self._link.samples is None and isinstance(self._decoder, AvReader) and not self._decoder.lossless:
            return round(_CONTAINER_SECONDS * self.sample_rate)
        return 0

    def _limit(self) -> int | None:
        """Samples after which padding begins."""
        if self._link.kind == "ogg":
            return None if isinstance(self._decoder, SoundfileReader) else self._link.end
        if self._link.kind == "mp4" and self._link.open_ended and not isinstance(self._source, LinkStream):
            return (
                None if self._decoder.seconds is None else round(self._decoder.seconds * self.sample_rate)
            )  # of all fragments
        return None if self._link.kind in ("matroska", "avi") else self._stated()

    def pieces(self, start: int) -> Iterator[Piece]:
        """The samples from this one on, of the first rate; once."""
        position = start
        held: list[Piece] = []
        open_end = False
        for piece in self._decoded(start):
            count = len(piece.samples)
            position += round(count * self.sample_rate / piece.sample_rate)
            limit = None if open_end or piece.sample_rate != self.sample_rate else self._limit()
            over = 0 if limit is None else min(count, position - limit)
            if over <= 0:
                yield from held
                held = []
                yield piece
                continue
            if over < count:
                yield piece._replace(samples=piece.samples[: count - over])
            held.append(piece._replace(samples=piece.samples[count - over :]))
            if limit is not None and position - limit > _MOST_PADDING:
                yield from held
                held, open_end = [], True
        yield from self._missing_end(start, position - sum(len(piece.samples) for piece in held))

    def _decoded(self, start: int) -> Iterator[Piece]:
        try:
            yield from self._decoder.pieces(start)
        except Undecodable as damage:
            yield from self._beyond(damage.position)

    def _beyond(self, position: int) -> Iterator[Piece]:
        """Read on with FFmpeg from the position in samples at which libsndfile has given up."""
        assert isinstance(self._source, Path)
        self._decoder.close()
        try:
            other = AvReader(self._source, self._findings)
        except ValueError:
            self._findings.warn(f"cannot be read beyond {position / self.sample_rate:.3f} s")
            return
        self._decoder = other
        yield from other.pieces(round(position * other.sample_rate / self.sample_rate))

    def _missing_end(self, start: int, position: int) -> Iterator[Piece]:
        """Silence up to the stated end; and what else the structure says of losses."""
        if isinstance(self._source, LinkStream):
            self._source.drain()  # all is known of it then
        link, rate = self._link, self.sample_rate
        stated = self._stated()
        missing = 0 if stated is None else stated - position
        if stated is not None and missing > self._tolerance():
            there = min(position, self._decoder.reached)
            filled = position >= stated * _LEAST_SHARE
            if there > 0 or start > 0:
                self._findings.short(stated / rate, there / rate, filled, link.cut)
            for begin in range(0, missing if filled else 0, _BLOCK_SAMPLES):
                samples = np.zeros((min(_BLOCK_SAMPLES, missing - begin), len(self.layout)), np.float32)
                yield Piece(samples, rate, self.layout)
        elif link.cut:
            self._findings.cut(position / rate, link.cut)
        if fault := replace(link, cut="").fault:
            self._findings.warn(fault)
        if link.behind >= _NOTED_BEHIND:
            self._findings.note("behind", f"{link.behind} bytes behind the end of the sound are not read")

    def close(self) -> None:
        """Close what was opened here."""
        if hasattr(self, "_decoder"):
            self._decoder.close()
        if self._file is not None:
            self._file.close()
