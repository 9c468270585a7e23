"""Streams of bare frames, one after the other, each with its length in its header: MPEG audio, AAC in ADTS, AC-3.

What belongs to no frame is passed on but counted: FFmpeg's parsers leave it out without a word.

References:
    ISO/IEC 11172-3 and 13818-3 (MPEG audio), ISO/IEC 13818-7 (ADTS), ETSI TS 102 366 (AC-3); the Xing and LAME headers as LAME writes them.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.link import Link, Span, pass_on

__all__ = ["Frame", "ac3_frame", "adts_frame", "mpeg_frame", "tag_bytes", "walk_frames"]

_KBPS = {  # by version 1 or not, and layer; index 0 is a free bitrate, 15 is forbidden
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = (44100, 48000, 32000)
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES = (48000, 44100, 32000)
_HEAD_BYTES = 7  # of the longest frame header
_TAG_BYTES = 16  # of the longest header of a tag
_XING_BYTES = 192  # to the end of what is looked at in a Xing header
_MOST_LOOKED_AT = 1 << 14


@dataclass(frozen=True)
class Frame:
    """Facts of a frame's header.

    Attributes:
        length: length in bytes.
        samples: number of samples in each channel.
        sample_rate: sample rate in Hz.
        side_bytes: bytes between the header and the first place where a Xing header can stand; MPEG layer 3 only.
    """

    length: int
    samples: int
    sample_rate: int
    side_bytes: int = 0


def mpeg_frame(head: bytes) -> Frame | None:
    """Parse the header of a frame of MPEG audio at the start of the bytes; None where there is none.

    Example:
        >>> mpeg_frame(bytes.fromhex("fffb9064"))
        Frame(length=417, samples=1152, sample_rate=44100, side_bytes=32)
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    sample_rate = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _KBPS[first, layer][bitrate] * 1000
    padding = head[2] >> 1 & 1
    if layer == 1:
        return Frame((12 * bits // sample_rate + padding) * 4, 384, sample_rate)
    samples = 576 if layer == 3 and not first else 1152
    mono = head[3] >> 6 == 3
    side = 0 if layer == 2 else (17 if mono else 32) if first else (9 if mono else 17)
    return Frame(samples // 8 * bits // sample_rate + padding, samples, sample_rate, side)


def adts_frame(head: bytes) -> Frame | None:
    """Parse the header of a frame of AAC in ADTS at the start of the bytes; None where there is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_ADTS_RATES):
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return None if length < 7 else Frame(length, 1024 * ((head[6] & 3) + 1), _ADTS_RATES[head[2] >> 2 & 15])


def ac3_frame(head: bytes) -> Frame | None:
    """Parse the header of a frame of AC-3 or E-AC-3 at the start of the bytes; None where there is none."""
    if len(head) < 7 or head[:2] != b"\x0bw":
        return None
    version, rate = head[5] >> 3, head[4] >> 6
    if version <= 10:
        code = head[4] & 63
        if rate == 3 or code >= 2 * len(_AC3_KBPS):
            return None
        sample_rate = _AC3_RATES[rate]
        words = _AC3_KBPS[code >> 1] * 96000 // sample_rate + (code & 1 if rate == 1 else 0)
        return Frame(2 * words, 1536, sample_rate)
    if version > 16:
        return None
    length = 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    half = rate == 3  # then the next two bits name half of a rate, and there are six blocks
    if half and head[4] >> 4 & 3 == 3:
        return None
    sample_rate = _AC3_RATES[head[4] >> 4 & 3] // 2 if half else _AC3_RATES[rate]
    blocks = 6 if half else (1, 2, 3, 6)[head[4] >> 4 & 3]
    dependent = head[2] >> 6 == 1 or head[2] >> 3 & 7 > 0  # more channels of the same time
    return Frame(length, 0 if dependent else 256 * blocks, sample_rate)


def tag_bytes(head: bytes) -> int:
    """Return the length in bytes of the ID3v2, ID3v1 or APEv2 tag at the start of the bytes; 0 where there is none."""
    if len(head) >= 10 and head.startswith(b"ID3") and head[3] in (2, 3, 4) and max(head[6:10]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"TAG"):
        return 128
    if len(head) >= 16 and head.startswith(b"APETAGEX"):
        return 32 + struct.unpack_from("<I", head, 12)[0]
    return 0


def walk_frames(queue: ByteQueue, link: Link, frame_of: Callable[[bytes], Frame | None]) -> Iterator[Span]:
    """Frames and tags of one link.

    A Xing header begins an MP3 stream, and so does the ID3v2 tag before it: there the next link begins. Streams that were joined without
    either are one link: a decoder plays on.

    Args:
        queue: byte queue at the first frame or tag.
        link: link that is filled; its samples where a Xing header states them.
        frame_of: `mpeg_frame`, `adts_frame` or `ac3_frame`.
    """
    frames = 0
    while not queue.at_end():
        ahead = queue.look(_XING_BYTES)
        at = 0  # all frames that are there already are passed on at once
        while len(ahead) - at >= _XING_BYTES or (at == 0 and len(ahead) >= _HEAD_BYTES):
            head = ahead[at : at + _HEAD_BYTES]
            frame = frame_of(head)
            if frame is None:
                break
            if frame.side_bytes and (stated := _stated_by_xing(ahead[at : at + _XING_BYTES], frame)):
                if frames:
                    yield at
                    return
                link.samples, link.sample_rate = stated, frame.sample_rate
            frames += 1
            link.frame_seconds += frame.samples / frame.sample_rate
            at += frame.length
        if at:
            if not (yield from pass_on(queue, at)):
                link.cut = "the last frame is incomplete"
        elif length := tag_bytes(queue.peek(_TAG_BYTES)):
            if frames and frame_of is mpeg_frame and queue.peek(3) == b"ID3":
                return
            yield from pass_on(queue, length)
        else:
            yield from _foreign(queue, link, frame_of)


def _foreign(queue: ByteQueue, link: Link, frame_of: Callable[[bytes], Frame | None]) -> Iterator[Span]:
    """Pass on what is neither frame nor tag, up to two frames in a row: a single header can stand anywhere by chance."""
    skipped = 0
    while not queue.at_end():
        ahead = queue.look(_MOST_LOOKED_AT)
        at = next(
            (
                index
                for index in _places(ahead)
                if (index or skipped)
                and (tag_bytes(ahead[index : index + _TAG_BYTES]) or _two_frames(ahead, index, frame_of))
            ),
            None,
        )
        count = at if at is not None else len(ahead)
        if at is None and len(ahead) >= _MOST_LOOKED_AT:
            count = _MOST_LOOKED_AT // 2
        skipped += count
        yield count
        if at is not None:
            break
    link.foreign(skipped)


def _places(ahead: bytes) -> Iterator[int]:
    """Yield the offsets at which a frame or a tag could begin."""
    index = -1
    while (
        index := min(
            (at for mark in (b"\xff", b"\x0bw", b"ID3", b"TAG") if (at := ahead.find(mark, index + 1)) >= 0), default=-1
        )
    ) >= 0:
        yield index


def _two_frames(ahead: bytes, index: int, frame_of: Callable[[bytes], Frame | None]) -> bool:
    frame = frame_of(ahead[index : index + _HEAD_BYTES])
    if frame is None:
        return False
    after = ahead[index + frame.length : index + frame.length + _TAG_BYTES]
    return not after or frame_of(after) is not None or bool(tag_bytes(after))


def _stated_by_xing(start: bytes, frame: Frame) -> int:
    """Return the number of samples that the Xing or Info header in a stream's first frame states; 0 where it has none."""
    for protected in (0, 2):  # bytes of a checksum after the header
        at = 4 + protected + frame.side_bytes
        if start[at : at + 4] in (b"Xing", b"Info") and not any(start[4 + protected : at]):
            break
    else:
        return 0
    flags = int.from_bytes(start[at + 4 : at + 8], "big")
    if not flags & 1:
        return 0
    frames = int.from_bytes(start[at + 8 : at + 12], "big")
    lame = at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    delays = start[lame + 21 : lame + 24]
    padding = 0
    if start[lame : lame + 4] in (b"LAME", b"Lavf", b"Lavc") and len(delays) == 3:
        padding = (delays[0] << 4 | delays[1] >> 4) + ((delays[1] & 15) << 8 | delays[2])
    return max(0, frames * frame.samples - padding)
