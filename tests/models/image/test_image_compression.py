import io
import warnings

import pytest
import torch

from vqkit import LFQ, RVQ
from vqkit.bitstream import BitstreamError, VqkHeader, VqkReader, VqkWriter
from vqkit.data.image.pixels import pixels_to_tensor
from vqkit.models import ConvBackbone, ImageTokenizer, ViTBackbone
from vqkit.models.identity import weight_hash
from vqkit.models.image.compression import decode_image, encode_image, image_header, with_channels
from vqkit.models.prior import codes_of, fit_prior
from vqkit.models.vqk_files import WrittenFile


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    made = ImageTokenizer(ConvBackbone(dim=8, width=4, residual_width=2, residual_blocks=1), RVQ(8, 32, 3)).eval()
    images = torch.rand(1, 3, 64, 64)
    made.initialize(images)
    made.quantizer.fit(made.analyze(images))
    return made


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.rand(3, 50, 70)


def test_there_and_back(tokenizer, image):
    data = tokenizer.compress(image)
    made = tokenizer.decode(tokenizer.encode(image[None]), (50, 70))[0]
    torch.testing.assert_close(tokenizer.decompress(data), made, rtol=0, atol=1e-5)
    coarse = tokenizer.compress(image, bpp=1.0)
    made = tokenizer.decode(tokenizer.encode(image[None], bpp=0.7), (50, 70))[0]
    torch.testing.assert_close(tokenizer.decompress(coarse), made, rtol=0, atol=1e-5)
    assert len(coarse) * 8 / 3500 <= 1.0 < len(data) * 8 / 3500
    header = VqkReader(io.BytesIO(data)).header
    assert (header.image_size, header.grid, header.channels, header.model) == ((50, 70), (13, 18), 0, "ImageTokenizer")
    assert header.model_hash == weight_hash(tokenizer)
    assert header.rates_bpp == tuple(bits / 3500 for bits in tokenizer.stage_bits(50, 70))


def test_channels(tokenizer, image):
    gray = image[:1]
    assert tokenizer.compress(gray) == tokenizer.compress(gray.expand(3, -1, -1))
    assert with_channels(image, 3) is image
    luma = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    torch.testing.assert_close(with_channels(image, 1)[0], luma)
    assert torch.equal(pixels_to_tensor(image.permute(1, 2, 0).numpy(), 1.0, None), image)


def test_a_prior_makes_files_smaller(tokenizer, image):
    ramps = torch.linspace(0, 1, 320).expand(3, 200, 320)
    plain = tokenizer.compress(ramps)
    saved = tokenizer.prior
    try:
        for coding in ("static", "context"):
            tokenizer.prior = fit_prior(tokenizer, codes_of(tokenizer, [ramps]), coding)
            data = tokenizer.compress(ramps)
            assert len(data) < 0.8 * len(plain)
            assert torch.equal(tokenizer.decompress(data), tokenizer.decompress(plain))
            assert tokenizer.compress(ramps, plain=True) == plain
            first = tokenizer.compress(ramps, bpp=(len(data) - 1) * 8 / 64000)
            assert len(first) < len(data)
            tokenizer.decompress(first)
    finally:
        tokenizer.prior = saved
    with pytest.raises(
        BitstreamError, match=r"written with the prior [0-9a-f]{32} \(context\), and this ImageTokenizer"
    ):
        tokenizer.decompress(data)


def test_a_row_of_tokens():
    torch.manual_seed(0)
    backbone = ViTBackbone(dim=6, image_size=16, patch=8, tokens=5, width=16, depth=1, heads=2)
    tokenizer = ImageTokenizer(backbone, LFQ(6, 6)).eval()
    image = torch.rand(3, 16, 16)
    data = tokenizer.compress(image)
    assert torch.equal(tokenizer.decompress(data), tokenizer.decode(tokenizer.encode(image[None]))[0])
    tokenizer.prior = fit_prior(tokenizer, codes_of(tokenizer, [image, image]))
    assert not tokenizer.prior.grid
    assert torch.equal(tokenizer.decompress(tokenizer.compress(image)), tokenizer.decompress(data))
    with pytest.warns(UserWarning, match="the file ends after 0 of 5 cells"):
        assert (tokenizer.decompress(data[:-12]) == 0.5).all()
    with pytest.raises(ValueError, match="codes images of 16×16 pixels only, and this one has 20×16"):
        tokenizer.compress(torch.rand(3, 16, 20))


