"""Native FLAC: the header that states the length, and frames that say where they stand.

References:
    RFC 9639, Free Lossless Audio Codec.
"""

import re
from collections.abc import Iterator

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.link import Link, Span, pass_on, until_pattern

__all__ = ["FLAC", "FlacPositions", "walk_flac"]

FLAC = b"fLaC"
_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with the header of STREAMINFO, which comes first and has 34 bytes


def walk_flac(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one FLAC file.

    Args:
        queue: byte queue at the file's beginning.
        link: link whose fields are filled in.
    """
    head = queue.peek(42)
    if _START.match(head) and len(head) == 42:
        packed = int.from_bytes(head[18:26], "big")
        link.sample_rate, link.channels = packed >> 44, (packed >> 41 & 7) + 1
        link.samples = packed & (1 << 36) - 1 or None
        link.open_ended = link.samples is None
    yield from pass_on(queue, 4)
    last = False
    while not last and len(head := queue.peek(4)) == 4 and head[0] & 0x7F <= 6:  # pictures may hold other files
        last = bool(head[0] & 0x80)
        if not (yield from pass_on(queue, 4 + int.from_bytes(head[1:], "big"))):
            link.cut = "the file ends within the header"
    if not queue.at_end():
        yield from until_pattern(queue, _START, 8)


class FlacPositions:
    """Positions of FLAC frames by their own numbers, which show in any container what is missing before a frame.

    Args:
        header: STREAMINFO, 34 bytes, perhaps with other bytes before it.
    """

    def __init__(self, header: bytes) -> None:
        self._block = int.from_bytes(header[-34:-32], "big") if len(header) >= 34 else 0

    def first_sample(self, packet: bytes) -> int | None:
        """Index of the first sample of a frame; None where the bytes do not tell.

        Example:
            >>> FlacPositions(bytes.fromhex("1000") * 17).first_sample(bytes.fromhex("fff8c9180300"))
            12288
        """
        if len(packet) < 6 or packet[0] != 0xFF or packet[1] & 0xFE != 0xF8:
            return None
        lead = packet[4]
        more = 0 if lead < 0x80 else 7 - (lead ^ 0xFF).bit_length()  # like UTF-8, up to 36 bits
        if (lead >= 0x80 and not 1 <= more <= 6) or len(packet) < 5 + more:
            return None
        number = lead & (0x7F if not more else (1 << 6 - more) - 1)
        for byte in packet[5 : 5 + more]:
            if byte & 0xC0 != 0x80:
                return None
            number = number << 6 | byte & 0x3F
        if packet[1] & 1:  # blocks of different lengths are counted in samples
            return number
        return number * self._block if self._block else None
