import resource

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit.data import read_image, write_image


def levels(channels, height=9, width=14):
    return np.random.default_rng(channels).integers(0, 256, (channels, height, width), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_what_8_bits_hold(tmp_path, channels):
    values = levels(channels)
    write_image(tmp_path / "x.png", torch.from_numpy(values / 255))
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == ("L" if channels == 1 else "RGB")
        np.testing.assert_array_equal(np.asarray(image).reshape(9, 14, channels), values.transpose(1, 2, 0))
    assert torch.equal(read_image(tmp_path / "x.png", channels), torch.from_numpy(values).float() / 255)


def test_values_are_clipped_and_rounded(tmp_path):
    write_image(
        tmp_path / "x.png", torch.tensor([[[-3.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 2.0]]], dtype=torch.float64)
    )
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(image).tolist() == [[0, 0, 1, 255, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_and_their_quality(tmp_path, suffix, channels):
    ramp = torch.linspace(0, 1, 64).expand(channels, 48, 64)
    noisy = (ramp + 0.1 * torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    error, size = [], []
    for quality in (95, 20):
        write_image(tmp_path / f"x.{suffix}", noisy, quality)
        error.append((read_image(tmp_path / f"x.{suffix}", channels) - noisy).square().mean())
        size.append((tmp_path / f"x.{suffix}").stat().st_size)
    assert error[0] < error[1] < 0.02
    assert size[0] > 2 * size[1]


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.webp"
    write_image(path, torch.zeros(1, 4, 4))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"cannot write .*x\.webp: "):
        write_image(path, torch.zeros(1, 1, 20000))  # WebP ends at 16383
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "image", "quality", "message"),
    [
        ("x.gif", torch.zeros(1, 2, 2), 90, "the suffix is '.gif', allowed are .png, .jpg, .jpeg, .webp"),
        ("x.png", torch.zeros(4, 2, 2), 90, r"shape \(4, 2, 2\), expected \(1 or 3, height, width\)"),
        ("x.png", torch.zeros(2, 2), 90, r"shape \(2, 2\)"),
        ("x.png", torch.zeros(1, 0, 2), 90, r"shape \(1, 0, 2\)"),
        ("x.png", torch.zeros(1, 2, 2, dtype=torch.uint8), 90, "torch.uint8, expected floating point"),
        ("x.png", torch.full((1, 2, 2), torch.nan), 90, "NaN"),
        ("x.jpg", torch.zeros(1, 2, 2), 0, "quality is 0, allowed are 1 to 100"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, image, quality, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image, quality)
    assert not list(tmp_path.iterdir())


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        write_image(tmp_path / "nowhere/x.png", torch.zeros(1, 2, 2))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_image(path, torch.rand(3, 90, 140))
    old, size = path.read_bytes(), path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))  # the system refuses what a file has beyond
    try:
        with pytest.raises(OSError, match="File too large"):
            write_image(path, torch.rand(3, 90, 140))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileExistsError):
        write_image(path, torch.rand(3, 9, 14), overwrite=False)
    assert path.read_bytes() == old
