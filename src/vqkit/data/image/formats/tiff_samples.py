"""Samples of a TIFF page, as numbers, by what its tags say: strips or tiles, chunky or planar, any depth, predictors, byte and bit order.

Compressions whose result is bytes are undone by libtiff, through Pillow: the strips get a header that calls them gray of 8 bits, so that
nobody but us interprets them. What is compressed as an image (JPEG, fax) is not read here.

References:
    TIFF 6.0, Adobe 1992: sections 3 to 8, 14 (predictor 2), 15 (tiles). TIFF Technical Note 3, Adobe 2005: floats, predictor 3.
"""

import io
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqkit.data.image.formats.tiff_tags import TiffPage
from vqkit.data.image.pixels import CannotConvertError
from vqkit.types import need

__all__ = ["BYTE_COMPRESSIONS", "TiffLayout", "tiff_layout", "tiff_samples", "tiff_subsampled"]

_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA, _ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
BYTE_COMPRESSIONS = (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA, _ZSTD)
_WITH_PREDICTOR = (_LZW, _DEFLATE, _OLD_DEFLATE, _LZMA, _ZSTD)  # others ignore the tag, as libtiff does
_UINT, _INT, _FLOAT, _VOID = 1, 2, 3, 4
_LARGE_TILE = 1 << 22  # pixels
_MOST_BYTES = 40  # a pixel that is chunky: 5 samples of 64 bits
_BATCH_BYTES = 1 << 26  # decompressed at once
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


