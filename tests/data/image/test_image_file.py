import contextlib
import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit.data import read_image, read_image_with_notes

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
GRAYS = COLOURS[..., 0]
LOSSLESS = {"webp": {"lossless": True}}


def planes(values):
    return values.transpose(2, 0, 1)


def luma(values):
    return np.tensordot(values.astype(np.float64), [0.299, 0.587, 0.114], 1)[None]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_rgb_and_gray(tmp_path, suffix):
    Image.fromarray(COLOURS).save(tmp_path / f"x.{suffix}")
    image = read_image(tmp_path / f"x.{suffix}")
    assert (image.dtype, image.shape, image.is_contiguous()) == (torch.float32, (3, 12, 20), True)
    np.testing.assert_allclose(image, planes(COLOURS) / 255, atol=1e-6)
    np.testing.assert_allclose(read_image(tmp_path / f"x.{suffix}", channels=1), luma(COLOURS) / 255, atol=1e-6)
    Image.fromarray(GRAYS).save(tmp_path / f"g.{suffix}")
    np.testing.assert_allclose(read_image(tmp_path / f"g.{suffix}", channels=1), GRAYS[None] / 255, atol=1e-6)
    assert torch.equal(
        read_image(tmp_path / f"g.{suffix}"), read_image(tmp_path / f"g.{suffix}", channels=1).repeat(3, 1, 1)
    )


@pytest.mark.parametrize("suffix", ["jpg", "webp", "jp2", "avif"])
def test_lossy_formats(tmp_path, suffix):
    smooth = np.stack([*np.meshgrid(np.linspace(0, 255, 32), np.linspace(255, 0, 24)), np.full((24, 32), 100.0)], -1)
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / f"x.{suffix}", quality=95)
    image = read_image(tmp_path / f"x.{suffix}")
    assert np.abs(image.numpy() - planes(smooth) / 255).mean() < 0.02


def test_16_bits(tmp_path, png):
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    png(tmp_path / "gray.png", 7, 5, 16, 0, values[..., 0].astype(">u2"))
    gray = read_image(tmp_path / "gray.png", channels=1)
    np.testing.assert_allclose(gray, values[None, ..., 0] / 65535, atol=1e-7)
    png(tmp_path / "rgb.png", 7, 5, 16, 2, values.astype(">u2"))
    np.testing.assert_allclose(read_image(tmp_path / "rgb.png"), planes(values) / 65535, atol=1e-7)
    (tmp_path / "x.pgm").write_bytes(b"P5\n7 5\n65535\n" + values[..., 0].astype(">u2").tobytes())
    assert torch.equal(read_image(tmp_path / "x.pgm", channels=1), gray)
    Image.fromarray(values[..., 0]).save(tmp_path / "x.tif")
    assert torch.equal(read_image(tmp_path / "x.tif", channels=1), gray)
    clear = (b"tRNS", struct.pack(">H", values[2, 3, 0]))
    png(tmp_path / "clear.png", 7, 5, 16, 0, values[..., 0].astype(">u2"), clear)
    gray[0, 2, 3] = 1
    torch.testing.assert_close(read_image(tmp_path / "clear.png", channels=1), gray)


def test_deep_values_without_a_known_white_are_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=r"x\.tif cannot be read .*signed integers of 32 bits, allowed are unsigned"):
        read_image(tmp_path / "x.tif")
    for value in (2.0, np.nan):
        Image.fromarray(np.full((2, 2), value, np.float32)).save(tmp_path / "f.tif")
        with pytest.raises(ValueError, match=r"f\.tif .* floats lie in .*, allowed is 0 … 1"):
            read_image(tmp_path / "f.tif")
    Image.fromarray(np.full((2, 2), 0.25, np.float32)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif").eq(0.25).all()


def test_cmyk(tmp_path):
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 128, 255, 0]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.tif")
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255**2
    np.testing.assert_allclose(read_image(tmp_path / "x.tif"), planes(expected), atol=1 / 255)
    Image.fromarray(np.tile(inks[:, 1:2], (16, 16, 1)), "CMYK").save(tmp_path / "x.jpg", quality=95)
    cyan = read_image(tmp_path / "x.jpg").mean((1, 2))
    np.testing.assert_allclose(cyan, [0, 1, 1], atol=0.02)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "avif", "mpo"])
