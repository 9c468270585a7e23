"""Every file is built by hand, so that the truth does not come from a reader."""

import contextlib
import io
import itertools
import lzma
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from vqkit.data import read_image, read_image_with_notes

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 21, 38


def tags(bits, photometric, samples=1, size=(HEIGHT, WIDTH), also=None, **more):
    names = {"compression": 259, "rows": 278, "planar": 284, "predictor": 317, "extra": 338, "form": 339, "fill": 266}
    basic = {256: size[1], 257: size[0], 258: [bits] * samples, 259: 1, 262: photometric, 277: samples, 278: size[0]}
    return basic | {names.get(name, name): value for name, value in (more | (also or {})).items()}


def packed(values, bits, order=">"):
    """Rows of integers as bits, the first in the highest place; each row ends with a byte."""
    if bits in (8, 16):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = values.reshape(len(values), -1)
    texts = ["".join(f"{value:0{bits}b}" for value in row) for row in rows.tolist()]
    return b"".join(
        int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big") for text in texts
    )


def integers(bits, samples=1):
    values = RANDOM.integers(0, 1 << bits, (HEIGHT, WIDTH, samples))
    values[0, 0], values[-1, -1] = 0, (1 << bits) - 1
    return values


def check(path, truth, notes=(), atol=1e-6):
    found = read_image_with_notes(path, channels=None)
    truth = truth if truth.ndim == 3 else truth[..., None]
    assert found.image.shape == (truth.shape[2], *truth.shape[:2])
    np.testing.assert_allclose(found.image.permute(1, 2, 0), truth, atol=atol)
    assert found.notes == notes


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16])
def test_gray_of_any_depth(tiff, tmp_path, bits):
    values = integers(bits)[..., 0]
    truth = values / ((1 << bits) - 1)
    for order, fill in itertools.product("<>", (1, 2)):
        data = packed(values, bits, order)
        if fill == 2:
            data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
        tiff(tmp_path / "x.tif", [data], tags(bits, BLACK_IS_ZERO, fill=fill), order)
        check(tmp_path / "x.tif", truth)
        tiff(tmp_path / "x.tif", [data], tags(bits, WHITE_IS_ZERO, fill=fill), order)
        check(tmp_path / "x.tif", 1 - truth)


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("form", ["one strip", "strips", "tiles"])
def test_layouts_of_rgb(tiff, tmp_path, bits, planar, form):
    values = integers(bits, 3)
    for order, big in itertools.product("<>", (False, True)):
        groups = [values] if planar == 1 else [values[..., one : one + 1] for one in range(3)]
        more = {"planar": planar}
        if form == "tiles":
            more |= {322: 16, 323: 32}
            padded = [np.pad(group, ((0, 11), (0, 10), (0, 0)), mode="edge") for group in groups]
            blocks = [group[:, left : left + 16] for group in padded for left in (0, 16, 32)]
        else:
            rows = 8 if form == "strips" else HEIGHT
            more |= {"rows": rows if form == "strips" else 2**32 - 1}
            blocks = [group[top : top + rows] for group in groups for top in range(0, HEIGHT, rows)]
        parts = [packed(block, bits, order) for block in blocks]
        tiff(tmp_path / "x.tif", parts, tags(bits, RGB, 3, also=more), order, big)
        check(tmp_path / "x.tif", values / ((1 << bits) - 1))


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("samples", [1, 3])
def test_floats(tiff, tmp_path, bits, samples):
    values = RANDOM.random((HEIGHT, WIDTH, samples)).astype(f"f{bits // 8}")
    for order in "<>":
        data = values.astype(values.dtype.newbyteorder(order)).tobytes()
        meaning = RGB if samples == 3 else BLACK_IS_ZERO
        check(tiff(tmp_path / "x.tif", [data], tags(bits, meaning, samples, form=[3] * samples), order), values)
        if samples == 1:
            check(tiff(tmp_path / "x.tif", [data], tags(bits, WHITE_IS_ZERO, form=3), order), 1 - values.astype(float))


def lzw(data):
    """Codes of 9 bits only: cleared before they would need more."""
    codes = [code for at in range(0, len(data), 200) for code in (256, *data[at : at + 200])] + [257]
    text = "".join(f"{code:09b}" for code in codes)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def packbits(data):
    return b"".join(bytes([len(data[at : at + 100]) - 1]) + data[at : at + 100] for at in range(0, len(data), 100))


