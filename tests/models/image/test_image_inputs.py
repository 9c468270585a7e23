"""Awkward image files, on their whole way: read_image, Images and ImageTokenizer.encode, with a right result or one clear error."""

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit import FSQ
from vqkit.data import Images, decode_image, list_images, read_image
from vqkit.models import ConvBackbone, ImageTokenizer

COLOUR = (230, 120, 20)


def tokenizer(channels=3):
    torch.manual_seed(0)
    return ImageTokenizer(ConvBackbone(dim=4, width=8, channels=channels), FSQ(4, (8, 5, 5, 5))).eval()


def plain(height, width, colour=COLOUR):
    return (torch.tensor(colour) / 255)[:, None, None].expand(3, height, width)


def cmyk(path):
    inks = np.empty((12, 20, 4), np.uint8)
    inks[:] = (*(255 - value for value in COLOUR), 0)
    Image.fromarray(inks, "CMYK").save(path)


def palette(path):
    image = Image.new("P", (20, 12), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    image.save(path)


def animated(path):
    Image.new("RGB", (20, 12), COLOUR).save(
        path, save_all=True, append_images=[Image.new("RGB", (20, 12))], lossless=True
    )


def sixteen_bits(path):
    Image.fromarray(np.full((12, 20), 0.4 * 65535, np.uint16)).save(path)


def one_pixel(path):
    Image.new("RGB", (1, 1), COLOUR).save(path)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("cmyk.tif", cmyk, plain(12, 20)),
        ("palette.png", palette, plain(12, 20)),
        ("palette.gif", palette, plain(12, 20)),
        ("animated.webp", animated, plain(12, 20)),
        ("animated.png", animated, plain(12, 20)),
        ("deep.png", sixteen_bits, torch.full((3, 12, 20), 0.4)),
        ("deep.tif", sixteen_bits, torch.full((3, 12, 20), 0.4)),
        ("one.png", one_pixel, plain(1, 1)),
    ],
)
def test_a_right_result(tmp_path, name, write, expected):
    write(tmp_path / name)
    image = read_image(tmp_path / name)
    torch.testing.assert_close(image, expected, atol=1e-6 if "cmyk" not in name else 1 / 255, rtol=0)
    assert torch.equal(decode_image((tmp_path / name).read_bytes()), image)
    (item,) = list_images(tmp_path)
    ready = Images([item], (16, 24), unreadable="raise")[0].image
    torch.testing.assert_close(ready, image[:, :1, :1].expand(3, 16, 24))
    for channels in (1, 3):
        model = tokenizer(channels)
        picture = read_image(tmp_path / name, channels)
        codes = model.encode(picture[None])
        size = tuple(picture.shape[1:])
        assert codes.shape == (1, model.quantizer.num_codes, *model.grid(*size))
        made = model.decode(codes, size)
        assert made.shape == (1, *picture.shape)
        assert torch.equal(model.decompress(model.compress(picture)), made[0])


def test_cut_short_is_one_error(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for name in ("x.png", "x.jpg", "x.webp", "x.tif", "x.gif"):
        Image.fromarray(values).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
        items = list_images(tmp_path / name)
        for read in (
            lambda path=tmp_path / name: read_image(path),
            lambda items=items: Images(items, 8, unreadable="raise")[0],
        ):
            with pytest.raises(
                ValueError, match=rf"^[^\n]*{name} (is damaged or cut short|has a damaged header)[^\n]*$"
            ):
                read()


def test_30_megapixels_become_an_item(tmp_path):
    Image.linear_gradient("L").resize((6000, 5000), Image.Resampling.NEAREST).save(tmp_path / "x.png", compress_level=1)
    image, _ = Images(list_images(tmp_path), 64, channels=1, unreadable="raise")[0]
    assert image.shape == (1, 64, 64)
    torch.testing.assert_close(image[0].mean(1), (torch.arange(64) + 0.5) / 64, atol=0.01, rtol=0)
    assert tokenizer(1).encode(image[None]).shape[0] == 1


def test_what_is_no_image_of_floats_is_named():
    model = tokenizer()
    with pytest.raises(
        ValueError, match=r"images must be \(batch, 3 channels, height, width\), got shape \(1, 3, 0, 5\)"
    ):
        model.encode(torch.zeros(1, 3, 0, 5))
    with pytest.raises(TypeError, match="images must be floating, got torch.uint8"):
        model.encode(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
