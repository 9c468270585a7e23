import pytest
import torch

from vqkit import RVQ, VQ
from vqkit.models import ConvBackbone, ImageTokenizer, ViTBackbone
from vqkit.models.image.tiles import MAX_WHOLE_PIXELS, check_size, decode_tiles, encode_tiles
from vqkit.models.image.transform_backbone import TransformBackbone


def make(channels=3, **options):
    """Untrained, but its codes use the whole codebook."""
    torch.manual_seed(0)
    backbone = ConvBackbone(**{"dim": 8, "channels": channels, "width": 8, "residual_width": 4} | options)
    tokenizer = ImageTokenizer(backbone, RVQ(backbone.dim, 32, 3)).eval()
    images = torch.rand(1, channels, 64, 64)
    tokenizer.initialize(images)
    tokenizer.quantizer.fit(tokenizer.analyze(images))
    return tokenizer


def spread(tensor):
    """First and last places where something is not 0, along the last dimension."""
    places = tensor.abs().flatten(end_dim=-2).sum(dim=0).nonzero()
    return int(places.min()), int(places.max())


@pytest.mark.parametrize("downsamples", [1, 2, 3])
@pytest.mark.parametrize("residual_blocks", [0, 2])
def test_the_margin_is_what_networks_see(downsamples, residual_blocks):
    """Weights above 0, so that nothing that is seen cancels out."""
    options = {"dim": 4, "width": 8, "downsamples": downsamples, "residual_blocks": residual_blocks}
    backbone = ConvBackbone(**options).double()
    for parameter in backbone.parameters():
        parameter.data.abs_().add_(0.01)
    cell, margin, middle = backbone.cell, backbone.margin, 12
    pixels = torch.full((1, 3, cell, 2 * middle * cell), 0.7, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(backbone.encode(pixels)[:, :, middle].sum(), pixels)
    first, last = spread(gradient)
    assert first == middle * cell - (margin - 1)
    assert last == (middle + 1) * cell - 1 + margin - 1
    latent = torch.rand(1, 1, 2 * middle, 4, dtype=torch.double, requires_grad=True)
    made = backbone.decode(latent)[..., middle * cell : (middle + 1) * cell]
    (gradient,) = torch.autograd.grad(made.sum(), latent)
    assert spread(gradient.transpose(2, 3)) == (middle - margin // cell, middle + margin // cell)


@pytest.mark.parametrize(
    ("size", "tile"), [((90, 123), 32), ((90, 123), 37), ((1, 1), 32), ((5, 200), 64), ((64, 64), 512)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_give_what_the_whole_gives(size, tile, channels):
    tokenizer = make(channels)
    image = torch.rand(channels, *size)
    whole = tokenizer.encode(image[None])
    blocks = list(encode_tiles(tokenizer, image, tile))
    codes = torch.cat(blocks)
    grid = tokenizer.grid(*size)
    assert torch.equal(codes.unflatten(0, grid).movedim(-1, 0)[None], whole)
    assert all(len(block) % grid[1] == 0 for block in blocks)
    made = decode_tiles(tokenizer, codes, size, tile)
    torch.testing.assert_close(made, tokenizer.decode(whole, size)[0], rtol=0, atol=1e-5)
    first = decode_tiles(tokenizer, codes[:, :2], size, tile)
    torch.testing.assert_close(first, tokenizer.decode(whole[:, :2], size)[0], rtol=0, atol=1e-5)


def test_what_is_held_is_bounded_by_the_tile():
    tokenizer = make()
    seen = []
    for module in (tokenizer.backbone.encoder, tokenizer.backbone.decoder):
        module.register_forward_hook(lambda _, given, made: seen.append((given[0].shape[-2:], made.shape[-2:])))
    image, shares = torch.rand(3, 240, 130), []
    codes = torch.cat(list(encode_tiles(tokenizer, image, 64, shares.append)))
    assert len(shares) == len(seen) == 4 * 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    decode_tiles(tokenizer, codes, (240, 130), 64, shares.append)
    most = 64 + 2 * tokenizer.backbone.margin
    assert max(side for pair in seen for shape in pair for side in shape) == most
    assert shares[-1] == 1.0


def test_a_backbone_of_one_size():
    torch.manual_seed(0)
    backbone = ViTBackbone(dim=6, image_size=32, patch=8, tokens=5, width=16, depth=1, heads=2)
    tokenizer = ImageTokenizer(backbone, VQ(6, 16)).eval()
    image = torch.rand(3, 32, 32)
    codes = torch.cat(list(encode_tiles(tokenizer, image)))
    assert torch.equal(codes.T[None], tokenizer.encode(image[None]))
    assert torch.equal(decode_tiles(tokenizer, codes, (32, 32)), tokenizer.decode(codes.T[None])[0])
    with pytest.raises(ValueError, match="codes images of 32×32 pixels only, and this one has 40×32"):
        list(encode_tiles(tokenizer, torch.rand(3, 32, 40)))


def test_a_backbone_that_sees_the_whole():
    tokenizer = make()
    tokenizer.backbone.margin = None  # as with attention
    image = torch.rand(3, 100, 70)
    (codes,) = encode_tiles(tokenizer, image, 32)
    assert torch.equal(codes, tokenizer.encode(image[None])[0].flatten(1).T)
    assert torch.equal(
        decode_tiles(tokenizer, codes, (100, 70), 32), tokenizer.decode(codes.T.reshape(1, 3, 25, 18), (100, 70))[0]
    )
    check_size(tokenizer, 1, MAX_WHOLE_PIXELS)
    with pytest.raises(
        ValueError, match=r"ConvBackbone\) sees the whole image at once, so it codes at most 2097152 pixels"
    ):
        check_size(tokenizer, 2, MAX_WHOLE_PIXELS // 2 + 1)


def test_what_cannot_be():
    tokenizer = make()
    with pytest.raises(ValueError, match="tile_pixels is 3, it must be at least a cell, 4"):
        list(encode_tiles(tokenizer, torch.rand(3, 8, 8), 3))
    with pytest.raises(ValueError, match="an image of 8×9 pixels has 6 cells, got codes of 4"):
        decode_tiles(tokenizer, torch.zeros(4, 3, dtype=torch.int64), (9, 8))


def test_the_shipping_backbone_has_no_seams():
    """Longer than a tile with both margins."""
    torch.manual_seed(0)
    backbone = TransformBackbone(dim=8, width=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    tokenizer = ImageTokenizer(backbone, RVQ(8, 32, 2)).eval()
    tokenizer.initialize(torch.rand(2, 3, 64, 64))
    for parameter in backbone.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    tokenizer.quantizer.fit(tokenizer.analyze(torch.rand(8, 3, 64, 64)))
    image = torch.rand(3, 30, 500)
    assert backbone.margin < 200
    whole = tokenizer.encode(image[None])
    codes = torch.cat(list(encode_tiles(tokenizer, image, 32)))
    assert torch.equal(codes.T.reshape(whole.shape), whole)
    made = tokenizer.decode(whole, (30, 500))[0]
    torch.testing.assert_close(decode_tiles(tokenizer, codes, (30, 500), 32), made, rtol=0, atol=1e-5)
    backbone.margin = 0  # so that the test can fail
    assert not torch.allclose(decode_tiles(tokenizer, codes, (30, 500), 32), made, rtol=0, atol=1e-4)
