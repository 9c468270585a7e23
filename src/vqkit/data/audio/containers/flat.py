"""Files of one header and the samples behind it: AU, NIST SPHERE, VOC.

References:
    AU: the header of Sun's audio files; NIST SPHERE: the package of that name, file doc/sphere.doc; VOC: Creative Labs, blocks.
"""

import re
import struct
from collections.abc import Iterator

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.chunks import left_open
from vqkit.data.audio.containers.link import Link, PcmFormat, Span, pass_behind, pass_on, pass_rest

__all__ = ["AU", "NIST", "VOC", "walk_au", "walk_nist", "walk_voc"]

AU = b".snd"
NIST = b"NIST_1A\n"
VOC = b"Creative Voice File\x1a"
_AU_TYPES = {2: "i1", 3: ">i2", 4: ">i3", 5: ">i4", 6: ">f4", 7: ">f8"}
_CUT = "the file ends within the sound"
_NIST_FIELD = re.compile(rb"^(\w+) -(?:i|r|s\d+) (\S+)", re.MULTILINE)


def walk_au(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one AU file.

    Args:
        queue: byte queue at the file's beginning, with 24 bytes at least.
        link: link whose fields are filled in.
    """
    first, size, coding, link.sample_rate, link.channels = struct.unpack_from(">IIIII", queue.peek(24), 4)
    dtype = _AU_TYPES.get(coding, "")
    frame = (int(dtype[-1]) if dtype else {1: 1, 27: 1}.get(coding, 0)) * link.channels  # 1 and 27 are µ-law and A-law
    if dtype and frame:
        link.pcm = PcmFormat(dtype, first, frame)
    if left_open(size):
        link.open_ended = True
        yield from pass_rest(queue)
        return
    yield from _samples(queue, link, first, size, frame)
    if queue.peek(4) != AU:
        yield from pass_behind(queue, link)


def walk_nist(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one NIST SPHERE file, which has a header of text.

    Args:
        queue: byte queue at the file's beginning.
        link: link whose fields are filled in.
    """
    first = int(queue.peek(16)[8:16].strip() or b"0")
    fields = dict(_NIST_FIELD.findall(queue.peek(first)))
    try:
        link.channels, link.sample_rate = int(fields[b"channel_count"]), int(fields[b"sample_rate"])
        width, count = int(fields[b"sample_n_bytes"]), int(fields[b"sample_count"])
    except (KeyError, ValueError):
        yield from pass_rest(queue)
        return
    if fields.get(b"sample_coding", b"pcm") != b"pcm":  # compressed: how long it is in bytes is not known
        yield from pass_rest(queue)
        return
    order = "<" if fields.get(b"sample_byte_format", b"01") == b"01" else ">"
    if width in (1, 2, 3, 4) and link.channels > 0:
        link.pcm = PcmFormat(f"{order}i{width}", first, width * link.channels)
    yield from _samples(queue, link, first, count * width * link.channels, width * link.channels)
    if not queue.peek(8).startswith(NIST):
        yield from pass_behind(queue, link)


def walk_voc(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one VOC file: blocks with their sizes, up to one of type 0.

    Args:
        queue: byte queue at the file's beginning.
        link: link whose fields are filled in.
    """
    yield from pass_on(queue, max(26, int.from_bytes(queue.peek(22)[20:22], "little")))
    while not queue.at_end():
        head = queue.peek(4)
        if head[0] == 0 or len(head) < 4:
            yield from pass_on(queue, 1)
            break
        if not (yield from pass_on(queue, 4 + int.from_bytes(head[1:], "little"))):
            link.cut = _CUT
    if not queue.peek(20).startswith(VOC):
        yield from pass_behind(queue, link)


def _samples(queue: ByteQueue, link: Link, first: int, size: int, frame_bytes: int) -> Iterator[Span]:
    link.samples = size // frame_bytes if frame_bytes else None
    if not (yield from pass_on(queue, first + size)):
        link.cut = _CUT