PACKERS = {5: lzw, 8: zlib.compress, 32946: zlib.compress, 32773: packbits, 34925: lzma.compress}


@pytest.mark.parametrize("compression", PACKERS)
def test_compressions(tiff, tmp_path, compression):
    for bits, planar in ((8, 1), (8, 2), (12, 1), (16, 1), (16, 2)):
        values = integers(bits, 3)
        groups = [values] if planar == 1 else [values[..., one : one + 1] for one in range(3)]
        blocks = [group[top : top + 6] for group in groups for top in range(0, HEIGHT, 6)]
        parts = [PACKERS[compression](packed(block, bits, "<")) for block in blocks]
        more = {"planar": planar, "rows": 6, "compression": compression}
        tiff(tmp_path / "x.tif", parts, tags(bits, RGB, 3, also=more))
        check(tmp_path / "x.tif", values / ((1 << bits) - 1))
    back = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in part) for part in parts]  # the bits of what is compressed
    check(tiff(tmp_path / "x.tif", back, tags(bits, RGB, 3, fill=2, also=more)), values / 65535)


def test_zstandard(tmp_path):
    values = integers(16)[..., 0].astype(np.uint16)
    try:
        Image.fromarray(values).save(tmp_path / "x.tif", compression="zstd")
    except (OSError, RuntimeError, ValueError):
        pytest.skip("this Pillow has no Zstandard")
    check(tmp_path / "x.tif", values / 65535)


@pytest.mark.parametrize("order", ["<", ">"])
def test_predictors(tiff, tmp_path, order):
    for bits, samples in ((8, 1), (8, 3), (16, 1), (16, 3)):
        values = integers(bits, samples)
        steps = np.diff(values, axis=1, prepend=0) % (1 << bits)
        meaning = RGB if samples == 3 else WHITE_IS_ZERO
        data = zlib.compress(packed(steps, bits, order))
        tiff(tmp_path / "x.tif", [data], tags(bits, meaning, samples, compression=8, predictor=2), order)
        truth = values / ((1 << bits) - 1)
        check(tmp_path / "x.tif", truth if samples == 3 else 1 - truth)
    for bits, samples in ((16, 1), (32, 1), (32, 3), (64, 1)):
        floats = RANDOM.random((HEIGHT, WIDTH, samples)).astype(f"f{bits // 8}")
        # bytes of one weight beside each other, the highest first in either order; then differences within the row
        rows = np.frombuffer(floats.astype(f">f{bits // 8}").tobytes(), np.uint8).reshape(HEIGHT, -1, bits // 8)
        rows = rows.swapaxes(1, 2).reshape(HEIGHT, -1, samples).astype(int)
        data = zlib.compress((np.diff(rows, axis=1, prepend=0) % 256).astype(np.uint8).tobytes())
        meaning, more = RGB if samples == 3 else BLACK_IS_ZERO, {"compression": 8, "predictor": 3}
        check(tiff(tmp_path / "x.tif", [data], tags(bits, meaning, samples, form=3, also=more), order), floats)


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palettes(tiff, tmp_path, scale):
    """Full intensity is 65535; writers that put 8 bits, or 8 bits shifted, mean theirs by it."""
    for bits in (1, 4, 8):
        colours = RANDOM.integers(0, 256, (1 << bits, 3))
        colours[0] = 255
        indices = integers(bits)[..., 0]
        more = {320: (3, (colours.T.reshape(-1) * scale).tolist())}
        check(
            tiff(tmp_path / "x.tif", [packed(indices, bits)], tags(bits, PALETTE, also=more)), (colours / 255)[indices]
        )
    deep = RANDOM.integers(0, 65536, (256, 3))
    more = {320: (3, deep.T.reshape(-1).tolist())}
    check(tiff(tmp_path / "x.tif", [packed(indices, 8)], tags(8, PALETTE, also=more)), (deep / 65535)[indices])
    tiff(tmp_path / "x.tif", [packed(indices, 8)], tags(8, PALETTE, also={320: (3, [0] * 700)}))
    with pytest.raises(ValueError, match="damaged or cut short: its palette has 700 numbers instead of 768"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk(tiff, tmp_path, bits):
    inks = integers(bits, 4)
    share = 1 - inks / ((1 << bits) - 1)
    notes = ("CMYK without a colour profile: converted by formula",)
    for order in "<>":
        tiff(tmp_path / "x.tif", [packed(inks, bits, order)], tags(bits, CMYK, 4), order)
        check(tmp_path / "x.tif", share[..., :3] * share[..., 3:], notes)
    tiff(tmp_path / "x.tif", [packed(inks, bits)], tags(bits, CMYK, 4, also={332: 2}))
    with pytest.raises(ValueError, match="cannot be read .* its inks are not cyan, magenta, yellow and black"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)])
