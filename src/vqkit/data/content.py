"""Detection of a file's content by its first bytes: the one place that distinguishes sound, images, films and the rest.

Folders, pipes and data sets use it. Where the bytes say nothing (MPEG audio behind junk, formats without a signature), the suffix does.

References:
    https://www.garykessler.net/library/file_sigs.html and the formats' own specifications; ISO/IEC 11172-3, 13818-3 (frames of MPEG
    audio), 13818-7 (ADTS).
"""

import os
import struct
from pathlib import Path
from typing import Literal, cast

from vqkit.data.image.formats.netpbm import is_netpbm
from vqkit.data.image.formats.tiff_tags import TIFF_STARTS
from vqkit.modality import IMAGE, MODALITIES, SOUND, VIDEO

__all__ = [
    "AUDIO_SUFFIXES",
    "HEAD_BYTES",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Content",
    "content_of",
    "content_of_file",
]

Content = Literal["sound", "image", "film", "vqk", ""]  # a film may have sound; "" is nothing we know

AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES = SOUND.suffixes, IMAGE.suffixes, VIDEO.suffixes
HEAD_BYTES = 4096  # holds two frames of MPEG audio
_VQK, _VQK_SUFFIX = b"\x89VQK", ".vqk"
# Cameras' raw files begin like TIFF, and hold a small copy where the image is looked for
_RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".nef", ".nrw", ".pef", ".sr2", ".srf", ".srw"}
)  # fmt: skip

_IMAGES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
    b"Pf\n",
    b"PF\n",
)
_SOUNDS = (
    *(b"fLaC", b"ID3", b"caff", b".snd", b"riff\x2e\x91\xcf\x11", b"#!AMR", b"wvpk", b"TTA1", b"MAC ", b"DSD ", b"FRM8", b"MPCK"),
    *(b"MP+", b"Creative Voice File\x1a", b"NIST_1A\n", b"ajkg", b"tBaK", b"Extended Instrument:"),
)  # fmt: skip
_FILMS = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b"\0\0\x01\xba", b".RMF")
_IMAGE_BRANDS = (b"avif", b"avis")
_STILL_BRANDS = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"crx ")
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the versions


def content_of(head: bytes) -> Content:
    r"""Return the content of a file that begins with these bytes; "" where it is unknown.

    Args:
        head: the first `HEAD_BYTES` of a file, or all of it.

    Example:
        >>> content_of(b"GIF89a"), content_of(b"RIFF....WAVE"), content_of(b"\x1aE\xdf\xa3"), content_of(b"Dear reader")
        ('image', 'sound', 'film', '')
    """
    if head.startswith(_VQK):
        return "vqk"
    if head.startswith(_IMAGES) or is_netpbm(head) or _is_bitmap(head):
        return "image"
    if head[:4] in TIFF_STARTS and head[8:10] != b"CR":
        return "image"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        kinds: dict[bytes, Content] = {b"WAVE": "sound", b"WEBP": "image", b"AVI ": "film"}
        return kinds.get(head[8:12], "")
    if head[:4] == b"FORM":
        return "sound" if head[8:12] in (b"AIFF", b"AIFC", b"8SVX") else ""
    if head[:4] == b"OggS":
        return "film" if b"\x80theora" in head[:256] or b"OVP80" in head[:256] else "sound"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head.startswith(_SOUNDS) or _is_mpeg_audio(head) or _is_adts(head) or _is_ac3(head):
        return "sound"
    if head.startswith(_FILMS) or head[4:8] in (b"moov", b"mdat", b"wide") or _is_transport_stream(head):
        return "film"
    return ""


def content_of_file(path: str | Path) -> Content:
    """Return the content of a file by its first bytes, or by its suffix where they say nothing; "" where it is unknown.

    Only regular files are opened: a named pipe would wait, and lose what was read.

    Raises:
        OSError: it cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_file():
        with path.open("rb") as file:
            found = content_of(os.read(file.fileno(), HEAD_BYTES))
        if found and not (found == "image" and suffix in _RAW_SUFFIXES):
            return found
    named = {end: modality.content for modality in MODALITIES for end in modality.suffixes}
    return cast(Content, named.get(suffix, "vqk" if suffix == _VQK_SUFFIX else ""))


def _is_bitmap(head: bytes) -> bool:
    return head[:2] == b"BM" and head[14:18] in [struct.pack("<I", size) for size in _BITMAP_HEADERS]


def _of_brands(head: bytes) -> Content:
    """Content of a file of ISO's base media, by the first of its brands that says something."""
    size = min(int.from_bytes(head[:4], "big"), 256)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if any(brand in _IMAGE_BRANDS for brand in brands):
        return "image"
    if brands[0] in _STILL_BRANDS:  # images that we do not read
        return ""
    return "sound" if brands[0] in _SOUND_BRANDS else "film"


# kbit/s by version (MPEG 1, or 2 and 2.5) and layer
_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _is_mpeg_audio(head: bytes) -> bool:
    """Return whether two frames of MPEG audio follow each other: the sync word of one is 11 bits, which any file may begin with."""
    length = _mpeg_frame(head)
    return length > 0 and (_mpeg_frame(head[length:]) > 0 or length == len(head))


def _mpeg_frame(head: bytes) -> int:
    """Bytes of the frame of MPEG audio that begins here; 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = (head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3)
    rate, speed, padding = head[2] >> 4, (head[2] >> 2) & 3, (head[2] >> 1) & 1
    if version == 1 or layer == 4 or rate in (0, 15) or speed == 3:
        return 0
    hertz = (44100, 48000, 32000)[speed] >> (3 - version if version else 2)
    bits = _KBPS[1 if version == 3 else 2, layer][rate - 1] * 1000
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (144 if layer == 2 or version == 3 else 72) * bits // hertz + padding


def _is_adts(head: bytes) -> bool:
    """Return whether two frames of AAC with ADTS headers follow each other."""
    length = _adts_frame(head)
    return length > 0 and (_adts_frame(head[length:]) > 0 or length == len(head))


def _adts_frame(head: bytes) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or (head[2] >> 2) & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def _is_ac3(head: bytes) -> bool:
    return len(head) > 7 and head[:2] == b"\x0b\x77" and head[5] >> 3 <= 16 and head[4] >> 6 != 3


def _is_transport_stream(head: bytes) -> bool:
    """Return whether packets of 188 bytes follow each other, perhaps with a time stamp of four bytes before each."""
    return any(
        len(head) > start + 2 * step and head[start : start + 2 * step + 1 : step] == b"GGG"
        for start, step in ((0, 188), (4, 192))
    )
