import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from vqkit.data import read_image, read_image_with_notes
from vqkit.data.image.formats.colour import SRGB_PRIMARIES, coded_profile, described_profile, in_srgb, lab_to_srgb
from vqkit.data.image.pixels import CannotConvertError, StoredImage

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
GRAYS = COLOURS[..., 0]
P3 = ((0.3127, 0.3290), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
LOSSLESS = {"webp": {"lossless": True}, "avif": {"quality": 100, "subsampling": "4:4:4"}}
NOTE = "colours converted from its colour profile to sRGB"


def encoded(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def decoded(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries):
    """Columns are the XYZ of red, green and blue that add up to the white, by the definition."""
    (wx, wy), *corners = primaries
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
    return columns * np.linalg.solve(columns, [wx / wy, 1, (1 - wx - wy) / wy])


def p3_in_srgb(values):
    """Both have the same white, so that nothing is adapted."""
    matrix = np.linalg.solve(to_xyz(SRGB_PRIMARIES), to_xyz(P3))
    return encoded(decoded(values / 255) @ matrix.T)


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def planes(values):
    return values.transpose(2, 0, 1) if values.ndim == 3 else values[None]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_embedded_profile(tmp_path, suffix):
    path, options = tmp_path / f"x.{suffix}", LOSSLESS.get(suffix, {})
    Image.fromarray(COLOURS).save(path, icc_profile=described_profile(P3, None, gray=False), **options)
    found = read_image_with_notes(path)
    assert found.notes == (NOTE,)
    np.testing.assert_allclose(found.image, planes(p3_in_srgb(COLOURS)), atol=0.004)
    luma = np.tensordot(p3_in_srgb(COLOURS), [0.299, 0.587, 0.114], 1)
    np.testing.assert_allclose(read_image(path, channels=1)[0], luma, atol=0.004)
    for profile in (
        srgb_profile(),
        described_profile(None, None, gray=False),
    ):  # two that are sRGB: no change, no noise
        Image.fromarray(COLOURS).save(path, icc_profile=profile, **options)
        found = read_image_with_notes(path)
        assert found.notes == ()
        np.testing.assert_allclose(found.image, planes(COLOURS) / 255, atol=1e-6)
    Image.fromarray(COLOURS).save(path, icc_profile=b"junk", **options)
    found = read_image_with_notes(path)
    assert found.notes == ("its colour profile is not applied: cannot open profile from string",)
    np.testing.assert_allclose(found.image, planes(COLOURS) / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_an_embedded_profile_where_samples_are_lossy(tmp_path, suffix):
    path, image = tmp_path / f"x.{suffix}", Image.new("RGB", (32, 32), (230, 120, 60))
    options = {"quality": 100} | LOSSLESS.get(suffix, {})
    image.save(path, icc_profile=described_profile(P3, None, gray=False), **options)
    found = read_image_with_notes(path)
    assert found.notes == (NOTE,)
    truth = p3_in_srgb(np.array([230, 120, 60]))
    np.testing.assert_allclose(found.image.mean((1, 2)), truth, atol=0.012)


def test_alpha_beside_a_profile(tmp_path):
    alpha = np.random.default_rng(1).integers(0, 256, (12, 20, 1), dtype=np.uint8)
    image = Image.fromarray(np.concatenate([COLOURS, alpha], -1))
    image.save(tmp_path / "x.png", icc_profile=described_profile(P3, None, gray=False))
    found = read_image_with_notes(tmp_path / "x.png")
    assert found.notes == (NOTE, "what is transparent shows white")
    truth = p3_in_srgb(COLOURS) * (alpha / 255) + 1 - alpha / 255
    np.testing.assert_allclose(found.image, planes(truth), atol=0.004)


def test_gray_with_a_profile(tmp_path):
    path = tmp_path / "x.png"
    deep = np.random.default_rng(2).integers(0, 65536, (12, 20), dtype=np.uint16)
    for values, white, atol in ((GRAYS, 255, 1e-4), (deep, 65535, 1e-4)):
        Image.fromarray(values).save(path, icc_profile=described_profile(None, 1.8, gray=True))
        found = read_image_with_notes(path, channels=None)
        assert found.notes == (NOTE,)
        np.testing.assert_allclose(found.image[0], encoded((values / white) ** 1.8), atol=atol)
        Image.fromarray(values).save(path, icc_profile=described_profile(None, None, gray=True))
        found = read_image_with_notes(path, channels=None)
        assert found.notes == ()
        np.testing.assert_allclose(found.image[0], values / white, atol=1e-6)
    # one for colours says what gray is, too
    Image.fromarray(GRAYS).save(path, icc_profile=srgb_profile())
    assert read_image_with_notes(path, channels=None).notes == ()
    Image.fromarray(GRAYS).save(path, icc_profile=described_profile(P3, 1.8, gray=False))
    found = read_image_with_notes(path, channels=None)
    assert found.notes == (NOTE,)
    np.testing.assert_allclose(found.image[0], encoded((GRAYS / 255) ** 1.8), atol=0.004)


def cmyk_profile():
    """One table of 2⁴ corners from inks to CIE L*a*b*: cyan alone is (100 − 50, −40, −50), and so on; black ends it all."""
    corners = []
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        light = (1 - 0.4 * cyan) * (1 - 0.4 * magenta) * (1 - 0.1 * yellow) * (1 - black)
        a, b = (-40 * cyan + 60 * magenta) * (1 - black), (-50 * cyan - 10 * magenta + 80 * yellow) * (1 - black)
        corners.append((round(light * 255), round(a + 128), round(b + 128)))
    identity = struct.pack(">9i", *(np.eye(3).astype(int) * 65536).reshape(-1).tolist())
    ramps = lambda count: bytes(range(256)) * count  # noqa: E731
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramps(4) + bytes(sum(corners, ())) + ramps(3)
    tags = {b"A2B0": table, b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)}
    offset, index, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        index += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head + struct.pack(">I", len(tags)) + index + body


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_with_a_profile(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    inks = {
        (0, 0, 0, 0): (100, 0, 0),
        (255, 0, 0, 0): (60, -40, -50),
        (0, 0, 255, 0): (90, 0, 80),
        (0, 0, 0, 255): (0, 0, 0),
    }
    for ink, lab in inks.items():
        image = Image.new("CMYK", (16, 16), ink)
        image.save(path, icc_profile=cmyk_profile(), **({"quality": 100} if suffix == "jpg" else {}))
        found = read_image_with_notes(path)
        assert found.notes == (NOTE,)
        np.testing.assert_allclose(found.image[:, 8, 8], lab_to_srgb(np.array(lab, float)), atol=0.02)
    image.save(path, icc_profile=srgb_profile())
    reasons = ("its colour profile is not applied: it is for RGB, and the image is CMYK", "CMYK converted by formula")
    assert read_image_with_notes(path).notes == reasons
    assert read_image(path).max() < 0.02


def test_the_profile_of_a_bitmap(tmp_path):
    """Version 5 of the header has a place for it."""
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "BMP")
    pixels = file.getvalue()[54:]
    profile = described_profile(P3, None, gray=False)
    head = struct.pack("<IiiHHIIiiII", 124, 20, 12, 1, 24, 0, len(pixels), 0, 0, 0, 0).ljust(56, b"\0") + b"DEBM"
    head = head.ljust(108, b"\0") + struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    data = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(profile), 0, 0, 138) + head + pixels + profile
    (tmp_path / "x.bmp").write_bytes(data)
    found = read_image_with_notes(tmp_path / "x.bmp")
    assert found.notes == (NOTE,)
    np.testing.assert_allclose(found.image, planes(p3_in_srgb(COLOURS)), atol=0.004)
    (tmp_path / "x.bmp").write_bytes(data[:-100])
    assert read_image_with_notes(tmp_path / "x.bmp").notes[0].startswith("its colour profile is not applied: ")


def test_adobe_rgb_that_only_exif_states(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    image = Image.new("RGB", (16, 16), (180, 120, 60))
    image.save(tmp_path / "x.jpg", exif=exif, quality=100)
    found = read_image_with_notes(tmp_path / "x.jpg")
    assert found.notes == ("colours converted from Adobe RGB to sRGB",)
    adobe = ((0.3127, 0.3290), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
    light = (np.array([180, 120, 60]) / 255) ** (563 / 256)
    truth = encoded(np.linalg.solve(to_xyz(SRGB_PRIMARIES), to_xyz(adobe)) @ light)
    np.testing.assert_allclose(found.image[:, 8, 8], truth, atol=0.012)
    image.save(tmp_path / "x.jpg", exif=exif, icc_profile=srgb_profile())  # which says more
    assert read_image_with_notes(tmp_path / "x.jpg").notes == ()


def test_a_name_from_a_file_is_one_line_of_limited_length():
    named = bytearray(srgb_profile())
    at = named.index("sRGB built-in".encode("utf-16-be"))
    named[at : at + 6] = "\n\x1b!".encode("utf-16-be")
    curve = named.index(b"para") + 12
    named[curve : curve + 4] = struct.pack(">i", 65536)  # and no longer sRGB
    (note,) = in_srgb(StoredImage(COLOURS, profile=bytes(named))).notes
    assert note == "colours converted from !B built-in to sRGB"


@pytest.mark.parametrize(
    ("primaries", "curve", "message"),
    [
        (None, 0.0, "a gamma of 0 cannot be"),
        (((0.3, 0.3), (0.1, 0.1), (0.2, 0.2), (0.3, 0.3)), None, "its primaries lie on a line"),
        (((0.3, 0.0), *P3[1:]), None, r"primaries \[\[0.3, 0.0\].* cannot be"),
        (P3[1:], None, "cannot be"),
    ],
)
def test_colours_that_cannot_be(primaries, curve, message):
    with pytest.raises(CannotConvertError, match=message):
        described_profile(primaries, curve, gray=False)


def test_code_points():
    profile, name, note = coded_profile(12, 13, gray=False)
    assert (name, note) == ("Display P3", "")
    found = in_srgb(StoredImage(COLOURS, profile=profile, profile_name=name))
    np.testing.assert_allclose(found.values / 255, p3_in_srgb(COLOURS), atol=0.004)
    for known in ((1, 1), (1, 13), (2, 2), (6, 6), (5, 6), (1, 14)):
        assert coded_profile(*known, gray=False) == (None, "", "")
    assert coded_profile(12, 13, gray=True) == (None, "", "")
    assert coded_profile(1, 4, gray=True)[0] == described_profile(None, 2.2, gray=True)
