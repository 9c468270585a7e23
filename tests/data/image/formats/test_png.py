import struct
import zlib

import numpy as np
import pytest
from PIL import ImageCms

from vqkit.data import read_image, read_image_with_notes
from vqkit.data.image.formats.colour import described_profile

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}
RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 13, 19
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CLEAR = ("what is transparent shows white",)


def check(path, truth, notes=(), atol=1e-6):
    found = read_image_with_notes(path, channels=None)
    truth = truth if truth.ndim == 3 else truth[..., None]
    assert found.image.shape == (truth.shape[2], *truth.shape[:2])
    np.testing.assert_allclose(found.image.permute(1, 2, 0), truth, atol=atol)
    assert found.notes == notes


def on_white(values, white):
    """Truth of values whose last sample is alpha."""
    shares = values / white
    return shares[..., :-1] * shares[..., -1:] + 1 - shares[..., -1:]


def filtered(rows, pixel_bytes):
    """Rows with PNG's filters 0 to 4 in turn, each with its number before it."""
    before, out = [0] * len(rows[0]), b""
    for index, row in enumerate(map(list, rows)):
        left = [0] * pixel_bytes + row
        corner = [0] * pixel_bytes + before
        kind, line = index % 5, []
        for at, value in enumerate(row):
            a, b, c = left[at], before[at], corner[at]
            paeth = min((a, b, c), key=lambda one, p=a + b - c: abs(p - one))
            line.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        out += bytes([kind, *line])
        before = row
    return out


@pytest.mark.parametrize("colour", SAMPLES)
@pytest.mark.parametrize("interlace", [0, 1])
def test_all_16_bits(png, tmp_path, colour, interlace):
    values = RANDOM.integers(0, 65536, (HEIGHT, WIDTH, SAMPLES[colour]))
    truth = on_white(values, 65535) if colour in (GRAY_ALPHA, RGBA) else values / 65535
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, across in passes if interlace else [(0, 0, 1, 1)]:
        part = values[top::down, left::across].astype(">u2")
        data += filtered([row.tobytes() for row in part], 2 * SAMPLES[colour])
    path = png(tmp_path / "x.png", WIDTH, HEIGHT, 16, colour, [], interlace=interlace, data=zlib.compress(data))
    check(path, truth, CLEAR if colour in (GRAY_ALPHA, RGBA) else ())


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray(png, tmp_path, bits):
    values = RANDOM.integers(0, 1 << bits, (HEIGHT, 16))
    for key in {0, (1 << bits) - 1, int(values[3, 4])}:
        values[0, 0] = key
        path = png(tmp_path / "x.png", 16, HEIGHT, bits, GRAY, packed(values, bits), (b"tRNS", struct.pack(">H", key)))
        check(path, np.where(values == key, 1, values / ((1 << bits) - 1)), CLEAR)