def test_ycbcr(tiff, tmp_path, across, down):
    size = (24, 40)
    luma = RANDOM.integers(16, 236, size)
    chroma = RANDOM.integers(16, 241, (24 // down, 40 // across, 2))
    units = luma.reshape(24 // down, down, 40 // across, across).swapaxes(1, 2).reshape(24 // down, 40 // across, -1)
    data = np.concatenate([units, chroma], -1).astype(np.uint8).tobytes()
    wide = chroma.repeat(down, 0).repeat(across, 1)
    for limits in (None, [15, 235, 128, 240, 128, 240]):
        y, c = luma / 255, (wide - 128) / 127 * 127 / 255
        if limits:
            y, c = (luma - 15) / 220, (wide - 128) / 112 * 127 / 255
        red, blue = y + c[..., 1] * 1.402, y + c[..., 0] * 1.772
        truth = np.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], -1).clip(0, 1)
        more = {530: [across, down]} | ({532: (5, [n for v in limits for n in (v, 1)])} if limits else {})
        for rows, packer, compression in ((24, bytes, 1), (8, zlib.compress, 8)):
            step = len(data) * rows // 24
            parts = [packer(data[at : at + step]) for at in range(0, len(data), step)]
            tiff(tmp_path / "x.tif", parts, tags(8, YCBCR, 3, size, rows=rows, compression=compression, also=more))
            check(tmp_path / "x.tif", truth, atol=0.51 / 255)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("meaning", [LAB, ICC_LAB])
def test_lab(tiff, tmp_path, bits, meaning):
    """Against LittleCMS, which takes L*a*b* of 8 bits as ICC stores it."""
    lightness, ab = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 1)), RANDOM.integers(-128, 128, (HEIGHT, WIDTH, 2))
    parts = (lightness[..., 0], ab[..., 0] + 128, ab[..., 1] + 128)
    known = Image.merge("LAB", [Image.fromarray(part.astype(np.uint8)) for part in parts])
    profile = ImageCms.createProfile("LAB")
    exact = {"outputMode": "RGB", "flags": ImageCms.Flags.NOOPTIMIZE}
    truth = ImageCms.profileToProfile(known, profile, ImageCms.createProfile("sRGB"), **exact)
    lightest = {(8, LAB): 255, (8, ICC_LAB): 255, (16, LAB): 65535, (16, ICC_LAB): 65280}[bits, meaning]
    scale = 1 if bits == 8 else 256
    colours = (ab * scale + (0 if meaning == LAB else 128 * scale)) % (1 << bits)
    stored = np.concatenate([(lightness / 255 * lightest).round().astype(int), colours], -1)
    notes = ("converted from CIE L*a*b* to sRGB",)
    check(
        tiff(tmp_path / "x.tif", [packed(stored, bits, "<")], tags(bits, meaning, 3)),
        np.asarray(truth) / 255,
        notes,
        0.01,
    )
    # relative to another white, whose gray is gray again
    stored[..., 1:] = colours[..., 1:] = 0 if meaning == LAB else 128 * scale
    tiff(tmp_path / "x.tif", [packed(stored, bits, "<")], tags(bits, meaning, 3, also={318: (11, [0.3127, 0.329])}))
    image = read_image(tmp_path / "x.tif").numpy()
    assert np.ptp(image, axis=0).max() < 0.002
    one = tiff(tmp_path / "x.tif", [packed(stored[..., 0], bits, "<")], tags(bits, meaning))
    np.testing.assert_allclose(read_image(one, 1)[0], image[1], atol=0.002)


