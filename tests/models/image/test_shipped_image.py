"""The image tokenizers that ship: the newest loads without a name, each codes photographs at every rate, and is what its card says."""

import copy
import hashlib
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from vqkit.cli import main
from vqkit.data import list_images, read_image, sample_folder
from vqkit.models import ImageTokenizer, LappedBackbone, TransformBackbone
from vqkit.models.identity import weight_hash
from vqkit.models.image.tiles import encode_tiles
from vqkit.models.image.tokenizer import DRAWN, SHIPPED

HASH = "149dbaa0fbbd76981023004554ed61e59202a375ce239428b3b2632124d6d018"
# of 48 × 64 pixels whose values rise evenly from 0 to 1, at 0.4 bits a pixel, by commit cf9f42d; then the same by a copy in bfloat16,
# which had a hash of its own then
FILE = bytes.fromhex(
    "8956514b015b4801800810010110020301040102300140010000000220149dbaa0fbbd76981023004554ed61e59202a375ce"
    "239428b3b2632124d6d01810d382c5f6348f365ad757bb7b2202b5ae0000000e496d616765546f6b656e697a65720036032c"
    "aaf563000c0118240fa5e78146913b8b3c4829891ee1fbf8e8b599ee3e0588aaf040abf8b171c0f5650c00eb6f5e51"
)
BFLOAT16_FILE = bytes.fromhex(
    "8956514b015b4801800810010110020301040102300140010000000220b63b01ced0aabba99515b06444bc5b256905ccd024"
    "83a820f6ea348622bb509910d382c5f6348f365ad757bb7b2202b5ae0000000e496d616765546f6b656e697a6572006a285f"
    "f4f563000c0118dc9089368146913b8b3c4829891ee1fbf8e8b599ee3e0588aaf040ab990a53fbf5650c00e0438e7b"
)


SECOND_HASH = "7e75e402f6422175cf5b98b6286728f965398f8e88c0fb8158b8a0f8142f504f"
# of the same pixels at 1 bit a pixel
SECOND_FILE = bytes.fromhex(
    "8956514b0275620b19012104512a7d0451037d0451037d0451037d04f30140040702060507040808020301040102300140010000"
    "0003207e75e402f6422175cf5b98b6286728f965398f8e88c0fb8158b8a0f8142f504f10693854987335ea41b6b6994cd0ef992e"
    "0000000e496d616765546f6b656e697a657200a38c6703f563000c13140e01010101010101010101010101010101011aa423e300"
    "e2196ee1c945e05d402044b0b063b0564df7b08f3043893b2b9bd9cc1767c6c0715d2c201b0f1616121228282728282727296e79"
    "4e66f5650c00142b4884"
)
DRAWN_HASH = "d559a116b4d4b7037e1971fed44c38a3ec0ab8b8e914a20ea2680188d047dadb"
# a slanted line in two colours of 24 × 32 pixels, see `slanted_line`
DRAWN_FILE = bytes.fromhex(
    "8956514b01635003340335038002180303010b010802020301040102180120010000000220d559a116b4d4b7037e1971fed44c38"
    "a3ec0ab8b8e914a20ea2680188d047dadb10698213d8430f84d4aa43cf751ab26d090000000e496d616765546f6b656e697a6572"
    "00b8bea213f563000c040f2f020229fb84cf2b64fa3787ef1f40c419aa5669782bf75a8c65271bcf9678b56c1b0c2d0015e2c4e1"
    "87d631abae0f8ec51fc013fff91d1e7a3ce2966c6fc26e73d39e803d000000002f3cc3eff5650c0000c9533f"
)
NAMES = ("vqkit-image", "vqkit-image-2")


@pytest.fixture(scope="module")
def models():
    return {name: ImageTokenizer.from_pretrained(name) for name in NAMES}


@pytest.fixture(scope="module")
def tokenizer(models):
    return models["vqkit-image"]


@pytest.fixture(scope="module")
def second(models):
    return models["vqkit-image-2"]


each = pytest.mark.parametrize("name", NAMES)


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


def test_the_newest_needs_no_name(second):
    assert SHIPPED.name == NAMES[-1]
    newest = ImageTokenizer.from_pretrained()
    assert weight_hash(newest) == weight_hash(second)
    assert isinstance(newest.backbone, LappedBackbone)
    assert newest.prior.coding == "network"
    assert not newest.training


@each
def test_more_bits_are_better(models, name, photographs):
    tokenizer = models[name]
    for image in photographs:
        found = [psnr_db(tokenizer.decompress(tokenizer.compress(image, bpp=bpp)), image) for bpp in (0.06, 0.25, 0.7)]
        assert found == sorted(found)
        assert found[0] > 20
        assert found[-1] > 27


