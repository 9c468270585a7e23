"""Files of chunks with stated sizes, uncompressed sound mostly: WAV, RF64, Wave64, AIFF and CAF.

The sizes tell where the next of joined files begins, and how many samples there should be. Recorders write the header first and complete
it at the end: one that died leaves 0, or the largest number, and the sound goes on to the end of the file.

References:
    RIFF and WAVE: Multimedia Programming Interface and Data Specifications 1.0; RF64: EBU Tech 3306; Wave64: Sony Pictures Digital;
    AIFF-C: Apple, 1991; CAF: Apple, Core Audio Format Specification 1.0.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.link import Link, PcmFormat, Span, pass_behind, pass_on, pass_rest

__all__ = ["CHUNKED", "left_open", "walk_chunks"]

_LONGEST_CHUNK = 1 << 24  # before the sound: pictures and texts; a longer one is damage
_RIFF_TAIL = bytes.fromhex("0000000010008000 00aa00389b71")  # of the GUIDs that stand for the tags of WAVE
_W64_TAIL = {b"riff": bytes.fromhex("2e91cf11a5d628db04c10000")} | dict.fromkeys(
    (b"wave", b"fmt ", b"fact", b"data"), bytes.fromhex("f3acd3118cd100c04f8edb8a")
)
_AIFF_TYPES = {b"sowt": "<i", b"fl32": ">f", b"FL32": ">f", b"fl64": ">f", b"FL64": ">f", b"raw ": "u"} | dict.fromkeys(
    (b"NONE", b"twos", b"in24", b"in32"), ">i"
)


@dataclass
class _Header:
    """Facts of a file's chunks before the sound."""

    kind: str = ""  # of the samples: "i", "u" or "f" with byte order; "" if they are compressed
    channels: int = 0
    sample_rate: int = 0
    frame_bytes: int = 0  # of one sample in all channels
    bytes_per_second: int = 0
    stated: int | None = None  # samples a channel by another chunk than that of the sound
    sizes: dict[bytes, int] = field(default_factory=dict)  # of chunks that say 0xFFFFFFFF

    def samples(self, size: int) -> int | None:
        """Count the samples in ``size`` bytes of compressed sound: another chunk's number if the rate agrees, else by the rate."""
        if not self.bytes_per_second or not self.sample_rate:
            return None
        by_rate = size * self.sample_rate / self.bytes_per_second
        return self.stated if self.stated and abs(self.stated - by_rate) < 0.1 * by_rate else round(by_rate)

    def dtype(self) -> str:
        """Return NumPy's dtype of the samples; "" if their size is unknown."""
        width, rest = divmod(self.frame_bytes, self.channels) if self.channels else (0, 1)
        allowed = {"i": (1, 2, 3, 4, 8), "u": (1,), "f": (4, 8)}.get(self.kind[-1:], ())
        return f"{self.kind}{width}" if not rest and width in allowed else ""


@dataclass(frozen=True)
class _Form:
    """Layout of one family of chunked formats.

    Attributes:
        head: bytes of the file before the first chunk.
        names: bytes of a chunk's name, and how its size is packed after it.
        size: struct format of a chunk's size.
        own: whether a chunk's size counts its name and size.
        even: chunks begin at multiples of this.
        sound: name of the chunk with the samples.
        before: bytes of the sound chunk before the first sample.
        read: reads a chunk before the sound into the header.
    """

    head: int
    names: int
    size: str
    own: bool
    even: int
    sound: bytes
    before: int
    read: Callable[[_Header, bytes, bytes], None]


def _read_wav(header: _Header, name: bytes, body: bytes, order: str = "<") -> None:
    if name == b"fmt " and len(body) >= 16:
        tag, channels, rate, per_second, block, bits = struct.unpack_from(f"{order}HHIIHH", body)
        if tag == 0xFFFE and len(body) >= 40 and body[26:40] == _RIFF_TAIL:
            tag = struct.unpack_from("<H", body, 24)[0]
        width = block // channels if channels else 0
        kinds = {1: "u" if width == 1 else f"{order}i", 3: f"{order}f"}
        header.kind = kinds.get(tag, "") if (bits + 7) // 8 <= width else ""
        header.channels, header.sample_rate, header.frame_bytes = channels, rate, block
        header.bytes_per_second = per_second
    elif name == b"fact" and len(body) >= 4:
        header.stated = struct.unpack_from(f"{order}I", body)[0]
    elif name == b"ds64" and len(body) >= 16:
        header.sizes[b"data"] = struct.unpack_from("<Q", body, 8)[0]


def _read_rifx(header: _Header, name: bytes, body: bytes) -> None:
    _read_wav(header, name, body, ">")


