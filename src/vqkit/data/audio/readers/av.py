"""Read the sound of what FFmpeg knows: m4a, mp4, webm, mka, mp3 and many more, through PyAV; and of what is damaged."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.audio.containers import FlacPositions
from vqkit.data.audio.readers.findings import Findings
from vqkit.data.audio.readers.pieces import Piece, as_float
from vqkit.types import need

__all__ = ["FORMATS", "AvReader"]

# Containers that hold their sound themselves. FFmpeg also "reads" playlists and scripts (hls, dash, concat, sdp, image2, lavfi …), which
# open other files, addresses or devices, whatever the protocols allowed; a list of what is refused would miss the next one.
FORMATS = (
    "aa,aac,ac3,adx,aea,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,bonk,caf,dsf,dts,dtshd,dv,eac3,epaf,flac,flv,gsm,gxf,iff,ilbc,ircam,"
    "kux,lc3,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,paf,pvf,qcp,qoa,rka,rm,rso,sbc,sds,shn,"
    "sox,spdif,tak,truehd,tta,voc,w64,wav,wavarc,wsd,wtv,wv,xwma"
)
_PREROLL_SECONDS = 0.25  # codecs with overlapping windows need some packets before the first exact sample
_LEAST_GAP_SECONDS = 0.005  # time stamps of Matroska and FLV are rounded to milliseconds
_LONGEST_GAP_SECONDS = 10.0  # a longer step of time stamps in a broadcast is another recording, not a loss
_BARE = ("aac", "ac3", "eac3")  # frames without time stamps of their own
_BROADCAST = {"mpegts", "mpeg", "flv", "asf", "asf_o"}
_LOSSLESS = {"flac", "wv", "tta", "ape", "tak"}
_STATED = _LOSSLESS | {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "mpc", "mpc8"}
_MOST_SILENCE = 99  # times what was there before: more is a wrong time stamp
_MOST_FAILED_READS = 16


class AvReader:
    """Reader of a file's first audio stream that FFmpeg can decode; `pieces` can be called once.

    Args:
        source: an existing file, or an open binary file or pipe at its beginning.
        findings: collects notes and losses.
        begins_with_loss: called when the first samples were decoded: whether time before them was lost, and stamps count from 0.

    Attributes:
        sample_rate: sample rate of the first sample, in Hz.
        layout: layout of the first sample.
        num_samples: None, since the header's number is checked by the caller that joins links.
        seconds: duration as the header says, perhaps an estimate.
        exact: whether the container states the length to the sample, and names exact samples after a seek.

    Raises:
        ValueError: FFmpeg cannot read it, it has no audio stream, or none that can be decoded.
    """

    def __init__(
        self, source: Path | BinaryIO, findings: Findings, begins_with_loss: Callable[[], bool] = lambda: False
    ) -> None:
        self._av = need("av", "audio")
        self._findings, self._begins_with_loss = findings, begins_with_loss
        # "file:" keeps a name with a colon from being taken for a protocol
        opened, allowed = (f"file:{source}", "file") if isinstance(source, Path) else (source, "pipe")
        try:
            options = {"protocol_whitelist": allowed, "format_whitelist": FORMATS}
            self._container = self._av.open(opened, options=options)
        except self._av.FFmpegError:
            raise ValueError(f"{findings.name} is not audio that soundfile or PyAV can read") from None
        try:
            self._open()
        except ValueError:
            self._container.close()
            raise

    def _open(self) -> None:
        name, streams = self._findings.name, self._container.streams.audio
        if not streams:
            raise ValueError(f"{name} has no audio stream")
        decodable = [stream for stream in streams if stream.codec_context is not None]
        if not decodable:
            raise ValueError(f"{name} holds sound of a codec that FFmpeg has no decoder for")
        self._stream = stream = decodable[0]
        if len(streams) > 1:
            number = list(streams).index(stream) + 1
            self._findings.note("tracks", f"{len(streams)} sound tracks: number {number} is read")
        self.sample_rate: int = stream.sample_rate
        if self.sample_rate <= 0 or stream.channels <= 0:
            raise ValueError(f"{name} is not audio that soundfile or PyAV can read")
        self.layout = _layout(stream.layout)
        self._flac = None
        if stream.codec_context.name == "flac":
            # a frame with a wrong checksum would be played as noise; by packets, not in threads: its number stands in the packet
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            stream.codec_context.thread_count = 1
            self._flac = FlacPositions(bytes(stream.codec_context.extradata or b""))
        self._time = float(stream.time_base or 0)
        self._format = self._container.format.name
        # Only the mp4 family states the exact length, and only there do time stamps after a seek name exact samples:
        # Matroska and WebM round them to milliseconds, MP3 estimates them.
        self.exact = "mp4" in self._format and 0 < self._time <= 1 / self.sample_rate
        self.num_samples: int | None = None
        self.reached = 0
        self.seconds = self._duration()

    def _duration(self) -> float | None:
        if self._stream.duration is not None and self._time:
            return float(self._stream.duration * Fraction(self._stream.time_base)) or None
        return (self._container.duration or 0) / 1_000_000 or None

    @property
    def stated_seconds(self) -> float | None:
        """Duration in seconds as the header states it, if it is no estimate and of this stream alone."""
        alone = self._stream.duration is not None or len(self._container.streams) == 1
        return self.seconds if self._format in _STATED and alone else None

    @property
    def lossless(self) -> bool:
        """Whether the stated duration is exactly that of the samples."""
        return self._format in _LOSSLESS

    def pieces(self, start: int) -> Iterator[Piece]:
        """The samples from this one on, with silence where packets are missing or cannot be decoded."""
        first = max(0, start - int(_PREROLL_SECONDS * self.sample_rate)) if self.exact else 0
        origin = self._stream.start_time or 0
        if first:
            offset = origin + int(first / self.sample_rate / self._time)
            self._container.seek(offset, stream=self._stream, backward=True)
        self.reached = first
        position: int | None = None  # of the next sample, in samples of the first rate
        for piece, at in self._filled(first / self.sample_rate):
            if position is None:
                position = round((at - origin * self._time) * self.sample_rate) if first and at is not None else 0
            self.reached = position + round(len(piece.samples) * self.sample_rate / piece.sample_rate)
            skipped = round(max(0, start - position) * piece.sample_rate / self.sample_rate)
            if skipped < len(piece.samples):
                yield piece._replace(samples=piece.samples[skipped:])
            position = self.reached

    def _filled(self, made: float) -> Iterator[tuple[Piece, float | None]]:
        """Pieces with their time stamps in seconds, and silence where the stamps leave a gap; ``made`` counts seconds."""
        end: float | None = None  # time after the last piece, by time stamps
        failed_end: float | None = None  # time after the packets that failed since then
        piece: Piece | None = None
        for packet, frames, failed in self._decoded():
            if failed:
                self._findings.undecodable(made)
                stamped = packet.pts is not None and bool(self._time)
                failed_end = (packet.pts + (packet.duration or 0)) * self._time if stamped else failed_end or 0.0
                continue
            if packet.is_corrupt:
                self._findings.damaged(made)
            for frame in frames:
                piece, at = self._piece(frame), self._place(packet, frame)
                length = len(piece.samples) / piece.sample_rate
                if at is not None:
                    end = self._beginning(at, failed_end is not None) if end is None else end
                    if at - end >= (0.5 / self.sample_rate if self._flac else max(length / 2, _LEAST_GAP_SECONDS)):
                        for silence in self._silence(piece, at - end, made, failed_end is not None):
                            yield silence, None
                            made += len(silence.samples) / silence.sample_rate
                    # FFmpeg counts bare frames at the rate of the first one, also where the rate changes
                    clock = self.sample_rate if self._format in _BARE else piece.sample_rate
                    end = at + len(piece.samples) / clock
                yield piece, at
                made += length
                failed_end = None
        if failed_end is not None and piece is not None and end is not None and failed_end - end >= _LEAST_GAP_SECONDS:
            for silence in self._silence(piece, failed_end - end, made, True):
                yield silence, None

    def _beginning(self, at: float, failed: bool) -> float:
        """Time of the first sample, where the first that was decoded is at ``at``; before it packets may have failed."""
        if self._begins_with_loss():
            return 0.0
        if not failed:
            return at
        return 0.0 if self._flac else (self._stream.start_time or 0) * self._time

    def _place(self, packet: Any, frame: Any) -> float | None:
        """Time of a frame's first sample in seconds, as the frame or its packet says."""
        if self._flac is not None:
            number = self._flac.first_sample(bytes(packet))
            return None if number is None else number / frame.sample_rate
        return None if frame.pts is None or not self._time else frame.pts * self._time

    def _silence(self, like: Piece, seconds: float, made: float, failed: bool) -> Iterator[Piece]:
        if self._format in _BROADCAST and seconds > _LONGEST_GAP_SECONDS:
            return
        if seconds > _LONGEST_GAP_SECONDS and seconds > made * _MOST_SILENCE:
            self._findings.warn(f"the time stamps step by {seconds:.3f} s at {made:.3f} s: not filled with silence")
            return
        count = round(seconds * like.sample_rate)
        self._findings.silence(made, count / like.sample_rate, missing=not failed)
        for begin in range(0, count, like.sample_rate):
            samples = np.zeros((min(like.sample_rate, count - begin), len(like.layout)), np.float32)
            yield like._replace(samples=samples)

    def _decoded(self) -> Iterator[tuple[Any, list[Any], bool]]:
        """Packets, their frames, and whether the decoder has refused them."""
        failures = 0
        while failures < _MOST_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    try:
                        frames = packet.decode()
                    except self._av.FFmpegError:
                        yield packet, [], True
                    else:
                        failures = 0
                        yield packet, frames, False
                return
            except self._av.FFmpegError as error:  # of reading: what comes after it can perhaps be read
                failures += 1
                if failures == 1:
                    self._findings.warn(f"a part cannot be read: {error.strerror}")

    def _piece(self, frame: Any) -> Piece:
        layout = _layout(frame.layout)
        try:
            values = frame.to_ndarray()
        except ValueError:  # a format that NumPy does not get, such as integers of 64 bits
            converter = self._av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
            values = np.concatenate([part.to_ndarray() for part in converter.resample(frame)], axis=1)
            return Piece(values.T, frame.sample_rate, layout)
        samples = as_float(values.T if frame.format.is_planar else values.reshape(-1, len(layout)))
        return Piece(samples, frame.sample_rate, layout)

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _layout(layout: Any) -> tuple[str, ...]:
    return tuple(channel.name for channel in layout.channels)
