"""Ogg: pages with checksums and numbers, so that what is missing or damaged is known without decoding.

References:
    RFC 3533, The Ogg Encapsulation Format Version 0; RFC 7845, Ogg Encapsulation for the Opus Audio Codec.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.link import Link, Span

__all__ = ["walk_ogg"]

_MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBQIIIB")  # magic, version, flags, granule, serial, number, checksum, segments
_CONTINUES, _BEGINS, _ENDS = 1, 2, 4  # flags
_LONGEST_PAGE = 27 + 255 + 255 * 255
_MOST_LOST = 1 << 20  # a greater step of the page number is a new count, not a loss
_NO_GRANULE = (1 << 64) - 1  # the page says nothing of the time
_MOST_LOST_AT_START = 64
_VORBIS, _OPUS = b"\x01vorbis", b"OpusHead"
_SOUND = (_VORBIS, _OPUS, b"\x7fFLAC", b"Speex   ")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    data: bytes  # all of it; shorter than `length` at the end of a cut file
    length: int

    @property
    def body(self) -> bytes:
        return self.data[27 + len(self.lacing) :]

    @property
    def damaged(self) -> bool:
        """Whether the page's checksum is wrong; of a page that seems to extend beyond the end of the file, whether another page follows."""
        if len(self.data) < self.length:
            return _MAGIC in self.data[1:]
        return checksum(self.data) != struct.unpack_from("<I", self.data, 22)[0]


def checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page, its own field taken as zero: the polynomial of zlib's, but not mirrored, and begun and ended with zero."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    value = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_REVERSED), "big")


def walk_ogg(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Pages of one link, those with a wrong checksum left out, the complete packets of a last page that is cut short put into a page.

    A link is one set of streams that begin together; a stream that begins after other pages begins the next link.

    Args:
        queue: byte queue at the first page.
        link: link that is filled.
    """
    numbers: dict[int, int] = {}  # of the page expected next, by stream
    open_streams: set[int] = set()
    sound: int | None = None
    name = b""  # of its codec
    before = 0  # samples that Opus gives before the sound
    granule = 0  # time of the sound so far
    begun = False  # whether a page was seen that begins no stream
    torn = 0  # pages with a wrong checksum since the last good one
    while not queue.at_end():
        page = _next_page(queue)
        if page is None or page.damaged:
            torn += page is not None
            yield from _to_next_page(queue, link, counted=page is None)
            continue
        if page.flags & _BEGINS and begun:
            break
        if len(page.data) < page.length:  # the file ends within the page
            link.cut = "the last page is incomplete"
            queue.skip(len(page.data))
            link.end = None
            yield _complete_packets(page, granule if page.serial == sound and name == _OPUS else None)
            continue
        begun = begun or not page.flags & _BEGINS
        if page.flags & _BEGINS:
            open_streams.add(page.serial)
            if sound is None and page.body.startswith(_SOUND):
                sound, name = page.serial, next(mark for mark in _SOUND if page.body.startswith(mark))
                before = int.from_bytes(page.body[10:12], "little") if name == _OPUS else 0
        lost = page.number - numbers.get(page.serial, page.number) & 0xFFFFFFFF
        if lost > (_MOST_LOST if granule else _MOST_LOST_AT_START):
            lost = 0  # another count: of a broadcast that someone joined late
        link.damaged_parts += max(torn, lost)
        torn = 0
        numbers[page.serial] = page.number + 1 & 0xFFFFFFFF
        if page.flags & _ENDS:
            open_streams.discard(page.serial)
        if page.serial == sound and 0 < page.granule < _NO_GRANULE and not (page.flags & _BEGINS):
            granule = page.granule
            link.end = granule - before
        if page.flags & _ENDS and page.serial == sound and name == _VORBIS:
            # FFmpeg leaves out too much of a stream of one page: who knows `end` cuts the padding off, and decoders get no mark
            queue.skip(page.length)
            yield _signed(page.data[:5] + bytes([page.flags & ~_ENDS]) + page.data[6:])
            continue
        yield page.length
    link.damaged_parts += torn
    if sound in open_streams and not link.cut:
        link.cut = "the mark of its end is missing"


def _next_page(queue: ByteQueue) -> _Page | None:
    """Peek at the page at the queue's position without consuming it; None where there is none."""
    head = queue.peek(27)
    if len(head) < 27 or not head.startswith(_MAGIC):
        return None
    _, version, flags, granule, serial, number, _, segments = _HEADER.unpack(head)
    if version != 0:
        return None
    lacing = queue.peek(27 + segments)[27:]
    length = 27 + segments + sum(lacing)
    return _Page(flags, granule, serial, number, lacing, queue.peek(length), length)


def _to_next_page(queue: ByteQueue, link: Link, counted: bool) -> Iterator[Span]:
    """Leave out what is no page, up to the next one."""
    left_out = 0
    while not queue.at_end():
        ahead = queue.look(_LONGEST_PAGE)
        found = ahead.find(_MAGIC, 0 if left_out else 1)
        left_out += queue.skip(found if found >= 0 else max(1, len(ahead) - 3))
        if found >= 0:
            break
    if counted:
        link.foreign(left_out)
    yield b""


def _complete_packets(page: _Page, opus_from: int | None) -> bytes:
    """Rebuild a page from the packets whose last byte is there: a decoder drops a page with a wrong checksum with all its packets.

    Args:
        page: page whose end is missing.
        opus_from: time before the page, if it is of Opus: FFmpeg asks for the time after it there, and only there.
    """
    ends = [index + 1 for index, size in enumerate(page.lacing) if size < 255]
    ends = [end for end in ends if sum(page.lacing[:end]) <= len(page.body)]
    if not ends:
        return b""
    lacing = page.lacing[: ends[-1]]
    body = page.body[: sum(lacing)]
    granule = _NO_GRANULE
    if opus_from is not None:
        starts = [0, *(sum(lacing[:end]) for end in ends)]
        skipped = bool(page.flags & _CONTINUES)  # its duration stands in its first byte, on the page before
        granule = opus_from + sum(opus_samples(body[start:stop]) for start, stop in list(pairwise(starts))[skipped:])
    header = _HEADER.pack(_MAGIC, 0, page.flags & ~_ENDS, granule, page.serial, page.number, 0, len(lacing))
    return _signed(header + lacing + body)


def _signed(page: bytes) -> bytes:
    return page[:22] + struct.pack("<I", checksum(page)) + page[26:]


def opus_samples(packet: bytes) -> int:
    """Duration of an Opus packet in samples of 48 kHz, from its first byte (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    mode = packet[0] >> 3
    if mode < 12:  # SILK
        frame = (480, 960, 1920, 2880)[mode & 3]
    elif mode < 16:  # hybrid
        frame = (480, 960)[mode & 1]
    else:  # CELT
        frame = (120, 240, 480, 960)[mode & 3]
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[packet[0] & 3]
    return frame * frames
