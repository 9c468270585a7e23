import io

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit.bitstream import BitstreamError, VqkReader, inspect
from vqkit.coding import CodedImage, Rate, decode_image_file, encode_image_file
from vqkit.data import read_image


class Pipe(io.RawIOBase):
    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self._file.read(size)


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("name", ["b.png", "b.webp", "b.jpg"])
def test_the_file_is_what_the_tokenizer_makes(tokenizer, picture, tmp_path, name):
    source, file = picture(tmp_path / "a.png"), tmp_path / "a.vqk"
    shares = []
    coded = encode_image_file(tokenizer, source, file, watch=lambda *progress: shares.append(progress))
    size = file.stat().st_size
    assert coded == CodedImage(height=60, width=83, bytes=size, stages=3)
    assert coded.bpp == size * 8 / (60 * 83)
    assert shares == [(0.0, 1.0)]
    image = read_image(source)
    assert file.read_bytes() == tokenizer.compress(image)
    header = VqkReader(file, model_hash=None).header
    assert (header.image_size, header.grid, header.model) == ((60, 83), (15, 21), "ImageTokenizer")
    assert decode_image_file(tokenizer, file, tmp_path / name) == coded
    made = tokenizer.decode(tokenizer.encode(image[None]), (60, 83))[0]
    if name == "b.png":
        assert np.array_equal(pixels(tmp_path / name), (made * 255).round().byte().permute(1, 2, 0).numpy())
    assert pixels(tmp_path / name).shape == (60, 83, 3)


@pytest.mark.parametrize(
    ("rate", "stages"),
    [(Rate(stages=2), 2), (Rate(bpp=0.55), 1), (Rate(bpp=0.9), 2), (Rate(max_bytes=710), 3), (Rate(max_bytes=600), 2)],
)
def test_rates(tokenizer, picture, tmp_path, rate, stages):
    source = picture(tmp_path / "a.png")  # 315 cells of 5 bits a stage: 197 bytes, 0.316 bits a pixel
    coded = encode_image_file(tokenizer, source, tmp_path / "a.vqk", rate)
    assert coded.stages == stages
    assert coded.bytes == (tmp_path / "a.vqk").stat().st_size
    encode_image_file(tokenizer, source, tmp_path / "b.vqk", Rate(stages=stages))
    assert VqkReader(tmp_path / "a.vqk").read()[:, :stages].tolist() == VqkReader(tmp_path / "b.vqk").read().tolist()
    assert decode_image_file(tokenizer, tmp_path / "a.vqk", tmp_path / "b.png").stages == stages
    if rate.max_bytes or rate.bpp:
        assert (
            coded.bytes <= (rate.max_bytes or rate.bpp * 60 * 83 / 8) < inspect(tmp_path / "a.vqk")["file_bytes"] + 220
        )


def test_rates_that_cannot_be(tokenizer, picture, tmp_path):
    source = picture(tmp_path / "a.png")
    for rate, message in (
        (Rate(bpp=0.3), "bpp=0.3 allows 186 bytes for 83×60 pixels, and the smallest possible file, of one stage, has"),
        (Rate(stages=4), "stages is 4, this tokenizer has 1 to 3"),
        (Rate(max_bytes=100), "max_bytes is 100, and the smallest possible file, of one stage, has"),
    ):
        with pytest.raises(ValueError, match=message):
            encode_image_file(tokenizer, source, tmp_path / "a.vqk", rate)
    assert not (tmp_path / "a.vqk").exists()


def test_pipes_give_the_same(tokenizer, picture, tmp_path):
    source = picture(tmp_path / "a.png")
    encode_image_file(tokenizer, source, tmp_path / "a.vqk", licence="MIT", metadata={"title": "A"})
    target = io.BytesIO()
    encode_image_file(tokenizer, Pipe(source.read_bytes()), target, licence="MIT", metadata={"title": "A"})
    data = (tmp_path / "a.vqk").read_bytes()
    assert target.getvalue() == data
    back = io.BytesIO()
    decode_image_file(tokenizer, data := Pipe(data), back, suffix=".png")
    decode_image_file(tokenizer, tmp_path / "a.vqk", tmp_path / "b.png")
    assert back.getvalue() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(ValueError, match="^it is not an image that can be read"):
        encode_image_file(tokenizer, Pipe(b"no image"), io.BytesIO())


@pytest.mark.parametrize(
    ("mode", "name", "notes"),
    [
        ("L", "a.png", ("gray in each of 3 channels",)),
        ("I;16", "a.png", ("gray in each of 3 channels",)),
        ("1", "a.png", ("gray in each of 3 channels",)),
        ("P", "a.gif", ()),
        ("CMYK", "a.jpg", ("CMYK without a colour profile: converted by formula",)),
        ("RGBA", "a.webp", ()),
        ("RGB", "a.bmp", ()),
        ("RGB", "a.tiff", ()),
    ],
)
def test_kinds_of_images(tokenizer, picture, tmp_path, mode, name, notes):
    source = picture(tmp_path / name, mode=mode)
    coded = encode_image_file(tokenizer, source, tmp_path / "a.vqk")
    assert coded.notes == notes
    expected = tokenizer.encode(read_image(source)[None])[0].flatten(1).T
    assert torch.equal(VqkReader(tmp_path / "a.vqk").read(), expected)


