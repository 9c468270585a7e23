"""Containers of nested elements with stated sizes, of which only the outermost are looked at: MP4, Matroska, AVI; and WavPack.

References:
    ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), RFC 9559 (Matroska).
"""

import re
import struct
from collections.abc import Iterator

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.frames import tag_bytes
from vqkit.data.audio.containers.link import Link, Span, pass_on, pass_rest, until_pattern

__all__ = ["EBML", "WAVPACK", "walk_avi", "walk_boxes", "walk_matroska", "walk_wavpack"]

WAVPACK = b"wvpk"
EBML = b"\x1aE\xdf\xa3"
_MATROSKA = re.compile(rb"\x1aE\xdf\xa3.{1,60}?(?:matroska|webm)", re.DOTALL)  # a header, and what kind it says
_DURATION = re.compile(rb"D\x89[\x84\x88]")  # a float of four or eight bytes
_INFO_BYTES = 1 << 12  # where the duration stands, if it is known
_SEGMENT = b"\x18S\x80g"
_INITIAL = 0x800  # flag of WavPack's blocks
_CUT = "the file ends within a part whose size is stated"


def walk_boxes(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one MP4 file; a box ``ftyp`` after other boxes begins the next.

    Args:
        queue: byte queue at the first box.
        link: link whose fields are filled in.
    """
    content = False
    while not queue.at_end():
        head = queue.peek(16)
        size, name = struct.unpack_from(">I4s", head) if len(head) >= 8 else (0, b"")
        if name == b"ftyp" and content:
            return
        link.open_ended = link.open_ended or name == b"moof"  # in fragments: the header does not know how many
        content = content or name in (b"moov", b"moof", b"mdat")
        if size == 1 and len(head) == 16:
            size = struct.unpack_from(">Q", head, 8)[0]
        if size < 8 or not name.isascii():  # 0: to the end
            yield from pass_rest(queue)
            return
        if not (yield from pass_on(queue, size)) and content:
            link.cut = _CUT


def walk_matroska(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one Matroska or WebM file; an EBML header behind a segment begins the next.

    Args:
        queue: byte queue at the header.
        link: link whose fields are filled in.
    """
    segment = False
    link.open_ended = not _DURATION.search(queue.peek(_INFO_BYTES))
    while not queue.at_end():
        head = queue.peek(80)
        if segment and _MATROSKA.match(head):
            return
        name, size, length = _element(head)
        if not length:
            yield from pass_rest(queue)
            return
        segment = segment or name == _SEGMENT
        if size is None:  # written as it was recorded: it goes on to the next header
            yield from until_pattern(queue, _MATROSKA, 80)
        elif not (yield from pass_on(queue, length + size)):
            link.cut = _CUT


def walk_avi(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one AVI file; its parts after the first are called ``AVIX``.

    Args:
        queue: byte queue at the file's beginning.
        link: link whose fields are filled in.
    """
    first = True
    while not queue.at_end():
        head = queue.peek(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:11] != b"AVI":
            yield from pass_rest(queue)
            return
        if head[11:] == b" " and not first:
            return
        first = False
        size = struct.unpack_from("<I", head, 4)[0]
        if not size:
            yield from pass_rest(queue)
        elif not (yield from pass_on(queue, 8 + size + size % 2)) and queue.position - link.start < 8 + size:
            link.cut = _CUT


def walk_wavpack(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one WavPack file; a block whose first sample is number 0 begins the next, if others came before it.

    Args:
        queue: byte queue at the first block.
        link: link whose fields are filled in.
    """
    begun = False
    while not queue.at_end():
        head = queue.peek(32)
        if tag := tag_bytes(head):  # which FFmpeg takes for damage where it cannot seek
            queue.skip(tag)
            continue
        if len(head) < 32 or not head.startswith(WAVPACK):
            yield from pass_rest(queue)
            return
        size, first, samples, flags = struct.unpack_from("<I8xIII", head, 4)
        if (
            begun and samples and not first and flags & _INITIAL
        ):  # several blocks share the first samples of many channels
            return
        begun = begun or bool(samples)
        if not (yield from pass_on(queue, 8 + size)):
            link.cut = _CUT


def _element(head: bytes) -> tuple[bytes, int | None, int]:
    """Parse the header of an EBML element: its name, size (None where it is open) and length in bytes; 0 bytes where there is none."""
    name_bytes = 9 - head[0].bit_length() if head else 9
    if name_bytes > 4 or len(head) <= name_bytes:
        return b"", None, 0
    size_bytes = 9 - head[name_bytes].bit_length()
    length = name_bytes + size_bytes
    if size_bytes > 8 or len(head) < length:
        return b"", None, 0
    ones = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[name_bytes:length], "big") & ones
    return head[:name_bytes], None if size == ones else size, length
