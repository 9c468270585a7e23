"""JPEG 2000 of depths that Pillow does not write: without loss, its code stream differs only by the middle it is relative to."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from vqkit.data import read_image, read_image_with_notes
from vqkit.data.image.formats.colour import described_profile


def codestream(values, depths, stored_bits=8):
    """Values of each depth, written with ``stored_bits`` and then called what they are."""
    depths = [depths] * (1 if values.ndim == 2 else values.shape[2]) if isinstance(depths, int) else depths
    middles = np.array([(1 << stored_bits) // 2 - (1 << depth) // 2 for depth in depths])
    shifted = (values + (middles[0] if values.ndim == 2 else middles)).astype(f"u{stored_bits // 8}")
    file = io.BytesIO()
    Image.fromarray(shifted).save(file, "JPEG2000", no_jp2=True, irreversible=False, mct=0)
    data = bytearray(file.getvalue())
    start = data.index(b"\xff\x51") + 40
    for index, depth in enumerate(depths):
        data[start + 3 * index] = depth - 1
    return bytes(data)


def box(name, data):
    return struct.pack(">I4s", len(data) + 8, name) + data


def jp2(stream, width, height, samples, colour):
    head = box(b"ihdr", struct.pack(">IIHBBBB", height, width, samples, 7, 7, 0, 0)) + box(b"colr", colour)
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", head) + box(b"jp2c", stream)


DEEP_AVIF = {  # 16 × 16 pixels of one colour, written by avifenc
    10: "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2aWYAAAAADnBp"
    "dG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAACMAAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaX"
    "BjbwAAABRpc3BlAAAAAAAAABAAAAAQAAAAEHBpeGkAAAAAAwoKCgAAAAxhdjFDgSBAAAAAABNjb2xybmNseAABAA0AAIAAAAAXaXBtYQAAAAAAAAABAAEEAQKD"
    "BAAAACttZGF0EgAKCDgM/9jAQ0AIMhUQAAAAFLm4cSuTRRbHd9NKjk5i+9U=",
    12: "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPJtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGliYXZpZgAAAAAOcGl0bQAA"
    "AAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEWAAAAJQAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAA"
    "AAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADDAwMAAAADGF2MUOBQGAAAAAAE2NvbHJuY2x4AAEADQAAgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAA"
    "LW1kYXQSAAoIWAz/2NAQ0AIyFxAAAAAUubb4kOU0UWrPHHlKjk5XynSQ",
}
SRGB, GRAY = (b"\1\0\0" + struct.pack(">I", code) for code in (16, 17))


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("samples", [1, 3])
def test_few_bits(tmp_path, bits, samples):
    values = np.random.default_rng(0).integers(0, 1 << bits, (16, 24, samples))
    values[0, 0], values[0, 1] = 0, (1 << bits) - 1
    values = values[..., 0] if samples == 1 else values
    path = tmp_path / "x.j2k"
    path.write_bytes(codestream(values, bits))
    truth = values.reshape(16, 24, samples) / ((1 << bits) - 1)
    np.testing.assert_allclose(read_image(path, None).permute(1, 2, 0), truth, atol=1e-6)
    path.write_bytes(jp2(codestream(values, bits), 24, 16, samples, GRAY if samples == 1 else SRGB))
    np.testing.assert_allclose(read_image(path, None).permute(1, 2, 0), truth, atol=1e-6)


def test_depths_that_differ(tmp_path):
    values = np.stack([np.arange(24) % 32, np.arange(24) % 64, np.arange(24) % 16], -1)[None].repeat(16, 0)
    (tmp_path / "x.j2k").write_bytes(codestream(values, [5, 6, 4]))
    truth = values / np.array([31, 63, 15])
    np.testing.assert_allclose(read_image(tmp_path / "x.j2k").permute(1, 2, 0), truth, atol=1e-6)


@pytest.mark.parametrize("bits", [9, 12, 16])
def test_deep_gray(tmp_path, bits):
    values = np.linspace(0, (1 << bits) - 1, 24).round().astype(int)[None].repeat(16, 0)
    (tmp_path / "x.j2k").write_bytes(codestream(values, bits, 16))
    np.testing.assert_allclose(read_image(tmp_path / "x.j2k", 1)[0], values / ((1 << bits) - 1), atol=1e-6)


def test_deep_colour_is_refused(tmp_path):
    """Pillow rounds the brightest values beyond what a byte holds: white becomes black."""
    values = np.full((16, 24, 3), 2100)
    (tmp_path / "x.j2k").write_bytes(codestream(values, 12))
    with pytest.raises(ValueError, match="cannot be read .* samples have 12 bits, allowed are 8, or 16 of gray alone"):
        read_image(tmp_path / "x.j2k")


def test_headers_of_jpeg_2000(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 3))
    stream, path = codestream(values, 8), tmp_path / "x.jp2"
    linear = described_profile(None, 1.0, gray=False)
    path.write_bytes(jp2(stream, 24, 16, 3, b"\2\0\0" + linear))
    found = read_image_with_notes(path)
    assert found.notes == ("colours converted from its colour profile to sRGB",)
    light = values / 255
    truth = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(found.image.permute(1, 2, 0), truth, atol=0.0025)
    signed = bytearray(stream)
    signed[stream.index(b"\xff\x51") + 40] |= 0x80
    path.write_bytes(jp2(bytes(signed), 24, 16, 3, SRGB))
    with pytest.raises(ValueError, match="cannot be read .* signed samples"):
        read_image(path)
    huge = bytearray(stream)  # the boxes promise little, the code stream much
    huge[stream.index(b"\xff\x51") + 6 : stream.index(b"\xff\x51") + 14] = struct.pack(">II", 60000, 60000)
    path.write_bytes(jp2(bytes(huge), 24, 16, 3, SRGB))
    with pytest.raises(ValueError, match=r"x\.jp2 has 60000 × 60000 pixels, allowed"):
        read_image(path)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_headers_of_avif(tmp_path):
    values = np.zeros((16, 16, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "AVIF", quality=100)
    data, path = file.getvalue(), tmp_path / "x.avif"
    plain = read_image(path_of(path, data))
    assert read_image_with_notes(path).notes == ()
    at = data.index(b"nclx") + 4
    for primaries, transfer, notes in (
        (1, 13, ()),
        (12, 13, ("colours converted from Display P3 to sRGB",)),
        (9, 16, ("its colours are HDR (PQ) and are taken for sRGB",)),
    ):
        path.write_bytes(data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :])
        found = read_image_with_notes(path)
        assert found.notes == notes
        assert (found.image[0] > plain[0] + 0.02).all() == (primaries == 12)
    for bits, data in DEEP_AVIF.items():
        found = read_image_with_notes(path_of(path, base64.b64decode(data)))
        assert found.notes == (f"{bits} bits a sample are read with 8",)
        np.testing.assert_allclose(found.image[:, 3, 4] * 255, [200, 100, 50])


def path_of(path, data):
    path.write_bytes(data)
    return path


def test_damaged_boxes(tmp_path):
    stream = codestream(np.zeros((16, 24), int), 8)
    whole = jp2(stream, 24, 16, 1, GRAY)
    for length in range(13, len(whole), 7):
        with pytest.raises(ValueError, match=r"^[^\n]*x\.jp2 (is|has) [^\n]*$"):
            read_image(path_of(tmp_path / "x.jp2", whole[: min(length, len(whole) - len(stream) // 2)]))
    random = np.random.default_rng(0)
    for _ in range(100):
        altered = bytearray(whole)
        for place in random.integers(0, 160, 2):
            altered[place] = random.integers(256)
        path_of(tmp_path / "x.jp2", altered)
        try:
            image = read_image(tmp_path / "x.jp2", max_megapixels=1)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert 0 <= image.min() <= image.max() <= 1