def test_alpha(tiff, tmp_path):
    for bits, samples in ((8, 2), (8, 4), (16, 2), (16, 4)):
        white = (1 << bits) - 1
        values = integers(bits, samples)
        values[..., :-1] = np.minimum(values[..., :-1], values[..., -1:])  # as if multiplied
        colours, alpha = values[..., :-1] / white, values[..., -1:] / white
        meaning, note = RGB if samples == 4 else BLACK_IS_ZERO, ("what is transparent shows white",)
        data = packed(values, bits, "<")
        for extra, truth, notes in (
            (1, colours + 1 - alpha, note),
            (2, colours * alpha + 1 - alpha, note),
            (0, colours, ("1 further sample a pixel left out",)),
        ):
            check(tiff(tmp_path / "x.tif", [data], tags(bits, meaning, samples, extra=extra)), truth, notes)
        groups = [packed(values[..., one], bits, "<") for one in range(samples)]
        tiff(tmp_path / "x.tif", groups, tags(bits, meaning, samples, extra=2, planar=2))
        check(tmp_path / "x.tif", colours * alpha + 1 - alpha, note)
    tiff(tmp_path / "x.tif", [data], tags(bits, RGB, 4))  # many writers leave the tag out
    check(tmp_path / "x.tif", colours * alpha + 1 - alpha, note)
    values[..., -1] = white
    check(tiff(tmp_path / "x.tif", [packed(values, bits, "<")], tags(bits, RGB, 4, extra=2)), values[..., :3] / white)
    values = integers(8, 5)
    note = ("4 further samples a pixel left out",)
    check(tiff(tmp_path / "x.tif", [packed(values, 8)], tags(8, BLACK_IS_ZERO, 5)), values[..., 0] / 255, note)


