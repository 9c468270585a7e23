"""The image tokenizer that ships: it loads without a name, codes photographs at every rate, and is what its card says."""

import hashlib
import re

import pytest
import torch

from vqkit.cli import main
from vqkit.data import list_images, read_image, sample_folder
from vqkit.models import ImageTokenizer, TransformBackbone
from vqkit.models.image_tiles import encode_tiles
from vqkit.models.image_tokenizer import SHIPPED


@pytest.fixture(scope="module")
def tokenizer():
    return ImageTokenizer.from_pretrained()


@pytest.fixture(scope="module")
def photographs():
    return [read_image(item.path, 3) for item in list_images(sample_folder(), "test")]


def psnr_db(estimate, reference):
    return float(-10 * (estimate - reference).square().mean().log10())


def test_it_is_a_tokenizer_in_evaluation_mode(tokenizer):
    assert isinstance(tokenizer.backbone, TransformBackbone)
    assert not tokenizer.training
    assert tokenizer.prior is not None
    assert tokenizer.stage_bits(160, 160) == tuple(1000.0 * stages for stages in range(1, 17))


def test_more_bits_are_better(tokenizer, photographs):
    for image in photographs:
        found = [psnr_db(tokenizer.decompress(tokenizer.compress(image, bpp=bpp)), image) for bpp in (0.06, 0.25, 0.7)]
        assert found == sorted(found)
        assert found[0] > 20
        assert found[-1] > 27


def test_the_prior_saves_bits(tokenizer, photographs):
    image = photographs[0]
    assert len(tokenizer.compress(image)) < 0.97 * len(tokenizer.compress(image, plain=True))


def test_tiles_leave_no_seams(tokenizer):
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 50, generator=generator), (640, 800), mode="bicubic")
    image = image.clamp(0, 1)
    whole = tokenizer.encode(image)[0].flatten(start_dim=1).T
    tiled = torch.cat(list(encode_tiles(tokenizer, image[0], tile_pixels=256)))
    assert tiled.shape == whole.shape
    assert (tiled != whole).float().mean() < 0.002  # near-ties that float rounding decides


def test_the_card_says_what_it_is():
    card = (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest()
    assert re.search(r"sha256 `(\w+)`", card)[1] == digest
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 12e6


def test_the_command_line_needs_no_model(tmp_path, capsys):
    photograph = list_images(sample_folder(), "test")[0].path
    assert main(["encode", str(photograph), str(tmp_path / "a.vqk"), "--bpp", "0.25"]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "a.png")]) == 0
    original, decoded = read_image(photograph, 3), read_image(tmp_path / "a.png", 3)
    assert decoded.shape == original.shape
    assert 8 * (tmp_path / "a.vqk").stat().st_size < 0.30 * original[0].numel()
    assert psnr_db(decoded, original) > 24
    capsys.readouterr()