def test_the_first_frame_of_an_animation_and_a_note(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    first, *others = (Image.new("RGB", (16, 12), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0)))
    first.save(path, save_all=True, append_images=others, **LOSSLESS.get(suffix, {}))
    found = read_image_with_notes(path)
    np.testing.assert_allclose(found.image.mean((1, 2)), [1, 0, 0], atol=0.03)
    word = {"tif": "pages", "mpo": "pictures"}.get(suffix, "frames")
    assert found.notes == (f"the first of 3 {word}; the others are left out",)
    first.save(path, **LOSSLESS.get(suffix, {}))
    assert read_image_with_notes(path).notes == ()


def test_a_damaged_frame_is_not_that_of_the_first(tmp_path):
    frames = [Image.fromarray(np.roll(COLOURS, shift, 0)) for shift in range(4)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    whole = read_image_with_notes(tmp_path / "x.gif")
    data = (tmp_path / "x.gif").read_bytes()
    (tmp_path / "x.gif").write_bytes(data[: len(data) * 2 // 3])
    found = read_image_with_notes(tmp_path / "x.gif")
    assert torch.equal(found.image, whole.image)
    assert len(found.notes) == 1
    assert found.notes[0].endswith("the others are left out")


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tif", "avif"])
def test_alpha_is_a_note_where_it_hides_something(tmp_path, suffix):
    image = Image.new("RGBA", (16, 12), (255, 0, 0, 255))
    image.save(tmp_path / f"x.{suffix}", **LOSSLESS.get(suffix, {}))
    assert read_image_with_notes(tmp_path / f"x.{suffix}").notes == ()
    image.putpixel((3, 4), (0, 0, 0, 0))
    image.save(tmp_path / f"x.{suffix}", **LOSSLESS.get(suffix, {}))
    found = read_image_with_notes(tmp_path / f"x.{suffix}")
    assert found.notes == ("what is transparent shows white",)
    np.testing.assert_allclose(found.image[:, 4, 3], 1, atol=0.05)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_the_limit_is_ours_and_not_pillows(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # it refuses twice as many
    for compression in (None, "tiff_lzw", "jpeg") if kind == "TIFF" else (None,):
        Image.fromarray(COLOURS).save(tmp_path / "x", kind, **({"compression": compression} if compression else {}))
        assert read_image(tmp_path / "x").shape == (3, 12, 20)
        with pytest.raises(
            ValueError, match="x has 20 × 12 pixels, allowed are at least 1 and at most 0.0001 megapixels"
        ):
            read_image(tmp_path / "x", max_megapixels=0.0001)


def test_alpha_and_palette_on_white(tmp_path):
    alpha = np.random.default_rng(2).integers(0, 256, (12, 20, 1), dtype=np.uint8)
    rgba = np.concatenate([COLOURS, alpha], -1)
    share = alpha / 255
    expected = COLOURS / 255 * share + (1 - share)
    for suffix in ("png", "tif"):
        Image.fromarray(rgba).save(tmp_path / f"x.{suffix}")
        np.testing.assert_allclose(read_image(tmp_path / f"x.{suffix}"), planes(expected), atol=1e-6)
    np.testing.assert_allclose(read_image(tmp_path / "x.png", channels=1), luma(expected), atol=1e-6)
    Image.fromarray(rgba[..., 2:]).save(tmp_path / "la.png")
    np.testing.assert_allclose(read_image(tmp_path / "la.png", 1), planes(expected[..., 2:]), atol=1e-6)
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 0])
    palette.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png")[:, 0].T.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    for kind, clear in (("png", b"\xff\xff\x00"), ("png", 2), ("gif", 2)):
        palette.save(tmp_path / f"c.{kind}", transparency=clear)
        assert read_image(tmp_path / f"c.{kind}")[:, 0].T.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    Image.fromarray(COLOURS).save(tmp_path / "key.png", transparency=tuple(COLOURS[4, 5].tolist()))
    key = planes(COLOURS / 255)
    key[:, 4, 5] = 1
    np.testing.assert_allclose(read_image(tmp_path / "key.png"), key, atol=1e-6)


def test_one_bit(tmp_path, png):
    png(tmp_path / "x.png", 3, 1, 1, 0, [b"\xa0"])
    assert read_image(tmp_path / "x.png", 1).tolist() == [[[1, 0, 1]]]


# How each orientation stores an upright picture: the inverse of what a reader has to do.
STORED = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](COLOURS)))
    stored.save(tmp_path / f"x.{suffix}", exif=exif, **LOSSLESS.get(suffix, {}))
    np.testing.assert_allclose(read_image(tmp_path / f"x.{suffix}"), planes(COLOURS) / 255, atol=1e-6)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_a_damaged_exif_block_says_nothing(tmp_path, exif):
    Image.fromarray(COLOURS).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").shape == (3, 12, 20)