def test_damage(tokenizer):
    torch.manual_seed(2)
    image = torch.rand(3, 160, 512)  # 40 rows of 128 cells: 32 rows and 8
    data = tokenizer.compress(image)
    whole = tokenizer.decompress(data)
    reach = tokenizer.backbone.margin
    bad = bytearray(data)
    bad[-200] ^= 1
    with pytest.warns(UserWarning, match="frames 4096 to 5119 are lost; these cells are gray"):
        found = tokenizer.decompress(bytes(bad))
    assert (found[:, 128:] == 0.5).all()
    torch.testing.assert_close(found[:, : 128 - reach], whole[:, : 128 - reach], rtol=0, atol=1e-5)
    with pytest.warns(UserWarning, match="the file ends after 4096 of 5120 cells; the others are gray"):
        assert torch.equal(tokenizer.decompress(data[:-200]), found)
    with pytest.warns(UserWarning, match="the file is cut off behind its last cell"):
        assert torch.equal(tokenizer.decompress(data[:-1]), whole)
    with pytest.warns(UserWarning, match="the file ends after 0 of 5120 cells"):
        assert (tokenizer.decompress(data[:200]) == 0.5).all()


def test_what_cannot_be(tokenizer, image, tmp_path):
    for wrong, error, message in (
        (image[None], ValueError, "must be \\(1 or 3 channels, height, width\\), got shape \\(1, 3, 50, 70\\)"),
        (image[:2], ValueError, "must be \\(1 or 3 channels"),
        (image[:, :0], ValueError, "must be \\(1 or 3 channels"),
        ((image * 255).byte(), TypeError, "image must be floating, got torch.uint8"),
    ):
        with pytest.raises(error, match=message):
            tokenizer.compress(wrong)
    with pytest.raises(ValueError, match="bpp=0.1 allows 43 bytes for 70×50 pixels, and the smallest possible file"):
        tokenizer.compress(image, bpp=0.1)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="bpp is .*, it must be more than 0"):
            tokenizer.compress(image, bpp=wrong)
    assert len(tokenizer.compress(image, bpp=float("inf"))) == len(tokenizer.compress(image))
    with pytest.raises(BitstreamError, match="not a vqk file"):
        tokenizer.decompress(b"GIF89a, not a vqk file at all")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grid": (12, 18)}, "its grid \\(12, 18\\) or its code sizes"),
        (
            {"code_sizes": (32, 32, 33)},
            "its grid \\(13, 18\\) or its code sizes \\(32, 32, 33\\) are not this tokenizer's",
        ),
        ({"image_size": (1 << 20, 1 << 20)}, "it has 1048576 × 1048576 pixels, allowed are at most 64 megapixels"),
        ({"image_size": ()}, "it holds no image"),
        ({"sample_rate": 25, "hop_samples": 1}, "it holds no image: its image size is \\(50, 70\\), its rate 25 Hz"),
    ],
)
def test_headers_are_not_believed(tokenizer, tmp_path, fields, message):
    header = image_header(tokenizer, 50, 70)
    names = ("code_sizes", "codes_per_stage", "grid", "image_size", "model", "model_hash")
    wrong = VqkHeader(**{name: getattr(header, name) for name in names} | fields)
    with VqkWriter(tmp_path / "a.vqk", wrong) as writer:
        writer.write(torch.zeros(10, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=message):
        decode_image(tokenizer, tmp_path / "a.vqk")


def test_more_cells_than_there_are(tokenizer, tmp_path):
    with VqkWriter(tmp_path / "a.vqk", image_header(tokenizer, 50, 70)) as writer:
        writer.write(torch.zeros(13 * 18 + 1, 3, dtype=torch.int64))
    with pytest.raises(BitstreamError, match="it holds more than the 234 cells of its image"):
        decode_image(tokenizer, tmp_path / "a.vqk")


def test_bytes_and_shares_are_told(tokenizer, image, tmp_path):
    shares = []
    made = encode_image(tokenizer, tmp_path / "a.vqk", image, 2, licence="MIT", watch=shares.append)
    assert made == WrittenFile((tmp_path / "a.vqk").stat().st_size, 2, False)
    decoded = decode_image(tokenizer, tmp_path / "a.vqk", watch=shares.append)
    assert (decoded.stages, decoded.bytes, decoded.warnings) == (2, made.bytes, ())
    assert shares == [1.0, 1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer.decompress((tmp_path / "a.vqk").read_bytes())