def packed(values, bits):
    if bits >= 8:
        return [row.tobytes() for row in values.astype(f">u{bits // 8}")]
    texts = ["".join(f"{value:0{bits}b}" for value in row) for row in values.tolist()]
    return [int(text, 2).to_bytes(len(text) // 8, "big") for text in texts]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour(png, tmp_path, bits):
    values = RANDOM.integers(0, 1 << bits, (HEIGHT, WIDTH, 3))
    values[5, 6] = values[7, 8]
    values[7, 9] = values[7, 8] ^ np.array([0, 0, 1])  # differs in the lowest bit
    key = struct.pack(">3H", *values[7, 8].tolist())
    rows = [row.tobytes() for row in values.astype(f">u{bits // 8}")]
    truth = values / ((1 << bits) - 1)
    truth[5, 6] = truth[7, 8] = 1
    check(png(tmp_path / "x.png", WIDTH, HEIGHT, bits, RGB, rows, (b"tRNS", key)), truth, CLEAR)
    key = struct.pack(">3H", 1, 2, 3)  # nothing has it
    check(
        png(tmp_path / "x.png", WIDTH, HEIGHT, bits, RGB, rows, (b"tRNS", key)),
        np.where(truth == 1, values / ((1 << bits) - 1), truth),
    )


def sample(png, path, *chunks, colour=RGB, bits=8):
    values = RANDOM.integers(0, 1 << bits, (HEIGHT, WIDTH, SAMPLES[colour]))
    rows = [row.tobytes() for row in values.astype(f">u{bits // 8}")]
    png(path, WIDTH, HEIGHT, bits, colour, rows, *chunks)
    return values / ((1 << bits) - 1)


def srgb_of(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def profile_chunk(profile):
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def test_a_profile(png, tmp_path):
    path, linear = tmp_path / "x.png", described_profile(None, 1.0, gray=False)
    note = "colours converted from its colour profile to sRGB"
    truth = sample(png, path, profile_chunk(linear))
    check(path, srgb_of(truth), (note,), 0.0025)
    truth = sample(png, path, profile_chunk(linear), bits=16)
    check(path, srgb_of(truth), (note, "its samples were rounded to 8 bits for that"), 0.04)
    truth = sample(png, path, profile_chunk(described_profile(None, 1.0, gray=True)), colour=GRAY, bits=16)
    check(path, srgb_of(truth), (note,), 1e-4)
    truth = sample(png, path, profile_chunk(SRGB))
    check(path, truth)
    large = linear + bytes(3 << 20)  # Pillow refuses an image with a profile of more than one megabyte
    truth = sample(png, path, profile_chunk(struct.pack(">I", len(large)) + large[4:]))
    check(path, srgb_of(truth), (note,), 0.0025)


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (b"name\0\0" + b"no zlib", "it is damaged"),
        (b"name\0\0" + zlib.compress(SRGB)[:-50], "it is damaged"),
        (b"name\0\1" + zlib.compress(SRGB), "it is damaged"),
        (b"no name", "it is damaged"),
        (b"", "it is damaged"),
        (b"name\0\0" + zlib.compress(b"junk"), "cannot open profile from string"),
        (b"name\0\0" + zlib.compress(SRGB[:200]), "cannot open profile from string"),
        (b"name\0\0" + zlib.compress(described_profile(None, 2.2, gray=True)), "it is for GRAY, and the image is RGB"),
    ],
)
def test_a_profile_that_cannot_be_applied_is_a_note(png, tmp_path, chunk, why):
    truth = sample(png, tmp_path / "x.png", (b"iCCP", chunk))
    check(tmp_path / "x.png", truth, (f"its colour profile is not applied: {why}",))


GAMMA_1, GAMMA_SRGB = (b"gAMA", struct.pack(">I", 100000)), (b"gAMA", struct.pack(">I", 45455))
CHRM_SRGB = (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
CHRM_ODD = (
    b"cHRM",
    struct.pack(">8I", 31270, 32900, 30000, 60000, 64000, 33000, 15000, 6000),
)  # red and green change places


def test_gamma_and_primaries(png, tmp_path):
    path = tmp_path / "x.png"
    note = ("colours converted from the gamma and primaries of its header to sRGB",)
    truth = sample(png, path, GAMMA_1)
    check(path, srgb_of(truth), note, 0.0025)
    truth = sample(png, path, GAMMA_1, CHRM_ODD, colour=GRAY)
    check(path, srgb_of(truth), note, 0.0025)
    truth = sample(png, path, GAMMA_1, colour=GRAY_ALPHA, bits=16)
    truth[..., 0] = srgb_of(truth[..., 0])
    truth = truth[..., :1] * truth[..., 1:] + 1 - truth[..., 1:]
    check(path, truth, (*note, *CLEAR), 1e-4)
    truth = sample(png, path, CHRM_ODD)
    check(path, truth[..., [1, 0, 2]], note, 0.006)
    for chunks in (
        [GAMMA_SRGB],
        [CHRM_SRGB],
        [GAMMA_SRGB, CHRM_SRGB],
        [(b"sRGB", b"\0"), GAMMA_1],
        [(b"gAMA", bytes(4))],
    ):
        truth = sample(png, path, *chunks)
        check(path, truth)
    truth = sample(png, path, profile_chunk(SRGB), GAMMA_1)  # the profile says more
    check(path, truth)
    truth = sample(png, path, (b"gAMA", struct.pack(">I", 1)))
    check(path, truth, ("the colours that its header describes are taken for sRGB: a gamma of 100000 cannot be",))


def test_code_points(png, tmp_path):
    path = tmp_path / "x.png"
    for points, notes in (
        ((1, 13, 0, 1), ()),
        ((1, 16, 0, 1), ("its colours are HDR (PQ) and are taken for sRGB",)),
        ((9, 18, 0, 1), ("its colours are HDR (HLG) and are taken for sRGB",)),
        ((99, 13, 0, 1), ("its colours (code points 99 and 13 of H.273) are taken for sRGB",)),
    ):
        truth = sample(png, path, (b"cICP", bytes(points)), GAMMA_1)
        check(path, truth, notes)
    truth = sample(png, path, (b"cICP", bytes([1, 8, 0, 1])))
    check(path, srgb_of(truth), ("colours converted from primaries of its header to sRGB",), 0.0025)


def test_text_that_is_too_large_or_damaged_is_no_fault_of_the_image(png, tmp_path):
    truth = sample(png, tmp_path / "x.png", (b"zTXt", b"key\0\0" + zlib.compress(bytes(1 << 25))), (b"iTXt", b"\xff"))
    check(tmp_path / "x.png", truth)


def test_palettes_keep_their_transparent_entries(png, tmp_path):
    indices = RANDOM.integers(0, 3, (HEIGHT, WIDTH))
    colours, alpha = np.array([[255, 0, 0], [0, 255, 0], [7, 8, 9]]), np.array([255, 0, 51])
    path = png(
        tmp_path / "x.png", WIDTH, HEIGHT, 8, PALETTE, [bytes(row) for row in indices.tolist()],
        (b"PLTE", bytes(colours.reshape(-1).tolist())), (b"tRNS", bytes(alpha.tolist())),
    )  # fmt: skip
    check(path, on_white(np.concatenate([colours, alpha[:, None]], 1), 255)[indices], CLEAR)


def test_the_file_may_be_cut_short_anywhere(png, tmp_path):
    for bits in (8, 16):
        sample(png, tmp_path / "x.png", CHRM_ODD, bits=bits)
        data = (tmp_path / "x.png").read_bytes()
        for length in range(1, len(data) - 40, 17):
            (tmp_path / "x.png").write_bytes(data[:length])
            with pytest.raises(ValueError, match=r"^[^\n]*x\.png (is|has) [^\n]*$"):
                read_image(tmp_path / "x.png")
