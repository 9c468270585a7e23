"""Colours as an image file means them → sRGB: embedded profiles, primaries and curves, CMYK and CIE L*a*b*.

Profiles are applied by LittleCMS, through Pillow's ``ImageCms``. Files that describe their colours by numbers instead of a profile (PNG's
``gAMA`` and ``cHRM``, code points of ITU-T H.273, TIFF's chromaticities) get a profile made of these numbers, so that there is one
way to convert.

References:
    ICC.1:2022, "Image technology colour management" (profile format). IEC 61966-2-1 (sRGB). ITU-T H.273 (code points).
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vqkit.data.image.pixels import CannotConvertError, StoredImage
from vqkit.types import need

__all__ = [
    "D50",
    "SRGB_CURVE",
    "SRGB_PRIMARIES",
    "coded_profile",
    "described_profile",
    "in_srgb",
    "lab_to_srgb",
    "srgb_encoded",
]

SRGB_CURVE = None  # stands for the piecewise curve of sRGB
SRGB_PRIMARIES = ((0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # white, red, green, blue: x, y
D50 = (0.345703, 0.358539)
_PROFILE_WHITE = np.array([0.9642, 1.0, 0.8249])  # the same, as every profile has it
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAME_LEVELS = 2  # of 255: sRGB profiles of different makers differ by so much
_D65 = (0.3127, 0.3290)
_PRIMARIES = {  # H.273 table 2
    1: SRGB_PRIMARIES,
    4: ((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: (_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_PRIMARY_NAMES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
# H.273 table 3. Cameras' curves (BT.709 and its kin) are shown by displays like sRGB's, and everybody reads them as that.
_CURVES = {
    1: SRGB_CURVE,
    2: SRGB_CURVE,
    4: 2.2,
    5: 2.8,
    6: SRGB_CURVE,
    8: 1.0,
    13: SRGB_CURVE,
    14: SRGB_CURVE,
    15: SRGB_CURVE,
}
_HDR = {16: "PQ", 18: "HLG"}


def in_srgb(image: StoredImage) -> StoredImage:
    """The image with gray or RGB values in sRGB, and notes of what was converted.

    A profile that cannot be applied is named in a note, and the values stay as they are. One that is sRGB in all but name changes
    nothing and is not mentioned.
    """
    notes = list(image.notes)
    values, white = image.values, image.white
    if image.profile is not None:
        try:
            converted = _by_profile(image)
        except MemoryError:
            raise
        except (
            Exception
        ) as error:  # LittleCMS and Pillow fail in many ways, and none of them says anything about the pixels
            notes.append(f"its colour profile is not applied: {_line(error)}")
        else:
            if converted is not None:
                values, white, more = converted
                notes += more
                return replace(
                    image, values=values, white=white, profile=None, alpha=_on_scale(image, white), notes=notes
                )
    if image.space == "CMYK":
        notes.append(
            "CMYK without a colour profile: converted by formula"
            if image.profile is None
            else "CMYK converted by formula"
        )
        light = 1 - values.astype(np.float32) / np.float32(white)
        values, white = light[..., :3] * light[..., 3:], 1.0
    return replace(image, values=values, white=white, profile=None, alpha=_on_scale(image, white), notes=notes)


def described_profile(
    primaries: Sequence[Sequence[float]] | None, curve: float | Sequence[int] | None, *, gray: bool
) -> bytes:
    """An ICC profile made of primaries and a curve.

    Args:
        primaries: x and y of white, red, green and blue in CIE 1931; None for sRGB's.
        curve: exponent that turns a sample into light; or a table of light in 0 … 65535; None for the curve of sRGB.
        gray: whether it is for gray samples: the primaries do not matter.

    Returns:
        A profile of ICC version 4.2.

    Raises:
        CannotConvertError: such primaries or such a curve cannot be.

    Example:
        >>> described_profile(None, 2.2, gray=True)[16:20]
        b'GRAY'
    """
    light = _curve_tag(curve)
    if gray:
        return _profile(b"GRAY", {b"kTRC": light})
    matrix = _to_d50(SRGB_PRIMARIES if primaries is None else primaries)
    colorants = {name: _xyz_tag(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)}
    return _profile(b"RGB ", colorants | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), light))


def coded_profile(primaries: int, transfer: int, *, gray: bool) -> tuple[bytes | None, str, str]:
    """A profile for code points of H.273, as PNG's ``cICP`` and the boxes of AVIF have them.

    Args:
        primaries: ``ColourPrimaries``.
        transfer: ``TransferCharacteristics``.
        gray: whether it is for gray samples.

    Returns:
        The profile, None for sRGB and for what cannot be converted; its name; and a note where it cannot be.

    Example:
        >>> coded_profile(12, 13, gray=False)[1:], coded_profile(1, 13, gray=False), coded_profile(9, 16, gray=False)[2]
        (('Display P3', ''), (None, '', ''), 'its colours are HDR (PQ) and are taken for sRGB')
    """
    if transfer in _HDR:
        return None, "", f"its colours are HDR ({_HDR[transfer]}) and are taken for sRGB"
    known = primaries == 2 or primaries in _PRIMARIES  # 2: unspecified
    if not known or transfer not in _CURVES:
        return None, "", f"its colours (code points {primaries} and {transfer} of H.273) are taken for sRGB"
    curve, corners = _CURVES[transfer], _PRIMARIES.get(primaries, SRGB_PRIMARIES)
    # 5 to 7 are the primaries of television before HDTV, which JPEG and its kin never say and everybody reads as sRGB
    if curve is SRGB_CURVE and (gray or primaries in (1, 2, 5, 6, 7)):
        return None, "", ""
    name = _PRIMARY_NAMES.get(primaries, "primaries of its header")
    return described_profile(corners, curve, gray=gray), name, ""


def lab_to_srgb(lab: np.ndarray, white: Sequence[float] = D50) -> np.ndarray:
    """CIE L*a*b*, ``(…, 3)`` with L* in 0 … 100, to sRGB in [0, 1]; what sRGB does not have is clipped.

    Args:
        lab: the colours.
        white: x and y of what L* = 100 stands for.

    Example:
        >>> lab_to_srgb(np.array([[100.0, 0, 0], [0, 0, 0]])).round(3).tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * _xyz(white)
    return srgb_encoded(xyz @ (np.linalg.inv(_to_d50(SRGB_PRIMARIES)) @ _adaptation(white)).T)