def test_one_pixel(tmp_path):
    for suffix in ("png", "gif", "bmp", "webp", "jpg"):
        Image.new("RGB", (1, 1), (255, 255, 255)).save(tmp_path / f"x.{suffix}")
        assert read_image(tmp_path / f"x.{suffix}").flatten().tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_30_megapixels(tmp_path):
    Image.linear_gradient("L").resize((6000, 5000), Image.Resampling.NEAREST).save(tmp_path / "x.png", compress_level=1)
    image = read_image(tmp_path / "x.png", channels=1)
    assert image.shape == (1, 5000, 6000)
    assert image[0, [0, 2500, -1], 3000].tolist() == pytest.approx([0, 128 / 255, 1])


def test_a_huge_promise_is_refused_before_decoding(tmp_path, png):
    for side, message in (
        (8001, "8001 × 8000 pixels, allowed are at least 1 and at most 64 megapixels"),
        (60000, "60000 × 60000 pixels, allowed are"),
    ):
        path = png(tmp_path / "x.png", side, min(side, 8000) if side < 9000 else side, 8, 2, [b""])
        with pytest.raises(ValueError, match=rf"x\.png .*{message}"):
            read_image(path)
    Image.fromarray(COLOURS).save(path)
    with pytest.raises(ValueError, match=r"x\.png has 20 × 12 pixels, allowed are .* at most 0.0002 megapixels"):
        read_image(path, max_megapixels=0.0002)
    assert read_image(path, max_megapixels=0.00024).shape == (3, 12, 20)
    Image.new("1", (9500, 9500)).save(path)  # beyond the size at which Pillow warns
    with pytest.raises(ValueError, match="9500 × 9500"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_what_is_cut_short_or_altered(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(COLOURS.repeat(4, 0).repeat(4, 1)).save(buffer, kind)
    data = buffer.getvalue()
    path = tmp_path / "x.img"
    for length in np.linspace(1, len(data) * 0.9, 12).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"^[^\n]*x\.img (is|has) [^\n]*$"):
            read_image(path)
    random = np.random.default_rng(3)
    for _ in range(30):
        altered = bytearray(data)
        for place in random.integers(0, len(data), 3):
            altered[place] = random.integers(256)
        path.write_bytes(altered)
        with contextlib.suppress(ValueError):
            image = read_image(path)
            assert 0 <= image.min() <= image.max() <= 1


def test_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such image file: .*x\.png"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ValueError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "x.png").touch()
    with pytest.raises(ValueError, match=r"x\.png is empty \(0 bytes\)"):
        read_image(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match=r"x\.png is not an image that can be read, allowed are PNG, JPEG"):
        read_image(tmp_path / "x.png")
    for arguments, message in (
        ({"channels": 4}, r"channels is 4, allowed are 1 \(gray\) and 3 \(RGB\)"),
        ({"max_megapixels": 0}, "max_megapixels is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            read_image(tmp_path / "x.png", **arguments)


def test_pillow_is_asked_for_only_when_it_is_needed(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "PIL":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import vqkit.data
try:
    vqkit.data.read_image(sys.argv[1])
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "x.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "PIL is not installed: pip install 'vqkit[image]'"
