"""Link of a chain of joined sound files, as its bytes describe it before anything is decoded."""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from vqkit.data.audio.containers.byte_queue import ByteQueue

__all__ = ["Link", "PcmFormat", "Span", "pass_behind", "pass_on", "pass_rest", "until_pattern"]

Span = int | bytes  # so many of the next bytes as they are; or bytes in place of some that the walk has taken itself


@dataclass(frozen=True)
class PcmFormat:
    """Uncompressed samples.

    Attributes:
        dtype: dtype of NumPy, with byte order; "<i3" and ">i3" stand for three bytes.
        start: bytes of the link before the first sample.
        frame_bytes: bytes of one sample in all channels.
    """

    dtype: str
    start: int
    frame_bytes: int


@dataclass
class Link:
    """Facts of one link; complete when its last byte has been passed on.

    Attributes:
        kind: kind of container, such as ``"ogg"``; "" for one whose structure is not parsed.
        start: offset of its first byte.
        stop: offset after its last byte.
        samples: number of samples in each channel, as the header promises exactly; None where it does not.
        sample_rate: sample rate of ``samples``, in Hz.
        channels: number of channels, where the header states it.
        frame_seconds: duration of all frames so far, in formats whose frames are parsed.
        end: samples a channel to the last time mark of an Ogg stream: what its last packet holds beyond that is padding.
        pcm: layout of the samples, if they are uncompressed.
        open_ended: whether the header leaves the length open, or was never finished.
        cut: reason why the link is not whole, such as ``"the last page is incomplete"``; "" if it is.
        foreign_bytes: bytes between its parts that belong to none.
        foreign_places: number of places at which they stand.
        behind: bytes after its end that begin nothing that is known: tags, or sound that a wrong size hides.
        damaged_parts: pages that were lost or whose checksum is wrong.
    """

    kind: str
    start: int
    stop: int = 0
    samples: int | None = None
    sample_rate: int = 0
    channels: int = 0
    frame_seconds: float = 0.0
    end: int | None = None
    pcm: PcmFormat | None = None
    open_ended: bool = False
    cut: str = ""
    foreign_bytes: int = 0
    foreign_places: int = 0
    damaged_parts: int = 0
    behind: int = 0

    @property
    def there(self) -> int | None:
        """Samples a channel that its bytes hold, if they are uncompressed and have all been seen."""
        if self.pcm is None or not self.stop:
            return None
        return max(0, self.stop - self.start - self.pcm.start) // self.pcm.frame_bytes

    @property
    def fault(self) -> str:
        """Reason why the link is not whole, in words; "" if it is, as far as the structure tells."""
        parts = f"{self.damaged_parts} page{'s are' if self.damaged_parts != 1 else ' is'} lost or damaged"
        places = f"{self.foreign_places} places" if self.foreign_places != 1 else "one place"
        foreign = f"{self.foreign_bytes} bytes in {places} are no sound and are left out"
        cut = f"cut short, {self.cut}" if self.cut else ""
        return "; ".join(
            text for text in (cut, parts * bool(self.damaged_parts), foreign * bool(self.foreign_bytes)) if text
        )

    @property
    def whole(self) -> bool:
        """Whether nothing of the link is missing, as far as the structure tells."""
        return not (self.cut or self.foreign_bytes or self.damaged_parts)

    def foreign(self, count: int) -> None:
        """Count foreign bytes, which belong to no part of the link."""
        self.foreign_bytes += count
        self.foreign_places += 1


def pass_on(queue: ByteQueue, count: int) -> Generator[Span, None, bool]:
    """Pass on the next ``count`` bytes; return whether there were as many."""
    before = queue.position
    yield count
    return queue.position - before == count


def pass_rest(queue: ByteQueue) -> Iterator[Span]:
    """Pass on all bytes that are left, as they arrive."""
    while not queue.at_end():
        yield len(queue.look(1))


def pass_behind(queue: ByteQueue, link: Link) -> Iterator[Span]:
    """Pass on the bytes that are left behind the end of a link, and count them."""
    before = queue.position
    yield from pass_rest(queue)
    link.behind += queue.position - before


def until_pattern(queue: ByteQueue, pattern: re.Pattern[bytes], longest: int) -> Iterator[Span]:
    """Yield the spans up to the next occurrence of a pattern, not counting one at the first byte; or to the end.

    Args:
        queue: byte queue at the start of the search.
        pattern: pattern of the next link's beginning.
        longest: largest number of bytes that the pattern can match.
    """
    first = 1
    while True:
        ahead = queue.look(longest + 1)
        if found := pattern.search(ahead, first):
            yield found.start()
            return
        if len(ahead) <= longest:
            yield len(ahead)
            return
        yield len(ahead) - longest
        first = 0