@dataclass(frozen=True)
class TiffLayout:
    """Layout of a page's samples: image size, sample format, strips or tiles, and compression.

    Attributes:
        width: width of the image in pixels.
        height: height of the image in pixels.
        samples: samples of a pixel.
        bits: bits of a sample.
        form: format of a sample: 1 unsigned integer, 2 signed integer, 3 float.
        planar: whether each sample has strips of its own.
        part_width: pixels of a strip's or tile's row.
        part_height: rows of a strip or tile; the last strip may have fewer.
        tiled: whether the parts are tiles.
        compression: the tag's number.
        predictor: 1 none, 2 differences, 3 differences of the bytes of floats.
    """

    width: int
    height: int
    samples: int
    bits: int
    form: int
    planar: bool
    part_width: int
    part_height: int
    tiled: bool
    compression: int
    predictor: int

    @property
    def white(self) -> float:
        """The value of full intensity."""
        return 1.0 if self.form == _FLOAT else float((1 << self.bits) - 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Strips or tiles side by side, and below each other."""
        return math.ceil(self.width / self.part_width), math.ceil(self.height / self.part_height)

    @property
    def together(self) -> int:
        """Samples that follow each other for one pixel of a part."""
        return 1 if self.planar else self.samples


def tiff_layout(page: TiffPage) -> TiffLayout:
    """Read the layout of a page's samples from its tags.

    Raises:
        CannotConvertError: the samples are of no kind that has a place in [0, 1].
        ValueError: the tags contradict each other.
    """
    width, height, samples = page.integer(256, 0), page.integer(257, 0), page.integer(277, 1)
    depths, forms = page.integers(258) or (1,), page.integers(339) or (_UINT,)
    if not 1 <= samples <= 64:
        raise CannotConvertError(f"it has {samples} samples a pixel, allowed are 1 to 64")
    if len(depths) not in (1, samples) and len(set(depths)) > 1:
        raise ValueError(f"it has {samples} samples a pixel, and {len(depths)} depths")
    if len(set(depths)) > 1:
        raise CannotConvertError(f"its samples have {', '.join(map(str, depths))} bits, allowed is one depth for all")
    if len(set(forms)) > 1:
        raise CannotConvertError(f"its samples have formats {', '.join(map(str, forms))}, allowed is one for all")
    tiled = 322 in page.fields
    part_width = page.integer(322, 0) if tiled else width
    # "one strip" is often written as 2^32 − 1 rows
    part_height = page.integer(323, 0) if tiled else min(page.integer(278, height), height)
    # a tile may be larger than the image, but not without bound
    if min(part_width, part_height) < 1 or part_width * part_height > max(4 * width * height, _LARGE_TILE):
        raise ValueError(f"its strips or tiles have {part_width} × {part_height} pixels")
    compression = page.integer(259, _NONE)
    predictor = page.integer(317, 1) if compression in _WITH_PREDICTOR else 1
    return TiffLayout(
        width, height, samples, depths[0], _UINT if forms[0] == _VOID else forms[0], samples > 1 and page.integer(284, 1) == 2,
        part_width, part_height, tiled, compression, predictor,
    )  # fmt: skip


def check_samples(layout: TiffLayout) -> None:
    """Refuse samples without a known white.

    Raises:
        CannotConvertError: signed or complex samples, integers of more than 16 bits, floats of unusual size, or an unknown predictor.
    """
    bits, predictor = layout.bits, layout.predictor
    allowed = "allowed are unsigned integers of 1 to 16 bits, and floats of 16, 32 and 64"
    if layout.together * bits > 8 * _MOST_BYTES:
        raise CannotConvertError(
            f"it has {layout.samples} samples of {bits} bits, allowed are {_MOST_BYTES} bytes a pixel"
        )
    if layout.form == _INT:
        raise CannotConvertError(f"it has signed integers of {bits} bits, {allowed}")
    if layout.form == _UINT and not 1 <= bits <= 16:
        raise CannotConvertError(f"it has integers of {bits} bits, {allowed}")
    if layout.form == _FLOAT and bits not in (16, 32, 64):
        raise CannotConvertError(f"it has floats of {bits} bits, {allowed}")
    if layout.form not in (_UINT, _FLOAT):
        raise CannotConvertError(f"it has samples of format {layout.form}, {allowed}")
    if predictor not in ((1, 2, 3) if layout.form == _FLOAT else (1, 2)) or (predictor == 2 and bits % 8):
        raise CannotConvertError(f"its predictor {predictor} is not for samples of {bits} bits")


def tiff_samples(page: TiffPage, layout: TiffLayout, wanted: Sequence[int]) -> np.ndarray:
    """Samples of every pixel.

    Args:
        page: the page.
        layout: layout of `tiff_layout`.
        wanted: numbers of the samples of a pixel.

    Returns:
        ``(height, width, wanted)``: integers as uint8 or uint16 with the values stored, floats as float32.

    Raises:
        CannotConvertError: see `check_samples`.
        ValueError: strips or tiles are missing, cut short or damaged.
    """
    check_samples(layout)
    _places(page, layout)  # before memory is taken for what is not there
    kind = np.float32 if layout.form == _FLOAT else np.uint8 if layout.bits <= 8 else np.uint16
    out = np.empty((layout.height, layout.width, len(wanted)), kind)
    row_bytes = -(-layout.part_width * layout.together * layout.bits // 8)
    for plane in sorted(set(wanted)) if layout.planar else [None]:
        for top, left, rows in _parts(page, layout, plane or 0, row_bytes, rows_of=lambda rows: rows):
            numbers = _numbers(rows, layout, page.order).reshape(len(rows), layout.part_width, layout.together)
            place = out[top : top + len(rows), left : left + layout.part_width]
            numbers = numbers[: place.shape[0], : place.shape[1]]
            if plane is None:
                place[:] = numbers[..., list(wanted)] if list(wanted) != [*range(layout.samples)] else numbers
            else:
                place[..., [index for index, one in enumerate(wanted) if one == plane]] = numbers
    return out


def tiff_subsampled(page: TiffPage, layout: TiffLayout, across: int, down: int) -> np.ndarray:
    """Y, Cb and Cr of every pixel where a unit of ``across`` × ``down`` pixels shares Cb and Cr, each repeated.

    Returns:
        ``(height, width, 3)`` uint8; errors as of `tiff_samples`.
    """
    if layout.bits != 8 or layout.form != _UINT or layout.planar or layout.predictor != 1:
        raise CannotConvertError("its subsampled YCbCr is not of 8 bits, chunky and without predictor")
    _places(page, layout)
    out = np.empty((layout.height, layout.width, 3), np.uint8)
    units, unit = -(-layout.part_width // across), across * down + 2
    for top, left, rows in _parts(page, layout, 0, units * unit, rows_of=lambda rows: -(-rows // down)):
        data = rows.reshape(len(rows), units, unit)
        luma = data[..., :-2].reshape(len(rows), units, down, across).swapaxes(1, 2).reshape(len(rows) * down, -1)
        chroma = data[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
        place = out[top : top + min(len(luma), layout.part_height), left : left + layout.part_width]
        place[..., 0] = luma[: place.shape[0], : place.shape[1]]
        place[..., 1:] = chroma[: place.shape[0], : place.shape[1]]
    return out


def _places(page: TiffPage, layout: TiffLayout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of all strips or tiles in the file, and their sizes in bytes where they are compressed."""
    # some writers have tiles behind the tags of strips
    offsets, sizes = (page.integers(tag) for tag in ((324, 325) if 324 in page.fields else (273, 279)))
    across, down = layout.grid
    needed = across * down * (layout.samples if layout.planar else 1)
    known = len(offsets) if layout.compression == _NONE else min(len(offsets), len(sizes))
    if known < needed:
        raise ValueError(f"it has {known} strips or tiles instead of {needed}")
    return offsets, sizes


def _parts(
    page: TiffPage, layout: TiffLayout, plane: int, row_bytes: int, rows_of: Any
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Top, left and the bytes of every strip or tile of a plane, ``(rows, row_bytes)``, decompressed."""
    across, down = layout.grid
    offsets, sizes = _places(page, layout)
    first = plane * across * down
    places: list[tuple[int, int, int]] = []
    batch: list[bytes] = []
    for index in range(across * down):
        top, left = index // across * layout.part_height, index % across * layout.part_width
        rows = rows_of(layout.part_height if layout.tiled else min(layout.part_height, layout.height - top))
        page.file.seek(offsets[first + index])
        if layout.compression == _NONE:  # some writers err in the sizes, which are known without them
            data = page.file.read(rows * row_bytes)
            if len(data) < rows * row_bytes:
                raise ValueError("the file ends within its pixels")
        else:
            data = page.file.read(sizes[first + index])
            if len(data) < sizes[first + index]:
                raise ValueError("the file ends within its pixels")
        places.append((top, left, rows))
        batch.append(data)
        last = index + 1 == across * down
        # only the last strip may have fewer rows
        if last or (len(batch) + 1) * rows * row_bytes > _BATCH_BYTES:
            yield from _opened(batch, places, row_bytes, layout.compression, page.integer(266, 1) == 2)
            places, batch = [], []


def _opened(
    batch: list[bytes], places: list[tuple[int, int, int]], row_bytes: int, compression: int, reverse: bool
) -> Iterator[tuple[int, int, np.ndarray]]:
    if compression == _NONE:
        data = np.frombuffer(b"".join(batch), np.uint8)
        data = _REVERSED[data] if reverse else data
    else:
        batch = [_REVERSED[np.frombuffer(part, np.uint8)].tobytes() for part in batch] if reverse else batch
        data = _decompressed(batch, row_bytes, [rows for _, _, rows in places], compression)
    rows = data.reshape(-1, row_bytes)
    start = 0
    for top, left, count in places:
        yield top, left, rows[start : start + count]
        start += count


def _decompressed(batch: list[bytes], row_bytes: int, rows: list[int], compression: int) -> np.ndarray:
    """The bytes of strips of which all but the last have as many rows."""
    plugin: Any = need("PIL.TiffImagePlugin", "image")
    pillow: Any = need("PIL.Image", "image")
    count = len(batch)
    table = 8 + 2 + 9 * 12 + 4
    start = table + (8 * count if count > 1 else 0)
    offsets = [start]
    for part in batch[:-1]:
        offsets.append(offsets[-1] + len(part))
    sizes = [len(part) for part in batch]
    tags = [
        (256, 1, row_bytes), (257, 1, sum(rows)), (258, 1, 8), (259, 1, compression), (262, 1, 1),
        (273, count, offsets[0] if count == 1 else table), (277, 1, 1), (278, 1, rows[0]),
        (279, count, sizes[0] if count == 1 else table + 4 * count),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, 4, number, value) for tag, number, value in tags) + bytes(4)
    if count > 1:
        head += struct.pack(f"<{2 * count}I", *offsets, *sizes)
    image = plugin.TiffImageFile(io.BytesIO(head + b"".join(batch)))
    image.im = pillow.new("L", image.size).im  # or Pillow would limit bytes as if they were pixels
    image.load()
    return np.asarray(image).reshape(-1)


def _numbers(rows: np.ndarray, layout: TiffLayout, order: str) -> np.ndarray:
    """Bytes of rows as numbers, ``(rows, numbers)``, perhaps with more numbers a row than there are samples."""
    count, bits = layout.part_width * layout.together, layout.bits
    if layout.predictor == 3:
        size = bits // 8
        split = np.add.accumulate(rows.reshape(len(rows), -1, layout.together), axis=1, dtype=np.uint8)
        big = split.reshape(len(rows), size, count).swapaxes(
            1, 2
        )  # bytes of equal weight lay together, the largest first
        return np.ascontiguousarray(big).view(f">f{size}").reshape(len(rows), count).astype(np.float32)
    if bits in (8, 16, 32, 64):
        size = bits // 8
        numbers = np.ascontiguousarray(rows).view(f"{order}u{size}").astype(f"=u{size}", copy=False)
        if layout.predictor == 2:
            shaped = numbers.reshape(len(rows), -1, layout.together)
            numbers = np.add.accumulate(shaped, axis=1, dtype=numbers.dtype).reshape(len(rows), -1)
        if layout.form == _FLOAT:
            with np.errstate(over="ignore"):  # beyond float32 is beyond 1, which is refused later
                return numbers.view(f"=f{size}").astype(np.float32, copy=False)
        return numbers
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    out = np.empty((len(rows), count), np.uint8 if bits <= 8 else np.uint16)
    step = max(1, (1 << 22) // max(1, count * bits))  # rows at a time: eight times as many bytes as there are bits
    for at in range(0, len(rows), step):
        split = np.unpackbits(rows[at : at + step], axis=1)[:, : count * bits].reshape(-1, count, bits)
        out[at : at + step] = split @ weights
    return out