def test_a_gray_tokenizer(gray_tokenizer, picture, tmp_path):
    coded = encode_image_file(gray_tokenizer, picture(tmp_path / "a.png"), tmp_path / "a.vqk")
    assert coded.notes == ("colour left out: the tokenizer is gray",)
    expected = gray_tokenizer.encode(read_image(tmp_path / "a.png", channels=1)[None])[0].flatten(1).T
    assert torch.equal(VqkReader(tmp_path / "a.vqk").read(), expected)
    decode_image_file(gray_tokenizer, tmp_path / "a.vqk", tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").mode == "L"
    assert encode_image_file(gray_tokenizer, picture(tmp_path / "c.png", mode="L"), tmp_path / "c.vqk").notes == ()
    Image.new("RGBA", (9, 9), (1, 2, 3, 4)).save(tmp_path / "d.png")
    notes = encode_image_file(gray_tokenizer, tmp_path / "d.png", tmp_path / "d.vqk").notes
    assert notes == ("what is transparent shows white", "colour left out: the tokenizer is gray")


def test_animation_orientation_and_one_pixel(tokenizer, picture, tmp_path):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    coded = encode_image_file(tokenizer, tmp_path / "a.gif", tmp_path / "a.vqk")
    frames[0].save(tmp_path / "red.png")
    encode_image_file(tokenizer, tmp_path / "red.png", tmp_path / "red.vqk")
    assert torch.equal(VqkReader(tmp_path / "a.vqk").read(), VqkReader(tmp_path / "red.vqk").read())
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "turned.jpg", (8, 24), exif=exif)
    coded = encode_image_file(tokenizer, tmp_path / "turned.jpg", tmp_path / "t.vqk")
    assert (coded.height, coded.width) == (24, 8)
    encode_image_file(tokenizer, picture(tmp_path / "one.png", (1, 1)), tmp_path / "one.vqk")
    decode_image_file(tokenizer, tmp_path / "one.vqk", tmp_path / "back.png")
    assert Image.open(tmp_path / "back.png").size == (1, 1)


def test_files_that_are_bad(tokenizer, picture, tmp_path):
    whole = picture(tmp_path / "a.png").read_bytes()
    for name, data, message in (
        ("cut.png", whole[:-2000], "cut.png is damaged or cut short"),
        ("empty.jpg", b"", "empty.jpg is empty"),
        ("text.webp", b"no image", "text.webp is not an image that can be read"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message):
            encode_image_file(tokenizer, tmp_path / name, tmp_path / "a.vqk")
    with pytest.raises(FileNotFoundError, match="no such image file"):
        encode_image_file(tokenizer, tmp_path / "none.png", tmp_path / "a.vqk")
    assert not (tmp_path / "a.vqk").exists()


def test_thirty_megapixels(tokenizer, tmp_path):
    """Compressed noise-free, so that only size is tried; what the networks are given stays a tile."""
    sizes = []
    hook = tokenizer.backbone.encoder.register_forward_hook(lambda _, given, __: sizes.append(given[0].shape[-2:]))
    Image.new("RGB", (6000, 5000), (30, 90, 200)).save(tmp_path / "a.png", compress_level=1)
    coded = encode_image_file(tokenizer, tmp_path / "a.png", tmp_path / "a.vqk", Rate(stages=1))
    hook.remove()
    assert (coded.width, coded.height) == (6000, 5000)
    assert max(max(size) for size in sizes) == 512 + 2 * tokenizer.backbone.margin
    found = inspect(tmp_path / "a.vqk")
    assert found["frames"] == 1250 * 1500
    assert found["chunks"] == 1250 // 2
    Image.new("1", (9000, 8000)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="9000 × 8000 pixels, allowed are at least 1 and at most 64 megapixels"):
        encode_image_file(tokenizer, tmp_path / "b.png", tmp_path / "b.vqk")


@pytest.mark.parametrize("piped", [False, True])
def test_damage_is_gray_and_named(tokenizer, picture, tmp_path, piped):
    encode_image_file(tokenizer, picture(tmp_path / "a.png", (200, 512)), tmp_path / "a.vqk")  # 50 rows of 128 cells
    data = bytearray((tmp_path / "a.vqk").read_bytes())
    decode_image_file(tokenizer, tmp_path / "a.vqk", tmp_path / "whole.png")
    data[5000] ^= 1
    coded = decode_image_file(tokenizer, Pipe(data) if piped else io.BytesIO(data), tmp_path / "b.png")
    (warning,) = coded.warnings
    assert "a chunk is altered" in warning
    assert warning.endswith("frames 0 to 4095 are lost; these cells are gray")
    found, whole = pixels(tmp_path / "b.png"), pixels(tmp_path / "whole.png")
    assert (found[:128] == 128).all()
    reach = tokenizer.backbone.margin
    assert np.array_equal(found[128 + reach :], whole[128 + reach :])
    data[5000] ^= 1
    cut = bytes(data[:-100])
    coded = decode_image_file(tokenizer, Pipe(cut) if piped else io.BytesIO(cut), tmp_path / "b.png")
    assert coded.warnings == ("the file ends after 4096 of 6400 cells; the others are gray",)
    found = pixels(tmp_path / "b.png")
    assert (found[128:] == 128).all()
    assert np.array_equal(found[: 128 - reach], whole[: 128 - reach])


def test_files_of_others(tokenizer, gray_tokenizer, picture, tmp_path):
    encode_image_file(tokenizer, picture(tmp_path / "a.png"), tmp_path / "a.vqk")
    with pytest.raises(BitstreamError, match="written by model 'ImageTokenizer' with weights"):
        decode_image_file(gray_tokenizer, tmp_path / "a.vqk", tmp_path / "b.png")
    with pytest.raises(ValueError, match="the suffix is '.gif', allowed are .png, .jpg, .jpeg, .webp"):
        decode_image_file(tokenizer, tmp_path / "a.vqk", tmp_path / "b.gif")
