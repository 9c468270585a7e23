"""The bytes of a file or pipe from front to back, with a look ahead."""

from typing import BinaryIO

__all__ = ["ByteQueue"]

_CHUNK_BYTES = 1 << 16


class ByteQueue:
    """Queue of a file's bytes that can be peeked at before they are consumed; it never waits for more than was requested.

    Args:
        file: open binary file or pipe.
        size: bytes of the file from its position on, if it can be seeked: skipping then reads nothing. None for a pipe.

    Attributes:
        position: number of bytes consumed so far.

    Example:
        >>> import io
        >>> queue = ByteQueue(io.BytesIO(b"RIFF and so on"))
        >>> bytes(queue.peek(4)), queue.skip(5), queue.read(3), queue.position
        (b'RIFF', 5, b'and', 8)
    """

    def __init__(self, file: BinaryIO, size: int | None = None) -> None:
        self._file, self._size = file, size
        # what is there at once: `read` of a buffered pipe would wait for all of a chunk
        self._some = getattr(file, "read1", file.read)
        self._ahead = bytearray()
        self._ended = False
        self.position = 0

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end, without consuming them."""
        self._fetch(count)
        return bytes(self._ahead[:count])

    def look(self, least: int) -> bytes:
        """Return all bytes read ahead, at least ``least`` of them or up to the end, without consuming them."""
        self._fetch(least)
        return bytes(self._ahead)

    def read(self, most: int) -> bytes:
        """Take the next bytes: at least one except at the end."""
        self._fetch(1)
        data = bytes(self._ahead[:most])
        del self._ahead[:most]
        self.position += len(data)
        return data

    def skip(self, count: int) -> int:
        """Skip ``count`` bytes; return how many there were."""
        done = min(count, len(self._ahead))
        del self._ahead[:done]
        if self._size is not None and done < count and not self._ended:
            more = max(0, min(count - done, self._size - self.position - done))
            self._file.seek(more, 1)
            done += more
        self.position += done
        while done < count and (data := self.read(min(count - done, _CHUNK_BYTES))):
            done += len(data)
        return done

    def at_end(self) -> bool:
        """Return whether the end is reached; this waits for a byte."""
        self._fetch(1)
        return not self._ahead

    def _fetch(self, least: int) -> None:
        while len(self._ahead) < least and not self._ended:
            data = self._some(max(_CHUNK_BYTES, least - len(self._ahead)))
            self._ended = not data
            self._ahead += data or b""
