from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vqkit.report.error_map import GAIN, absolute_error, error_map_png, read_picture


def test_error_is_that_of_the_worst_channel():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, size=(2, 5, 7, 3))
    expected = [[max(abs(int(a) - int(b)) / 255 for a, b in zip(p, q, strict=True)) for p, q in zip(r, s, strict=True)]
                for r, s in zip(one, other, strict=True)]  # fmt: skip
    np.testing.assert_allclose(absolute_error(one, other), expected)
    np.testing.assert_array_equal(absolute_error(one, one), np.zeros((5, 7)))


def test_gray_against_colour():
    gray, colour = np.full((1, 1, 1), 100), np.array([[[100, 130, 90]]])
    assert absolute_error(gray, colour) == pytest.approx(30 / 255)


def test_the_map_has_the_size_of_the_image_and_grows_lighter():
    errors = np.linspace(0, 1 / GAIN, 64)[None].repeat(2, axis=0)
    image = Image.open(BytesIO(error_map_png(errors)))
    assert (image.format, image.size) == ("PNG", (64, 2))
    colours = np.asarray(image.convert("RGB")).astype(float)[0]
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(lightness) > 0)
    np.testing.assert_array_equal(colours[0], [0, 0, 0])


def test_the_gain_is_the_same_whatever_the_image_holds():
    def shown(*errors):
        return np.asarray(Image.open(BytesIO(error_map_png(np.array([errors])))))[0]

    assert shown(0.05, 0.1)[0] == shown(0.05, 0.9)[0] == round(0.05 * GAIN * 255)
    assert shown(1 / GAIN, 0.9).tolist() == [255, 255]


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("RGB", 3), ("P", 3)], ids=["gray", "bits", "colour", "palette"]
)
def test_reads_eight_bits(tmp_path, mode, channels):
    gradient = Image.fromarray(np.arange(0, 240, dtype=np.uint8).reshape(12, 20))
    gradient.convert(mode).save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png")
    assert (pixels.shape, pixels.dtype) == ((12, 20, channels), np.int16)
    if mode != "1":
        np.testing.assert_array_equal(pixels[:, :, 0], np.asarray(gradient))


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist, though results.json names it"):
        read_picture(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png is not readable as an image"):
        read_picture(tmp_path / "text.png")
    Image.new("RGBA", (2, 2)).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match=r"clear\.png has the pixel format RGBA, must be gray or RGB of 8 bits"):
        read_picture(tmp_path / "clear.png")
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has the pixel format I;16, must be gray or RGB of 8 bits"):
        read_picture(tmp_path / "deep.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:45])
    with pytest.raises(ValueError, match=r"cut\.png is not readable as an image"):
        read_picture(tmp_path / "cut.png")