def srgb_encoded(light: np.ndarray) -> np.ndarray:
    """Linear light to the curve of sRGB, float32, clipped to [0, 1]."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


# --- applying


def _by_profile(image: StoredImage) -> tuple[np.ndarray, float, list[str]] | None:
    """Values in sRGB, their white, and notes; None where the profile is sRGB or says nothing about such values."""
    cms: Any = need("PIL.ImageCms", "image")
    if not image.profile:
        raise CannotConvertError("it is damaged")
    source = cms.ImageCmsProfile(io.BytesIO(image.profile))
    space = source.profile.xcolor_space.strip()
    if space not in {"gray": ("GRAY", "RGB"), "RGB": ("RGB",), "CMYK": ("CMYK",)}[image.space]:
        raise CannotConvertError(f"it is for {space}, and the image is {image.space}")
    name = _name(cms, source) or image.profile_name
    notes = [f"colours converted from {name or 'its colour profile'} to sRGB"]
    if image.space == "gray":
        if space == "GRAY":  # LittleCMS knows 16 bits of gray
            target = cms.ImageCmsProfile(io.BytesIO(described_profile(None, SRGB_CURVE, gray=True)))
            # optimised, its tables are too coarse for 16 bits of a steep curve: off by 0.04 for linear light
            convert = cms.buildTransform(source, target, "I;16", "I;16", flags=cms.Flags.NOOPTIMIZE)
            if _changes(_applied(convert, np.arange(0, 65536, 257, dtype=np.uint16)[None]) / 257, np.arange(256)[None]):
                return _applied(convert, _rescaled(image.values, image.white, np.uint16)), 65535.0, notes
            return None
        image = replace(image, values=np.repeat(image.values[..., None], 3, axis=2))
        gray = True
    else:
        gray = False
    convert = cms.buildTransform(source, cms.createProfile("sRGB"), image.space, "RGB")
    if image.space == "RGB":
        levels = np.linspace(0, 255, 6).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        if gray:
            probe = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
        if not _changes(_applied(convert, probe).astype(float), probe):
            return None
    if image.white > 255 or image.values.dtype.kind == "f":
        notes.append("its samples were rounded to 8 bits for that")
    converted = _applied(convert, _rescaled(image.values, image.white, np.uint8))
    return (converted[..., 1] if gray else converted), 255.0, notes


def _applied(convert: Any, values: np.ndarray) -> np.ndarray:
    pillow: Any = need("PIL.Image", "image")
    mode = convert.input_mode
    height, width = values.shape[:2]
    source = pillow.frombuffer(mode, (width, height), np.ascontiguousarray(values).tobytes(), "raw", mode, 0, 1)
    return np.asarray(convert.apply(source))


def _changes(found: np.ndarray, before: np.ndarray) -> bool:
    return bool(np.abs(found - before.astype(float)).max() > _SAME_LEVELS)


def _rescaled(values: np.ndarray, white: float, dtype: type[np.uint8] | type[np.uint16]) -> np.ndarray:
    most = np.iinfo(dtype).max
    if white == most and values.dtype == dtype:
        return values
    wide: np.ndarray = values.astype(np.float64 if most > 255 else np.float32)
    return np.asarray((wide * (most / white)).round().astype(dtype))


def _on_scale(image: StoredImage, white: float) -> np.ndarray | None:
    """Opacity on the scale of converted values."""
    if image.alpha is None or white == image.white:
        return image.alpha
    return image.alpha.astype(np.float32) * np.float32(white / image.white)


def _name(cms: Any, profile: Any) -> str:
    try:
        text = str(cms.getProfileDescription(profile))
    except Exception:  # a profile need not have a readable name
        return ""
    return " ".join("".join(character for character in text if character.isprintable()).split())[:60]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- making


def _to_d50(corners: Sequence[Sequence[float]]) -> np.ndarray:
    """The matrix from linear RGB with this white and these primaries to XYZ relative to D50."""
    numbers = np.array(corners, float)
    if numbers.shape != (4, 2) or not np.isfinite(numbers).all() or (numbers[:, 1] <= 0).any():
        raise CannotConvertError(f"primaries {np.array(corners).round(4).tolist()} cannot be")
    columns = np.stack([_xyz(primary) for primary in numbers[1:]], axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise CannotConvertError("its primaries lie on a line")
    return np.asarray(_adaptation(numbers[0]) @ (columns * np.linalg.solve(columns, _xyz(numbers[0]))))


def _adaptation(white: Sequence[float] | np.ndarray) -> np.ndarray:
    """The map from XYZ relative to a white to XYZ relative to D50, by Bradford's method."""
    gains = (_BRADFORD @ _PROFILE_WHITE) / (_BRADFORD @ _xyz(white))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD)


def _xyz(place: Sequence[float] | np.ndarray) -> np.ndarray:
    """X and Z beside Y = 1, of x and y."""
    x, y = place
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _curve_tag(curve: float | Sequence[int] | None) -> bytes:
    if curve is SRGB_CURVE:
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, numbers))
    if isinstance(curve, float | int):
        if not 0.01 <= curve <= 100:
            raise CannotConvertError(f"a gamma of {curve:g} cannot be")
        return b"para" + bytes(4) + struct.pack(">HH", 0, 0) + _fixed(curve)
    assert curve is not None
    return b"curv" + bytes(4) + struct.pack(f">I{len(curve)}H", len(curve), *curve)


def _xyz_tag(values: Sequence[float] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": _xyz_tag(_PROFILE_WHITE), **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x04200000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, _PROFILE_WHITE)) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body
