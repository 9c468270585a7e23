"""The contract of image tokenizers: every backbone with every kind of quantizer."""

import math

import pytest
import torch
from torch.nn.functional import pad

from vqkit import FSQ, IVQ, PVQ, RVQ, VQ, LooC
from vqkit.models import ConvBackbone, ImageTokenizer, TransformBackbone, ViTBackbone, VQGANBackbone

BACKBONES = {
    "conv": lambda **options: ConvBackbone(12, width=8, residual_width=4, residual_blocks=1, **options),
    "vit": lambda **options: ViTBackbone(12, image_size=16, patch=4, tokens=6, width=16, depth=1, heads=2, **options),
    "vqgan": lambda **options: VQGANBackbone(12, widths=(8, 16), blocks=1, norm_groups=4, **options),
}
QUANTIZERS = {
    "VQ": lambda: VQ(12, 16),
    "RVQ": lambda: RVQ(12, 16, 3, update="ema"),
    "PVQ": lambda: PVQ(12, 16, 3),
    "LooC": lambda: LooC(12, 16, 3),
    "yin-yang": lambda: IVQ(12),
    "bottom-up": lambda: IVQ(12, variant="bottom-up"),
    "top-down": lambda: IVQ(12, variant="top-down"),
    "FSQ": lambda: FSQ(12, [5, 3]),
}
GRIDS = {"conv": (4, 4), "vit": (6,), "vqgan": (8, 8)}


def make(backbone="conv", quantizer="RVQ", **options):
    """Untrained; the first batch scales it and its codebooks hold latents, so that codes differ."""
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(BACKBONES[backbone](**options), QUANTIZERS[quantizer]()).eval()
    tokenizer.initialize(pictures(4, tokenizer.channels))
    return tokenizer


def pictures(count=2, channels=3, height=16, width=16):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(1))


def check(tokenizer, images, grid):
    output, codes = tokenizer(images), tokenizer.encode(images)
    assert output.images.shape == images.shape
    assert output.latent.shape == output.quantized.z_q.shape == (len(images), *grid, 12)
    assert codes.shape == (len(images), tokenizer.quantizer.num_codes, *grid)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, output.quantized.codes.movedim(-1, 1))
    assert torch.equal(tokenizer.decode(codes, tuple(images.shape[-2:])), output.images.clamp(0, 1))
    return codes


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_decode_of_encode_is_forward_and_survives_saving(backbone, quantizer, tmp_path):
    tokenizer, images = make(backbone, quantizer), pictures()
    codes = check(tokenizer, images, GRIDS[backbone])
    tokenizer.save_pretrained(tmp_path)
    again = ImageTokenizer.from_pretrained(tmp_path)
    assert not again.training
    assert again.initialized
    assert torch.equal(again.encode(images), codes)
    assert torch.equal(again.decode(codes), tokenizer.decode(codes))


@pytest.mark.parametrize(("backbone", "spatial_dims"), [("conv", 2), ("vqgan", 2), ("vit", 1)])
def test_interpolated_quantizers_fit(backbone, spatial_dims):
    """LooC's s = 2: four codes a segment on a grid, two in a row of tokens."""
    torch.manual_seed(0)
    quantizer = LooC(12, 16, 3, scale=2, spatial_dims=spatial_dims)
    tokenizer = ImageTokenizer(BACKBONES[backbone](), quantizer).eval()
    assert quantizer.num_codes == 4 * 2**spatial_dims
    check(tokenizer, pictures(), GRIDS[backbone])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradient_reaches_the_encoder(backbone, channels):
    tokenizer = make(backbone, "VQ", channels=channels).train()
    output = tokenizer(pictures(2, channels))
    (output.images.square().mean() + output.quantized.loss).backward()
    unseen = {"decoder"} if backbone == "vit" else set()
    for name, parameter in tokenizer.backbone.named_parameters():
        if name.partition(".")[0] not in unseen:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    first = next(iter(tokenizer.backbone.encoder.parameters()))
    assert first.grad.abs().sum() > 0
    assert not tokenizer.eval()(pictures(2, channels)).images.requires_grad


