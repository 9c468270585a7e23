"""Numbers, byte strings and text as bytes, and back with every length checked before it is used.

Numbers are unsigned LEB128: seven bits a byte, the lowest first, the top bit set on all bytes but the last. Only the shortest spelling is
valid, so each header has one spelling.
"""

from collections.abc import Sequence

from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.limits import MAX_TEXT_BYTES

_MAX_NUMBER_BYTES = 9  # 63 bits


class IncompleteError(BitstreamError):
    """The bytes end before the field does: more of them may make it valid.

    Args:
        needed: number of bytes that are needed, from the beginning of the data.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(f"the bytes end early, {needed} are needed")
        self.needed = needed


def number_bytes(value: int) -> bytes:
    r"""An unsigned number of at most 63 bits.

    Example:
        >>> number_bytes(5), number_bytes(300)
        (b'\x05', b'\xac\x02')
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block_bytes(content: bytes) -> bytes:
    """A byte string behind its length."""
    return number_bytes(len(content)) + content


def runs_bytes(values: Sequence[int]) -> bytes:
    """A list of numbers as (value, how often in a row) pairs behind the number of pairs.

    Example:
        >>> runs_bytes([64, 64, 64, 9]).hex(" ")
        '02 40 03 09 01'
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return number_bytes(len(runs)) + b"".join(number_bytes(value) + number_bytes(times) for value, times in runs)


class FieldReader:
    """Reads fields one after the other from bytes.

    Args:
        data: the bytes.
        position: index of the first byte to read.

    Raises:
        IncompleteError: (by all methods) the bytes end too early.
        BitstreamError: (by all methods) a field breaks its rule or its limit.
    """

    def __init__(self, data: bytes | bytearray, position: int = 0) -> None:
        self._data = data
        self.position = position

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self.position + size
        if end > len(self._data):
            raise IncompleteError(end)
        content = bytes(self._data[self.position : end])
        self.position = end
        return content

    def number(self, name: str, limit: int, least: int = 0) -> int:
        """A number from ``least`` to ``limit``."""
        data, value, shift = self._data, 0, 0
        while True:
            if self.position >= len(data):
                raise IncompleteError(self.position + 1)
            byte = data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= 7 * _MAX_NUMBER_BYTES:
                raise BitstreamError(f"{name} has more than 63 bits")
        if shift and not byte:
            raise BitstreamError(f"{name} is not spelt in the shortest way")
        if not least <= value <= limit:
            raise BitstreamError(f"{name} is {value}, allowed are {least} to {limit}")
        return value

    def word(self) -> int:
        """Four bytes, the lowest first."""
        return int.from_bytes(self.take(4), "little")

    def block(self, name: str, limit: int) -> bytes:
        """A byte string of at most ``limit`` bytes behind its length."""
        return self.take(self.number(f"the length of {name}", limit))

    def text(self, name: str) -> str:
        """UTF-8 of at most 2^16 bytes behind its length."""
        try:
            return self.block(name, MAX_TEXT_BYTES).decode("utf-8")
        except UnicodeDecodeError:
            raise BitstreamError(f"{name} is not UTF-8") from None

    def runs(self, name: str, most: int, limit: int) -> tuple[int, ...]:
        """Read what `runs_bytes` wrote: at most ``most`` numbers from 0 to ``limit``; neighbouring runs differ."""
        values: list[int] = []
        last = -1
        for _ in range(self.number(f"the number of runs of {name}", most)):
            value = self.number(name, limit)
            if value == last:
                raise BitstreamError(f"{name} has two runs of {value} in a row")
            values += [value] * self.number(f"a run of {name}", most - len(values), least=1)
            last = value
        return tuple(values)

    def finish(self, name: str) -> None:
        """Refuse bytes that no field has read."""
        if self.position != len(self._data):
            raise BitstreamError(f"{name} has {len(self._data) - self.position} bytes too many")
