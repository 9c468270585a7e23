import struct
import zlib

import pytest

FORMS = {3: "H", 4: "I", 5: "II", 7: "B", 11: "f", 16: "Q"}


def write_tiff(path, parts, tags, order="<", big=False, followers=()):
    """A TIFF file by hand.

    Args:
        parts: bytes of the strips or tiles.
        tags: number → value, values, bytes, or (type, values) where it is not a short; without the places of the strips.
        order: of bytes.
        big: BigTIFF.
        followers: tags of further pages, which get the same strips.
    """
    word = "Q" if big else "I"
    size = struct.calcsize("=" + word)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    tiled = 322 in tags
    for index, page in enumerate((tags, *followers)):
        number = {273 + 51 * tiled: (16 if big else 4, None), 279 + 46 * tiled: (4, [len(part) for part in parts])}
        fields = sorted((number | {tag: typed(value) for tag, value in page.items()}).items())
        start = len(head) + (8 if big else 2) + len(fields) * (4 + 2 * size) + size
        lengths = [
            len(values if values is not None else parts) * struct.calcsize("=" + FORMS[kind][0])
            for _, (kind, values) in fields
        ]
        data_at = start + sum(length for length in lengths if length > size)
        offsets = [data_at + sum(len(part) for part in parts[:at]) for at in range(len(parts))]
        body, far = b"", b""
        for tag, (kind, values) in fields:
            values = offsets if values is None else values
            raw = struct.pack(f"{order}{len(values)}{FORMS[kind][0]}", *values)
            body += struct.pack(f"{order}HH{word}", tag, kind, len(values) // len(FORMS[kind]))
            if len(raw) <= size:
                body += raw.ljust(size, b"\0")
            else:
                body += struct.pack(order + word, start + len(far))
                far += raw
        end = data_at + sum(map(len, parts))
        body = (
            struct.pack(order + ("Q" if big else "H"), len(fields))
            + body
            + struct.pack(order + word, 0 if index == len(followers) else end)
        )
        head += body + far + b"".join(parts)
    path.write_bytes(head)
    return path


def typed(value):
    if isinstance(value, bytes):
        return 7, value
    if isinstance(value, tuple):
        return value
    values = value if isinstance(value, list) else [value]
    return (4 if max(values) > 65535 else 3), values


def write_png(path, width, height, bits, colour_type, rows, *chunks, interlace=0, data=None):
    """A PNG file by hand; rows are bytes without their filter."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace))
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)) if data is None else data
    data = chunk(b"IDAT", data)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*c) for c in chunks) + data + chunk(b"IEND", b""))
    return path


@pytest.fixture
def tiff():
    return write_tiff


@pytest.fixture
def png():
    return write_png