@pytest.mark.parametrize(("height", "width"), [(1, 1), (13, 30), (16, 17), (3, 64)])
@pytest.mark.parametrize("backbone", ["conv", "vqgan"])
def test_any_size_is_continued_by_its_last_row_and_column(backbone, height, width):
    tokenizer = make(backbone)
    images, cell = pictures(2, 3, height, width), tokenizer.backbone.cell
    grid = (math.ceil(height / cell), math.ceil(width / cell))
    assert tokenizer.grid(height, width) == grid
    codes = check(tokenizer, images, grid)
    rows, columns = (torch.arange(cell * n).clamp_max(side - 1) for n, side in zip(grid, (height, width), strict=True))
    whole = images[..., rows, :][..., columns]
    assert torch.equal(tokenizer.encode(whole), codes)
    decoded = tokenizer.decode(codes)
    assert decoded.shape[-2:] == whole.shape[-2:]
    assert torch.equal(tokenizer.decode(codes, (height, width)), decoded[..., :height, :width])
    assert tokenizer.autoencode(images).signal.shape == images.shape


def test_bits_per_pixel_choose_stages():
    tokenizer, images = make(quantizer="RVQ"), pictures(1, 3, 16, 24)
    bits = 4 * 6 * 4.0  # a stage's: 24 vectors, 16 codes
    assert tokenizer.stage_bits(16, 24) == pytest.approx((bits, 2 * bits, 3 * bits))
    everything = tokenizer.encode(images)
    for stages in (1, 2, 3):
        bpp = stages * bits / (16 * 24)
        assert tokenizer.stages_within(bpp, 16, 24) == stages
        codes = tokenizer.encode(images, bpp=bpp * 1.3)
        assert torch.equal(codes, everything[:, :stages])
        assert tokenizer.decode(codes).shape == images.shape
    assert tokenizer.stages_within(99, 16, 24) == 3
    with pytest.raises(ValueError, match=r"bpp=0.2 is below the first stage; .* 16×24, the rates 0.25, 0.5, 0.75 bits"):
        tokenizer.encode(images, bpp=0.2)


def test_stages_of_several_codes_are_kept_together():
    tokenizer = make(quantizer="bottom-up")
    sizes, counts = tokenizer.quantizer.code_sizes, tokenizer.quantizer.codes_per_stage
    ends = [sum(counts[: stage + 1]) for stage in range(len(counts))]
    expected = [16 * sum(math.log2(size) for size in sizes[:end]) for end in ends]
    assert tokenizer.stage_bits(16, 16) == pytest.approx(expected)
    codes = tokenizer.encode(pictures(), bpp=expected[1] / 256)
    assert codes.shape[1] == ends[1]


def test_without_the_quantizer_latents_are_decoded_as_they_are():
    tokenizer, images = make(), pictures()
    whole = tokenizer.autoencode(images)
    made, latent = whole.signal, whole.latent
    assert torch.equal(latent, tokenizer.analyze(images))
    assert torch.equal(tokenizer.synthesize(latent), made.clamp(0, 1))
    assert made.requires_grad


class Rigid(ConvBackbone):
    """Its latent comes from nothing that could be turned."""

    latent_layers = ([], [])