def test_the_second_is_better_at_equal_bits(models, photographs):
    for image in photographs:
        for bpp in (0.25, 0.5):
            files = [model.compress(image, bpp=bpp) for model in models.values()]
            before, now = (psnr_db(m.decompress(file), image) for m, file in zip(models.values(), files, strict=True))
            assert now > before + 0.5


@each
def test_the_prior_saves_bits(models, name, photographs):
    tokenizer, image = models[name], photographs[0]
    assert len(tokenizer.compress(image)) < 0.97 * len(tokenizer.compress(image, plain=True))


@each
def test_tiles_leave_no_seams(models, name):
    tokenizer = models[name]
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 50, generator=generator), (640, 800), mode="bicubic")
    image = image.clamp(0, 1)
    whole = tokenizer.encode(image)[0].flatten(start_dim=1).T
    tiled = torch.cat(list(encode_tiles(tokenizer, image[0], tile_pixels=256)))
    assert tiled.shape == whole.shape
    assert (tiled != whole).float().mean() < 0.002  # near-ties that float rounding decides


@pytest.mark.parametrize("name", [*NAMES, DRAWN.name])
def test_the_card_says_what_it_is(name):
    folder = SHIPPED.with_name(name)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert re.search(r"sha256 `(\w+)`", card)[1] == digest
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6


def test_the_command_line_needs_no_model(tmp_path, capsys):
    photograph = list_images(sample_folder(), "test")[0].path
    assert main(["encode", str(photograph), str(tmp_path / "a.vqk"), "--bpp", "0.25"]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "a.png")]) == 0
    original, decoded = read_image(photograph, 3), read_image(tmp_path / "a.png", 3)
    assert decoded.shape == original.shape
    assert 8 * (tmp_path / "a.vqk").stat().st_size < 0.30 * original[0].numel()
    assert psnr_db(decoded, original) > 24
    capsys.readouterr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_files_written_with_it_decode_for_ever(tokenizer, dtype):
    model = copy.deepcopy(tokenizer).to(dtype)
    assert weight_hash(model) == HASH
    expected = tokenizer.decompress(FILE)
    assert expected.mean((1, 2)).tolist() == pytest.approx([0.1436, 0.5212, 0.8095], abs=1e-3)
    assert psnr_db(model.decompress(FILE), expected) > 35
    if dtype == torch.bfloat16:
        assert torch.equal(model.decompress(BFLOAT16_FILE), model.decompress(FILE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_files_written_with_the_second_decode_for_ever(second, dtype):
    model = copy.deepcopy(second).to(dtype)
    assert weight_hash(model) == SECOND_HASH
    expected = second.decompress(SECOND_FILE)
    assert expected.mean((1, 2)).tolist() == pytest.approx([0.1685, 0.5, 0.8315], abs=1e-3)
    assert psnr_db(model.decompress(SECOND_FILE), expected) > 35


def slanted_line() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    ink, paper = torch.tensor([40.0, 60.0, 180.0]) / 255, torch.tensor([255.0, 255.0, 245.0]) / 255
    return torch.where((rows - columns).abs() < 3, ink[:, None, None], paper[:, None, None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_files_of_drawn_images_decode_for_ever(dtype):
    model = ImageTokenizer.from_pretrained(DRAWN)
    assert model.compress(slanted_line()) == DRAWN_FILE
    assert weight_hash(model.to(dtype)) == DRAWN_HASH
    near = {torch.float16: 1e-3, torch.bfloat16: 5e-3}.get(dtype, 1e-6)
    torch.testing.assert_close(model.decompress(DRAWN_FILE), slanted_line(), rtol=0, atol=near)


def test_drawn_images_that_its_recipe_does_not_draw():
    """A font, sizes and colours of its own: as well as it does the ones it was fitted to."""
    model, image = ImageTokenizer.from_pretrained(DRAWN), Image.new("RGB", (320, 160), (255, 250, 240))
    for line, points in enumerate((11, 14, 18, 24)):
        place = 6, 6 + 38 * line
        ImageDraw.Draw(image).text(
            place, "Vector quantization, 1984", font=ImageFont.load_default(points), fill=(30, 30, 90)
        )
    image = torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1)
    file = model.compress(image, bpp=0.7)
    assert psnr_db(model.decompress(file), image) > 30
    assert len(file) < 0.4 * len(model.compress(image, bpp=9, plain=True))


def test_a_file_of_the_first_finds_its_model(tmp_path, capsys):
    (tmp_path / "a.vqk").write_bytes(FILE)
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "a.png")]) == 0
    assert read_image(tmp_path / "a.png", 3).shape == (3, 48, 64)
    capsys.readouterr()