def test_a_header_that_does_not_say_what_samples_mean(tiff, tmp_path):
    gray, rgb = integers(8), integers(8, 3)
    for values, words in ((gray, "gray, 0 black"), (rgb, "RGB")):
        plain = {tag: value for tag, value in tags(8, 0, values.shape[2]).items() if tag != 262}
        note = (f"its header does not say what its samples mean; taken for {words}",)
        check(tiff(tmp_path / "x.tif", [packed(values, 8)], plain), values / 255, note)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (tags(8, 1, form=2), "signed integers of 8 bits, allowed are unsigned integers of 1 to 16 bits, and floats of 16, 32 and 64"),
        (tags(16, 1, form=2), "signed integers of 16 bits"),
        (tags(32, 1), "integers of 32 bits, allowed"),
        (tags(24, 1), "integers of 24 bits, allowed"),
        (tags(24, 1, form=3), "floats of 24 bits, allowed"),
        (tags(64, 1, form=6), "samples of format 6, allowed"),
        (tags(8, 2, 3) | {258: [5, 6, 5]}, "samples have 5, 6, 5 bits, allowed is one depth"),
        (tags(8, 2, 3) | {339: [1, 1, 3]}, "samples have formats 1, 1, 3, allowed is one"),
        (tags(8, 2, 90), "90 samples a pixel, allowed are 1 to 64"),
        (tags(16, 32803), "it is a camera's raw mosaic, allowed are gray, RGB, palettes, CMYK, YCbCr"),
        (tags(8, 4), "it is a mask, allowed"),
        (tags(8, 77), "it is of photometric interpretation 77"),
        (tags(8, 1, compression=34661), "compression 34661 of 1 samples of 8 bits"),
        (tags(12, 1, compression=7), "compression 7 of 1 samples of 12 bits"),
        (tags(12, 1, compression=8, predictor=2), "predictor 2 is not for samples of 12 bits"),
        (tags(16, 1, compression=8, predictor=3), "predictor 3 is not for samples of 16 bits"),
        (tags(16, 6, 3, also={530: [1, 1]}), "it is YCbCr of 16 bits, allowed are 8"),
        (tags(8, 6, 3, also={530: [3, 1]}), "YCbCr is subsampled by 3 × 1"),
        (tags(12, 8, 3), r"L\*a\*b\* of 12 bits, allowed are 8 and 16"),
        (tags(32, 5, 4, form=3), "CMYK of floats, allowed are integers"),
        (tags(8, 1, also={254: 1}), "first page is a small copy of another"),
        (tags(64, 1, 64, form=3), "64 samples of 64 bits, allowed are 40 bytes a pixel"),
    ],
)  # fmt: skip
def test_what_has_no_known_place_is_refused_in_one_line(tiff, tmp_path, arguments, message):
    tiff(tmp_path / "x.tif", [bytes(HEIGHT * WIDTH * 32)], arguments)
    with pytest.raises(ValueError, match=rf"^[^\n]*x\.tif cannot be read as gray or RGB: [^\n]*{message}[^\n]*$"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("value", [-0.01, 1.5, np.nan, np.inf])
def test_floats_outside_0_to_1_are_refused(tiff, tmp_path, value):
    for samples, place in ((1, 0), (4, 3)):  # also of alpha
        values = np.full((HEIGHT, WIDTH, samples), 0.5, np.float32)
        values[3, 4, place] = value
        meaning = {1: WHITE_IS_ZERO, 4: RGB}[samples]
        tiff(tmp_path / "x.tif", [values.tobytes()], tags(32, meaning, samples, form=3, extra=2))
        with pytest.raises(ValueError, match=r"x\.tif cannot be read .* floats lie in .*, allowed is 0 … 1"):
            read_image(tmp_path / "x.tif")


def test_pages(tiff, tmp_path):
    values = integers(8)
    page, small = tags(8, 1), tags(8, 1, also={254: 1})
    tiff(tmp_path / "x.tif", [packed(values, 8)], page, followers=[page, small, page])
    check(tmp_path / "x.tif", values / 255, ("the first of 3 pages; the others are left out",))
    check(tiff(tmp_path / "x.tif", [packed(values, 8)], page, followers=[small]), values / 255)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    (tmp_path / "x.tif").write_bytes(data[: data.rindex(packed(values, 8))])  # what is damaged is the page left out
    check(tmp_path / "x.tif", values / 255)
    end = 10 + 12 * struct.unpack_from("<H", data, 8)[0]
    data[end : end + 4] = struct.pack("<I", 8)  # a circle
    (tmp_path / "x.tif").write_bytes(data)
    check(tmp_path / "x.tif", values / 255)


@pytest.mark.parametrize("compression", [1, 8])
def test_orientation(tiff, tmp_path, compression):
    values = integers(16, 3)
    pack = zlib.compress if compression == 8 else bytes
    turned = tags(16, 2, 3, compression=compression, also={274: 6})
    tiff(tmp_path / "x.tif", [pack(packed(values, 16, "<"))], turned)
    check(tmp_path / "x.tif", np.rot90(values, -1) / 65535)


@pytest.mark.parametrize("compression", ["jpeg", "group3", "group4", "tiff_ccitt", "webp"])
def test_what_is_compressed_as_an_image(tmp_path, compression):
    smooth = np.stack([*np.meshgrid(np.linspace(0, 255, 32), np.linspace(255, 0, 24)), np.full((24, 32), 100.0)], -1)
    rgb = Image.fromarray(smooth.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    for mode in (
        ("RGB", "L", "YCbCr", "CMYK") if compression == "jpeg" else ("RGB",) if compression == "webp" else ("1",)
    ):
        options = {"compression": compression, "exif": exif} | (
            {"quality": 95} if compression in ("jpeg", "webp") else {}
        )
        try:
            rgb.convert(mode).save(tmp_path / "x.tif", **options)
        except (OSError, RuntimeError, ValueError):
            pytest.skip(f"this Pillow has no {compression}")
        truth = np.rot90(np.asarray(rgb.convert(mode).convert("RGB")), 2) / 255
        image = read_image(tmp_path / "x.tif").permute(1, 2, 0)
        assert np.abs(image.numpy() - truth).mean() < (0.02 if mode != "1" else 1e-6)


def test_colours_that_tags_describe(tiff, tmp_path):
    values = integers(8, 3)
    corners = [0.64, 0.33, 0.30, 0.60, 0.15, 0.06]
    white = {318: (11, [0.3127, 0.329])}
    check(tiff(tmp_path / "x.tif", [packed(values, 8)], tags(8, 2, 3, also=white | {319: (11, corners)})), values / 255)
    curve = (np.linspace(0, 1, 256) * 65535).round().astype(int).tolist()  # samples are light itself
    tiff(tmp_path / "x.tif", [packed(values, 8)], tags(8, 2, 3, also={301: (3, curve * 3)}))
    light = values / 255
    truth = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    note = "colours converted from the primaries or the curve of its header to sRGB"
    check(tmp_path / "x.tif", truth, (note,), atol=0.01)
    tiff(tmp_path / "x.tif", [packed(values[..., :1], 8)], tags(8, 1, also={301: (3, curve)}))
    check(tmp_path / "x.tif", truth[..., :1], (note,), atol=0.002)
    tiff(tmp_path / "x.tif", [packed(values, 8)], tags(8, 2, 3, also={301: (3, curve * 2 + curve[::-1])}))
    check(tmp_path / "x.tif", light, ("its curves of red, green and blue differ and are not applied",))
    tiff(tmp_path / "x.tif", [packed(values, 8)], tags(8, 2, 3, also={319: (11, [0.3, 0.3] * 3)}))
    check(
        tmp_path / "x.tif",
        light,
        ("the colours that its header describes are taken for sRGB: its primaries lie on a line",),
    )


def test_promises_are_checked_before_anything_is_decoded(tiff, tmp_path):
    bomb = zlib.compress(bytes(1 << 24))
    for arguments, message in (
        (tags(8, 1, size=(8000, 8001), compression=8), "has 8001 × 8000 pixels, allowed are at least 1 and at most 64"),
        (tags(8, 1, size=(0, 5)), "has 5 × 0 pixels, allowed"),
        (tags(8, 1, size=(16, 16), compression=8, also={322: 65536, 323: 65536}), "its strips or tiles have 65536 × 65536"),
        (tags(8, 1, size=(16, 16), compression=8, also={322: 0, 323: 16}), "its strips or tiles have 0 × 16 pixels"),
        (tags(8, 1, size=(4000, 4000), compression=8, rows=1), "has 1 strips or tiles instead of 4000"),
        (tags(8, 2, 3, planar=2), "has 1 strips or tiles instead of 3"),
        (tags(8, 1) | {258: (4, [8] * 5), 277: 7}, None),
    ):  # fmt: skip
        tiff(tmp_path / "x.tif", [bomb], arguments)
        tracemalloc.start()
        if message is None:
            read_image(tmp_path / "x.tif")
        else:
            with pytest.raises(ValueError, match=rf"x\.tif .*{message}"):
                read_image(tmp_path / "x.tif")
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
        tracemalloc.stop()
    tiff(
        tmp_path / "x.tif", [bomb], tags(8, 1, compression=8)
    )  # a strip holds more than it should: the rest is not made
    check(tmp_path / "x.tif", np.zeros((HEIGHT, WIDTH)))


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_what_is_cut_short_or_altered(tiff, tmp_path, compression):
    path, values = tmp_path / "x.tif", integers(16, 3)
    data = (PACKERS | {1: bytes})[compression](packed(values, 16, "<"))
    whole = tiff(path, [data], tags(16, 2, 3, compression=compression)).read_bytes()
    for length in np.linspace(1, len(whole) - 2, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^[^\n]*x\.tif (is|has) [^\n]*$"):
            read_image(path)
    for _ in range(200):
        altered = bytearray(whole)
        for place in RANDOM.integers(0, 200, 2):
            altered[place] = RANDOM.integers(256)
        path.write_bytes(altered)
        with contextlib.suppress(ValueError):
            image = read_image(path, max_megapixels=1)
            assert 0 <= image.min() <= image.max() <= 1


def test_files_of_pillow(tmp_path):
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"):
        image = Image.fromarray(integers(8, 3).astype(np.uint8))
        image = Image.fromarray(integers(16)[..., 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
        for compression in (None, "tiff_lzw", "tiff_deflate", "packbits"):
            file = io.BytesIO()
            image.save(file, "TIFF", compression=compression)
            (tmp_path / "x.tif").write_bytes(file.getvalue())
            found = read_image(tmp_path / "x.tif").permute(1, 2, 0).numpy()
            truth = np.asarray(image.convert("RGB")) / 255 if mode != "I;16" else np.asarray(image)[..., None] / 65535
            np.testing.assert_allclose(found, np.broadcast_to(truth, found.shape), atol=1 / 255)