@pytest.mark.parametrize("backbone", [*BACKBONES, "transform"])
def test_a_rotated_latent_changes_nothing_but_the_latent(backbone):
    torch.manual_seed(0)
    made = TransformBackbone(12, width=8) if backbone == "transform" else BACKBONES[backbone]()
    tokenizer, images = ImageTokenizer(made, VQ(12, 16)).eval(), pictures()
    rotation = torch.linalg.qr(torch.randn(12, 12))[0]
    first = tokenizer.autoencode(images)
    image, latent = first.signal, first.latent
    assert tokenizer.rotatable
    tokenizer.rotate_latent(rotation)
    second = tokenizer.autoencode(images)
    again, turned = second.signal, second.latent
    torch.testing.assert_close(turned, latent @ rotation, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(again, image, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"rotation must be orthonormal and \(12, 12\), got shape \(12, 12\)"):
        tokenizer.rotate_latent(2 * rotation)
    rigid = ImageTokenizer(Rigid(12, width=8), VQ(12, 16))
    assert not rigid.rotatable
    with pytest.raises(ValueError, match="the latent of a Rigid cannot be rotated"):
        rigid.rotate_latent(rotation)


def test_initialize_is_done_once_and_is_saved(tmp_path):
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(BACKBONES["conv"](), VQ(12, 16))
    assert not tokenizer.initialized
    tokenizer.initialize(pad(pictures(2, 3, 13, 16), (0, 1)))  # also of a size that is continued
    assert tokenizer.initialized
    tokenizer.save_pretrained(tmp_path)
    assert ImageTokenizer.from_pretrained(tmp_path).initialized


def test_fit_quantizer_and_gray():
    tokenizer = make("conv", "RVQ", channels=1)
    images = pictures(8, 1)
    before = (tokenizer(images).quantized.z_q - tokenizer.analyze(images)).square().mean()
    tokenizer.quantizer.fit(tokenizer.analyze(images).flatten(end_dim=-2))
    assert (tokenizer(images).quantized.z_q - tokenizer.analyze(images)).square().mean() < before
    assert tokenizer.decode(tokenizer.encode(images)).shape == images.shape


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), TypeError, "images must be floating, got torch.uint8"),
        (
            torch.zeros(3, 16, 16),
            ValueError,
            r"images must be \(batch, 3 channels, height, width\), got shape \(3, 16, 16\)",
        ),
        (torch.zeros(1, 1, 16, 16), ValueError, r"got shape \(1, 1, 16, 16\)"),
        (torch.zeros(1, 3, 0, 16), ValueError, r"got shape \(1, 3, 0, 16\)"),
    ],
)
@pytest.mark.parametrize("method", ["forward", "encode", "analyze", "autoencode", "initialize"])
def test_bad_images_are_named(method, images, error, message):
    with pytest.raises(error, match=message):
        getattr(make(), method)(images)


@pytest.mark.parametrize(
    ("backbone", "codes", "error", "message"),
    [
        ("conv", torch.zeros(1, 3, 4, 4), TypeError, "codes must be integers, got torch.float32"),
        (
            "conv",
            torch.zeros(3, 4, 4).long(),
            ValueError,
            r"codes must be \(batch, num_codes, rows, columns\), got shape \(3, 4, 4\)",
        ),
        ("conv", torch.zeros(1, 3, 0, 4).long(), ValueError, r"got shape \(1, 3, 0, 4\)"),
        ("conv", torch.zeros(1, 4, 4, 4).long(), ValueError, "with 1 or 2 or 3 codes"),
        ("conv", torch.full((1, 3, 4, 4), 16), ValueError, "code 16 at position 0 is out of range"),
        ("vit", torch.zeros(1, 3, 4, 4).long(), ValueError, r"codes must be \(batch, num_codes, tokens\)"),
        ("vit", torch.zeros(1, 3, 5).long(), ValueError, r"codes must have \(6,\) places, got \(5,\)"),
    ],
)
def test_bad_codes_are_named(backbone, codes, error, message):
    with pytest.raises(error, match=message):
        make(backbone).decode(codes)


def test_bad_sizes_and_parts_are_named():
    tokenizer = make()
    codes = tokenizer.encode(pictures())
    for size in ((17, 16), (0, 16), (16,)):
        with pytest.raises(ValueError, match=r"size must be within \(1, 1\) … \(16, 16\), got \("):
            tokenizer.decode(codes, size)
    with pytest.raises(ValueError, match=r"this backbone takes images of \(16, 16\) pixels only, got \(16, 20\)"):
        make("vit").encode(pictures(1, 3, 16, 20))
    with pytest.raises(ValueError, match="the backbone's latents have dim 12, the quantizer has 8"):
        ImageTokenizer(BACKBONES["conv"](), VQ(8, 16))
    with pytest.raises(ValueError, match="nowhere"):
        ImageTokenizer.from_pretrained("/nowhere")