def _read_aiff(header: _Header, name: bytes, body: bytes) -> None:
    if name != b"COMM" or len(body) < 18:
        return
    header.channels, header.stated, bits = struct.unpack_from(">HIH", body)
    exponent, mantissa = struct.unpack_from(">HQ", body, 8)  # an 80-bit float
    header.sample_rate = round(mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63))
    header.kind = _AIFF_TYPES.get(body[18:22] or b"NONE", "")
    header.frame_bytes = header.channels * (-(-bits // 8))


def _read_caf(header: _Header, name: bytes, body: bytes) -> None:
    if name == b"desc" and len(body) >= 32:
        rate, form, flags, packet, frames, channels, _ = struct.unpack_from(">d4sIIIII", body)
        order = "<" if flags & 2 else ">"
        header.kind = f"{order}{'f' if flags & 1 else 'i'}" if form == b"lpcm" and frames == 1 else ""
        header.sample_rate, header.channels, header.frame_bytes = round(rate), channels, packet


_WAV = _Form(12, 4, "<I", False, 2, b"data", 0, _read_wav)
CHUNKED: dict[bytes, _Form] = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"BW64": _WAV,
    b"RIFX": _Form(12, 4, ">I", False, 2, b"data", 0, _read_rifx),
    b"riff": _Form(40, 16, "<Q", True, 8, b"data", 0, _read_wav),
    b"FORM": _Form(12, 4, ">I", False, 2, b"SSND", 8, _read_aiff),
    b"caff": _Form(8, 4, ">q", False, 1, b"data", 4, _read_caf),
}


def walk_chunks(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Walk through one file of chunks: up to its sound, the sound, and the chunks that belong to the file after it.

    Args:
        queue: byte queue at the file's beginning.
        link: link whose fields are filled in.
    """
    magic = queue.peek(4)
    form = CHUNKED[magic]
    head = queue.peek(form.head)
    header = _Header()
    at = form.head  # of the next chunk, from the beginning of the link
    while True:
        name, size = _chunk(queue.peek(at + form.names + 8)[at:], form)
        body = at + form.names + struct.calcsize(form.size)
        if name == form.sound:
            break
        if not name or size is None or size > _LONGEST_CHUNK:
            yield from pass_rest(queue)  # what it is, decoders may know
            return
        form.read(header, name, queue.peek(body + size)[body:])
        at = body + size + -(body + size) % form.even
    first = body + form.before
    size = header.sizes.get(form.sound, size) if size == 0xFFFFFFFF else size
    size = None if size is None else max(0, size - form.before)
    # no sound at all, and a file that goes on as its first size says: it is complete, and empty
    empty = size == 0 and _stated_end(head, form) > first
    if size is not None and left_open(size) and not empty:
        size = None
    _describe(link, header, first, size)
    if size is None:
        link.open_ended = True
        yield from pass_rest(queue)
        return
    if not (yield from pass_on(queue, first)) or not (yield from pass_on(queue, size)):
        link.cut = "the file ends within the sound"
        link.samples = link.samples or header.samples(size)
    yield from pass_on(queue, -(first + size) % form.even)
    yield from _after(queue, link, form, magic)


def _describe(link: Link, header: _Header, first: int, size: int | None) -> None:
    link.channels, link.sample_rate = header.channels, header.sample_rate
    if dtype := header.dtype():
        link.pcm = PcmFormat(dtype, first, header.frame_bytes)
        link.samples = None if size is None else size // header.frame_bytes


def left_open(size: int) -> bool:
    """Return whether a size is a placeholder for an unknown one: 0, or about the largest number of 31, 32, 63 or 64 bits."""
    return size <= 0 or any(abs(size - (1 << bits)) <= 0x1100 for bits in (31, 32, 63, 64))


def _chunk(head: bytes, form: _Form) -> tuple[bytes, int | None]:
    """Parse the head of a chunk: its name and size; no name where there is none, no size where it is open."""
    if len(head) < form.names + struct.calcsize(form.size):
        return b"", None
    name, size = head[:4], struct.unpack_from(form.size, head, form.names)[0]
    if form.names == 16 and head[4:16] != _W64_TAIL.get(name, head[4:16]):
        return b"", None
    if form.own:
        size = size - form.names - 8 if size >= form.names + 8 else 0
    return name, size if size >= 0 else None


def _stated_end(head: bytes, form: _Form) -> int:
    """Return the offset of the file's end by the size in its head; 0 where there is none, or only a placeholder."""
    if form.names == 16:
        size = struct.unpack_from("<Q", head, 16)[0]
        return 0 if left_open(size) else size
    size = struct.unpack_from(form.size, head, 4)[0] if form.head == 12 else 0
    return 0 if left_open(size) else size + 8


def _after(queue: ByteQueue, link: Link, form: _Form, magic: bytes) -> Iterator[Span]:
    """Chunks behind the sound, up to the next file of the same family or the end."""
    while not queue.at_end():
        ahead = queue.peek(form.names + 9)
        if ahead[1:5] == magic:  # a byte of padding that the form does not ask for
            yield from pass_on(queue, 1)
            continue
        if ahead[:4] == magic and (form.names != 16 or ahead[4:16] == _W64_TAIL[magic]):
            return
        name, size = _chunk(ahead, form)
        if not name.strip().isalnum() or size is None:
            yield from pass_behind(queue, link)
            return
        length = form.names + struct.calcsize(form.size) + size
        yield from pass_on(queue, length + -length % form.even)
