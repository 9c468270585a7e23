"""Chains of links: sound files that were joined into one file or pipe, one after the other, with nothing in between.

bytes ─ kind by their beginning ─ walk over the structure ─┬─ bytes for a decoder, of this link only
                                                           └─ `Link`: what is promised, missing, foreign
"""

import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from vqkit.data.audio.containers.boxes import EBML, WAVPACK, walk_avi, walk_boxes, walk_matroska, walk_wavpack
from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.chunks import CHUNKED, walk_chunks
from vqkit.data.audio.containers.flac import FLAC, walk_flac
from vqkit.data.audio.containers.flat import AU, NIST, VOC, walk_au, walk_nist, walk_voc
from vqkit.data.audio.containers.frames import Frame, ac3_frame, adts_frame, mpeg_frame, tag_bytes, walk_frames
from vqkit.data.audio.containers.link import Link, Span, pass_on, pass_rest, until_pattern
from vqkit.data.audio.containers.ogg import walk_ogg

__all__ = ["FileSlice", "LinkStream", "links_of", "walk"]

_LONGEST_TAG = 1 << 24
_HEAD_BYTES = 64
# What else begins with a mark long enough to stand for itself, and is not nested: where it occurs again, the next link begins.
_MARKED = [
    re.compile(mark)
    for mark in (
        rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0\0\0\0",
        rb"#!AMR(?:-WB)?\n",
        rb"nut/multimedia container\0",
        rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",  # ASF
        rb"TTA1[\x01\x02\x03]\x00",
    )
]
_Walk = Callable[[ByteQueue, Link], Iterator[Span]]


def walk(queue: ByteQueue) -> tuple[Link, Iterator[Span]]:
    """Return the link that begins at a queue's position, and the walk over it.

    The walk is to be followed span by span: the bytes of a span are consumed from the queue before the next span is requested.

    Args:
        queue: queue with at least a byte left.
    """
    kind, steps = _kind(queue)
    link = Link(kind, queue.position)
    return link, _walked(queue, link, steps)


def _walked(queue: ByteQueue, link: Link, steps: _Walk) -> Iterator[Span]:
    yield from steps(queue, link)
    link.stop = queue.position


def _kind(queue: ByteQueue) -> tuple[str, _Walk]:
    head = queue.peek(_HEAD_BYTES)
    if head.startswith(b"OggS"):
        return "ogg", walk_ogg
    if head.startswith(FLAC):
        return "flac", walk_flac
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi", walk_avi
    if _is_chunked(head):
        return "chunks", walk_chunks
    if head.startswith(AU) and len(head) >= 24:
        return "au", walk_au
    if head.startswith(NIST) and head[8:16].strip().isdigit():
        return "nist", walk_nist
    if head.startswith(VOC) and len(head) >= 26:
        return "voc", walk_voc
    if head[4:8] == b"ftyp":
        return "mp4", walk_boxes
    if head.startswith(EBML):
        return "matroska", walk_matroska
    if head.startswith(WAVPACK):
        return "wavpack", walk_wavpack
    for mark in _MARKED:
        if mark.match(head):
            return "marked", _until(mark)
    tag = min(tag_bytes(head), _LONGEST_TAG)
    after = queue.peek(tag + _HEAD_BYTES)[tag:] if tag else head
    if tag and after.startswith(FLAC):
        return "flac", _behind(tag, walk_flac)
    for kind, frame_of in (("mpeg", mpeg_frame), ("adts", adts_frame), ("ac3", ac3_frame)):
        if _two_frames(queue, tag, frame_of):
            return kind, _frames(frame_of)
    return "", lambda queue, link: pass_rest(queue)


def _is_chunked(head: bytes) -> bool:
    magic = head[:4]
    if magic == b"riff":
        return head[24:28] == b"wave" and len(head) >= 40
    if magic == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    return magic in CHUNKED and (magic == b"caff" or head[8:12] == b"WAVE")


def _two_frames(queue: ByteQueue, start: int, frame_of: Callable[[bytes], Frame | None]) -> bool:
    frame = frame_of(queue.peek(start + _HEAD_BYTES)[start:])
    if frame is None:
        return False
    after = queue.peek(start + frame.length + _HEAD_BYTES)[start + frame.length :]
    return bool(after) and (frame_of(after) is not None or bool(tag_bytes(after)))


def _frames(frame_of: Callable[[bytes], Frame | None]) -> _Walk:
    return lambda queue, link: walk_frames(queue, link, frame_of)


def _until(mark: re.Pattern[bytes]) -> _Walk:
    return lambda queue, link: until_pattern(queue, mark, _HEAD_BYTES)


def _behind(tag: int, steps: _Walk) -> _Walk:
    def both(queue: ByteQueue, link: Link) -> Iterator[Span]:
        yield from pass_on(queue, tag)
        yield from steps(queue, link)

    return both


class LinkStream(io.RawIOBase):
    """The bytes of the next link of a queue, for a decoder that reads from front to back.

    Args:
        queue: queue with at least a byte left.

    Attributes:
        link: facts of the link; complete after the last byte.
    """

    def __init__(self, queue: ByteQueue) -> None:
        super().__init__()
        self._queue = queue
        self.link, self._spans = walk(queue)
        self._left = 0
        self._other = b""
        self._next()  # the header is read by now

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, at least one except at the end."""
        while not self._other and not self._left:
            if not self._next():
                return 0
        if self._other:
            data, self._other = self._other[: len(buffer)], self._other[len(buffer) :]
        else:
            data = self._queue.read(min(self._left, len(buffer)))
            self._left = self._left - len(data) if data else 0
            if not data:  # shorter than stated: the walk shall know
                return self.readinto(buffer)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Skip all bytes of the link that were not read, so that the queue is at the next link."""
        self._queue.skip(self._left)
        self._left = 0
        while self._next():
            self._queue.skip(self._left)
            self._left = 0

    def _next(self) -> bool:
        span = next(self._spans, None)
        if isinstance(span, bytes):
            self._other = span
        elif span is not None:
            self._left = span
        return span is not None


class FileSlice(io.RawIOBase):
    """File that is a part of an open file.

    Args:
        file: seekable file; it stays open.
        start: offset of the first byte.
        stop: offset after the last one.
    """

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        super().__init__()
        self._file, self._start, self._length, self._at = file, start, stop - start, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset within the part."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The offset within the part."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def links_of(file: BinaryIO, size: int) -> tuple[Link, ...]:
    """Find all links of a seekable file; bytes are read only where the structure cannot be skipped.

    Args:
        file: open, at its first byte.
        size: size of the file in bytes.
    """
    queue = ByteQueue(file, size)
    links: list[Link] = []
    while not queue.at_end():
        link, spans = walk(queue)
        for span in spans:
            if isinstance(span, int):
                queue.skip(span)
        if links and not link.kind:  # nothing that is known
            links[-1].behind += link.stop - link.start
            break
        links.append(link)
    return tuple(links)
