"""TIFF: the first page, as its tags say.

Pillow chooses a mode by some of the tags and passes over others: a negative of 16 bits comes out as a negative, 12 bits sixteen times too
dark, planes of 16 bits scrambled. So the tags are read here, and what they say is converted exactly, or refused.

References:
    TIFF 6.0, Adobe 1992: sections 8 (colour), 18 (alpha), 16 (CMYK), 20 (colorimetry), 21 (YCbCr), 23 (CIE L*a*b*). TIFF Technical
    Notes, Adobe PageMaker 6.0, 1995 (ICC L*a*b*).
"""

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from vqkit.data.image.formats.colour import D50, SRGB_CURVE, SRGB_PRIMARIES, described_profile, lab_to_srgb
from vqkit.data.image.formats.modes import check_floats, decoded_by_pillow
from vqkit.data.image.formats.tiff_samples import (
    BYTE_COMPRESSIONS,
    TiffLayout,
    tiff_layout,
    tiff_samples,
    tiff_subsampled,
)
from vqkit.data.image.formats.tiff_tags import TiffPage, tiff_pages
from vqkit.data.image.pixels import CannotConvertError, StoredImage
from vqkit.types import need

__all__ = ["read_tiff"]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3, _ICC_LAB: 3}
_OTHERS = {
    4: "a mask",
    10: "ITU L*a*b*",
    32803: "a camera's raw mosaic",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
_NAMES = {_PALETTE: "a palette", _CMYK: "CMYK", _YCBCR: "YCbCr", _LAB: "L*a*b*", _ICC_LAB: "L*a*b*"}
_JPEG, _OLD_JPEG, _WEBP, _FAX = 7, 6, 50001, (2, 3, 4, 32771)
_FLOAT = 3  # of SampleFormat
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MULTIPLIED, _STRAIGHT, _COREL_ALPHA = 1, 2, 999  # of ExtraSamples


def read_tiff(file: BinaryIO, check_size: Callable[[int, int], None]) -> StoredImage:
    """The first page of a TIFF file.

    Args:
        file: open for reading, and seekable.
        check_size: called with width and height before anything is decoded.

    Returns:
        Gray, RGB or CMYK, as stored; palettes, YCbCr and L*a*b* as RGB.

    Raises:
        CannotConvertError: the tags say something that has no known place in [0, 1] gray or RGB.
        ValueError, OSError: the file is damaged or cut short.
    """
    pages = tiff_pages(file)
    page = next(pages)
    width, height = page.integer(256, 0), page.integer(257, 0)
    check_size(width, height)
    if page.integer(254, 0) & _REDUCED:
        raise CannotConvertError("its first page is a small copy of another, as in a camera's raw file")
    image = _stored(page)
    if page.integer(262, 0) in (_LAB, _ICC_LAB):
        pass  # it is in sRGB by now
    elif 34675 in page.fields:
        image.profile = page.data(34675)
    elif image.space != "CMYK":
        _describe(page, image)
    if others := sum(not another.integer(254, 0) & (_REDUCED | _MASK) for another in pages):
        image.notes.append(f"the first of {others + 1} pages; the others are left out")
    return image


def _stored(page: TiffPage) -> StoredImage:
    """Values, alpha and orientation."""
    layout = tiff_layout(page)
    meaning, notes = _meaning(page, layout)
    if meaning not in _COLOURS:
        what = _OTHERS.get(meaning, f"of photometric interpretation {meaning}")
        raise CannotConvertError(f"it is {what}, allowed are gray, RGB, palettes, CMYK, YCbCr and L*a*b*")
    if meaning == _CMYK and page.integer(332, 1) != 1:
        raise CannotConvertError("its inks are not cyan, magenta, yellow and black")
    if layout.compression not in BYTE_COMPRESSIONS:
        return _through_pillow(page, layout, meaning, notes)
    colours = 1 if meaning in (_LAB, _ICC_LAB) and layout.samples == 1 else _COLOURS[meaning]
    extra = layout.samples - colours
    if extra < 0:
        raise ValueError(f"it has {layout.samples} samples a pixel, and {colours} are needed")
    kinds = page.integers(338)
    if not kinds and meaning == _RGB and extra == 1:
        kinds = (_STRAIGHT,)  # written by many, before there was the tag
    alpha = bool(kinds) and extra > 0 and kinds[0] in (_MULTIPLIED, _STRAIGHT, _COREL_ALPHA)
    if left := extra - alpha:
        notes.append(f"{left} further sample{'s' * (left > 1)} a pixel left out")
    if meaning not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and layout.form == _FLOAT:
        raise CannotConvertError(f"it is {_NAMES[meaning]} of floats, allowed are integers")
    if meaning == _YCBCR:
        values = _ycbcr(page, layout)
        opacity = tiff_samples(page, layout, [3])[..., 0] if alpha else None
    else:
        samples = tiff_samples(page, layout, range(colours + alpha))
        values, opacity = samples[..., :colours], samples[..., colours] if alpha else None
    if layout.form == _FLOAT:
        check_floats(values)
        check_floats(values if opacity is None else opacity)
    image = StoredImage(values, layout.white, opacity, orientation=page.integer(274, 1), notes=notes)
    if meaning == _WHITE_IS_ZERO:
        image.values = values.dtype.type(layout.white) - values
    elif meaning == _PALETTE:
        image = _looked_up(page, layout, image)
    elif meaning in (_LAB, _ICC_LAB):
        image = _from_lab(page, image, layout.bits, icc=meaning == _ICC_LAB)
    if image.values.shape[-1] == 1:
        image.values = image.values[..., 0]
    return _divided(image) if alpha and kinds[0] == _MULTIPLIED else image


def _meaning(page: TiffPage, layout: TiffLayout) -> tuple[int, list[str]]:
    """The photometric interpretation; where the tag that is required is missing, what libtiff takes it to be, and a note."""
    if 262 in page.fields:
        return page.integer(262, _BLACK_IS_ZERO), []
    fax = layout.compression in _FAX
    found = _RGB if layout.samples in (3, 4) else _WHITE_IS_ZERO if fax else _BLACK_IS_ZERO
    words = {_RGB: "RGB", _WHITE_IS_ZERO: "gray, 0 white", _BLACK_IS_ZERO: "gray, 0 black"}
    return found, [f"its header does not say what its samples mean; taken for {words[found]}"]


def _divided(image: StoredImage) -> StoredImage:
    """Colours that were multiplied by alpha as they were before."""
    assert image.alpha is not None
    alpha = image.alpha.astype(np.float32) / np.float32(image.white)
    wide = alpha if image.values.ndim == 2 else alpha[..., None]
    light = image.values.astype(np.float32) / np.float32(image.white)
    image.values = np.divide(light, wide, out=np.zeros_like(light), where=wide > 0).clip(0, 1)
    image.alpha, image.white = alpha, 1.0
    return image


def _looked_up(page: TiffPage, layout: TiffLayout, image: StoredImage) -> StoredImage:
    table = np.array(page.integers(320))
    if len(table) != 3 << layout.bits:
        raise ValueError(f"its palette has {len(table)} numbers instead of {3 << layout.bits}")
    if table.max() < 256:  # some writers put 8 bits where 16 belong
        white = 255.0
    elif not (table % 256).any():  # others shift 8 bits to the left, and mean full intensity by 65280
        white = 65280.0
    else:
        white = 65535.0
    colours = table.reshape(3, -1).T.astype(np.uint16)
    if image.alpha is not None:
        image.alpha = image.alpha.astype(np.float32) * np.float32(white / image.white)
    image.values, image.white = colours[image.values[..., 0]], white
    return image


def _from_lab(page: TiffPage, image: StoredImage, bits: int, icc: bool) -> StoredImage:
    if bits not in (8, 16):
        raise CannotConvertError(f"it is L*a*b* of {bits} bits, allowed are 8 and 16")
    stored = image.values.astype(np.int32)
    lightest = 65280 if icc and bits == 16 else (1 << bits) - 1
    lab = np.zeros((*stored.shape[:2], 3), np.float32)
    lab[..., 0] = stored[..., 0] * np.float32(100 / lightest)
    if stored.shape[2] == 3:
        half = 1 << (bits - 1)
        signed = stored[..., 1:] - half if icc else (stored[..., 1:] ^ half) - half  # two's complement
        lab[..., 1:] = signed / np.float32(1 if bits == 8 else 256)
    white = page.numbers(318)
    image.values = lab_to_srgb(lab, white if len(white) == 2 and min(white) > 0 else D50)
    if stored.shape[2] == 1:
        image.values = image.values[..., :1]
    if image.alpha is not None:
        image.alpha = image.alpha.astype(np.float32) / np.float32(image.white)
    image.white = 1.0
    image.notes.append("converted from CIE L*a*b* to sRGB")
    return image


def _ycbcr(page: TiffPage, layout: TiffLayout) -> np.ndarray:
    if layout.bits != 8:
        raise CannotConvertError(f"it is YCbCr of {layout.bits} bits, allowed are 8")
    across, down = (page.integers(530) or (2, 2))[:2]
    if (across, down) == (1, 1):
        stored = tiff_samples(page, layout, range(3))
    elif across in (1, 2, 4) and down in (1, 2, 4) and layout.samples == 3:
        stored = tiff_subsampled(page, layout, across, down)
    else:
        raise CannotConvertError(f"its YCbCr is subsampled by {across} × {down} in {layout.samples} samples")
    red, green, blue = page.numbers(529) or (0.299, 0.587, 0.114)
    limits = np.array(page.numbers(532) or (0, 255, 128, 255, 128, 255), np.float32)
    if len(limits) != 6 or green == 0 or (limits[::2] == limits[1::2]).any():
        raise ValueError("its YCbCr coefficients or limits cannot be")
    light = (stored - limits[::2]) / (limits[1::2] - limits[::2]) * np.array([255, 127, 127], np.float32)
    r = light[..., 0] + light[..., 2] * (2 - 2 * red)
    b = light[..., 0] + light[..., 1] * (2 - 2 * blue)
    g = (light[..., 0] - red * r - blue * b) / green
    return np.asarray(np.stack([r, g, b], axis=-1).round().clip(0, 255).astype(np.uint8))


def _through_pillow(page: TiffPage, layout: TiffLayout, meaning: int, notes: list[str]) -> StoredImage:
    """Decode a page that is compressed as an image (fax, JPEG, WebP) by Pillow, in the few layouts that occur."""
    fax = (
        layout.compression in _FAX
        and (layout.bits, layout.samples) == (1, 1)
        and meaning in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    )
    colours = {1: (_WHITE_IS_ZERO, _BLACK_IS_ZERO), 3: (_RGB, _YCBCR), 4: (_CMYK,)}
    photo = layout.compression in (_JPEG, _OLD_JPEG) and layout.bits == 8 and meaning in colours.get(layout.samples, ())
    web = layout.compression == _WEBP and layout.bits == 8 and layout.samples in (3, 4) and meaning == _RGB
    if not (fax or photo or web) or layout.planar or layout.form != 1:
        raise CannotConvertError(
            f"compression {layout.compression} of {layout.samples} samples of {layout.bits} bits a pixel is not known"
        )
    plugin: Any = need("PIL.TiffImagePlugin", "image")
    pillow: Any = need("PIL.Image", "image")
    page.file.seek(0)
    image = plugin.TiffImageFile(page.file)
    image.im = pillow.new(image.mode, (layout.width, layout.height)).im  # or Pillow would have a limit of its own
    stored = decoded_by_pillow(image)  # and turned upright
    stored.notes = notes
    return stored


def _describe(page: TiffPage, image: StoredImage) -> None:
    """Give an image a profile made of the tags of colorimetry, where there are any."""
    corners, curves = page.numbers(319), np.array(page.integers(301), np.uint16)
    if len(corners) != 6 and not len(curves):
        return
    white = page.numbers(318)
    white = white if len(white) == 2 else SRGB_PRIMARIES[0]
    primaries = [white, corners[:2], corners[2:4], corners[4:]] if len(corners) == 6 else None
    tables = curves.reshape(3, -1) if len(curves) % 3 == 0 else curves[None]
    if (tables != tables[:1]).any():
        image.notes.append("its curves of red, green and blue differ and are not applied")
        return
    places = np.linspace(0, max(0, tables.shape[1] - 1), min(tables.shape[1], 4096)).round().astype(int)
    try:
        curve = tables[0, places].tolist() if len(curves) else SRGB_CURVE
        image.profile = described_profile(primaries, curve, gray=image.space == "gray")
        image.profile_name = "the primaries or the curve of its header"
    except CannotConvertError as error:
        image.notes.append(f"the colours that its header describes are taken for sRGB: {error}")
