"""Models around a quantizer of several scales: their files hold one vector of codes for each block of positions."""

import io

import pytest
import torch

from vqkit import VQ, Multiscale
from vqkit.bitstream import VqkReader, thin
from vqkit.coding import decode_file, encode_file
from vqkit.data import read_audio, write_audio
from vqkit.models import ConvBackbone, FrameCodec, ImageTokenizer, SpectralCodec, VideoTokenizer
from vqkit.models.image.tiles import decode_tiles, encode_tiles
from vqkit.models.prior import codes_of, fit_prior


def scales(dim, dims, sizes=(1, 2), **options):
    return Multiscale([VQ(dim, 8) for _ in sizes], sizes=sizes, spatial_dims=dims, **options)


@pytest.fixture(scope="module")
def codec():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FrameCodec(scales(40, 1, (1, 2, 4)), sample_rate=8000).fit([0.1 * torch.randn(8000)])


@pytest.fixture(scope="module")
def tokenizer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ImageTokenizer(ConvBackbone(dim=8, width=8), scales(8, 2, (1, 2, 3), upsample="cubic", smoothing=2))
        made.quantizer.fit(made.analyze(torch.rand(2, 3, 48, 48)))
        return made.eval()


@pytest.mark.parametrize("samples", [4000, 3999, 3841, 3840, 161, 3])
def test_sound(codec, samples):
    wav = 0.1 * torch.randn(1, samples)
    codes = codec.encode(wav[None])
    data = codec.compress(wav, 8000)
    header = VqkReader(io.BytesIO(data)).header
    assert (header.num_codes, header.codes_per_stage, header.hop_samples) == (7, (1, 2, 4), 160)
    assert torch.equal(codec.decompress(data)[0], codec.decode(codes, samples)[0])
    two, file = codec.compress(wav, 8000, codec.rates_kbps[1]), io.BytesIO()
    thin(io.BytesIO(data), file, 2)
    assert VqkReader(io.BytesIO(two)).read().tolist() == VqkReader(io.BytesIO(file.getvalue())).read()[:, :3].tolist()
    assert torch.equal(codec.decompress(two)[0], codec.decode(codes[:, :2], samples)[0])


def test_lost_blocks_are_silent(codec):
    wav = 0.1 * torch.randn(1, 20000)
    data = bytearray(codec.compress(wav, 8000))
    data[-40] ^= 1
    with pytest.warns(UserWarning, match="a chunk is altered .* silence stands for them"):
        found, _ = codec.decompress(bytes(data))
    whole, _ = codec.decompress(codec.compress(wav, 8000))
    lost = (found == 0).all(dim=0)
    assert 0 < lost.float().mean() < 1
    assert torch.equal(found[:, : int(lost.int().argmax()) - 40], whole[:, : int(lost.int().argmax()) - 40])


def test_files_of_sound(codec, tmp_path):
    write_audio(tmp_path / "a.wav", 0.1 * torch.randn(1, 5001), 8000)
    encode_file(codec, tmp_path / "a.wav", tmp_path / "a.vqk")
    data = (tmp_path / "a.vqk").read_bytes()
    assert data == codec.compress(read_audio(tmp_path / "a.wav").samples, 8000)
    decode_file(codec, tmp_path / "a.vqk", tmp_path / "b.wav")
    made, expected = read_audio(tmp_path / "b.wav").samples, codec.decompress(data)[0]
    assert made.shape == expected.shape == (1, 5001)
    assert torch.allclose(made, expected, atol=2**-14)


@pytest.mark.parametrize("size", [(48, 48), (47, 61), (5, 100)])
def test_image(tokenizer, size):
    image = torch.rand(3, *size)
    codes = tokenizer.encode(image[None])
    data = tokenizer.compress(image)
    header = VqkReader(io.BytesIO(data)).header
    assert (header.num_codes, header.codes_per_stage) == (14, (1, 4, 9))
    assert header.grid == tuple(-(-side // 3) for side in tokenizer.grid(*size))
    assert torch.allclose(tokenizer.decompress(data), tokenizer.decode(codes, size)[0], atol=1e-6)
    file = io.BytesIO()
    thin(io.BytesIO(data), file, 1)
    coarse = tokenizer.decompress(file.getvalue())
    assert torch.allclose(coarse, tokenizer.decode(codes[:, :1], size)[0], atol=1e-6)
    assert tokenizer.compress(image, bpp=8 * len(file.getvalue()) / image[0].numel()) == file.getvalue()


def test_tiles_give_what_the_whole_gives(tokenizer):
    image = torch.rand(3, 90, 70)
    codes = torch.cat(list(encode_tiles(tokenizer, image)))
    assert torch.equal(torch.cat(list(encode_tiles(tokenizer, image, tile_pixels=32))), codes)
    whole = decode_tiles(tokenizer, codes, (90, 70))
    assert torch.allclose(decode_tiles(tokenizer, codes, (90, 70), tile_pixels=32), whole, atol=1e-6)
    with pytest.raises(ValueError, match="an image of 70×90 pixels has 48 blocks of cells, got codes of 47"):
        decode_tiles(tokenizer, codes[:-1], (90, 70))


def test_a_prior_is_saved_and_read(tokenizer, tmp_path):
    images = [torch.rand(3, 60, 60) for _ in range(2)]
    prior = fit_prior(tokenizer, codes_of(tokenizer, images))
    tokenizer.prior = prior
    try:
        tokenizer.save_pretrained(tmp_path)
        data = tokenizer.compress(images[0])
    finally:
        tokenizer.prior = None
    again = ImageTokenizer.from_pretrained(tmp_path)
    assert again.prior is not None
    assert again.prior.tables_hash == prior.tables_hash
    assert again.compress(images[0]) == data
    assert torch.equal(again.decompress(data), tokenizer.decompress(tokenizer.compress(images[0])))


def test_video():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(scales(8, 3), width=8, residual_width=4).eval()
    video = torch.rand(3, 7, 18, 25)
    tokenizer.quantizer.fit(tokenizer.analyze(video[None]))
    data = tokenizer.compress(video)
    header = VqkReader(io.BytesIO(data)).header
    assert (header.codes_per_stage, header.grid, header.hop_samples) == ((1, 8), (3, 4), 4000)
    made, rate = tokenizer.decompress(data)
    assert rate == 25
    assert torch.equal(made, tokenizer.decode(tokenizer.encode(video[None]), (7, 18, 25))[0])


def test_codes_of_blocks_are_not_streamed():
    codec = SpectralCodec(scales(16, 1), sample_rate=16000, encoder_width=16, decoder_width=16).eval()
    wav = 0.1 * torch.randn(1, 16000)
    assert codec.decompress(codec.compress(wav, 16000))[0].shape == wav.shape
    with (
        pytest.raises(ValueError, match="a Multiscale quantizer codes whole blocks of frames and cannot stream"),
        codec.streaming(),
    ):
        pass


@pytest.mark.parametrize("smoothing", [0, 2])
def test_dropped_scales_have_no_part(smoothing):
    """Codes of −1 in place of the last scales decode like the codes of the first scales; in some blocks only, these blocks do."""
    torch.manual_seed(0)
    quantizer = scales(8, 2, (1, 2, 3), smoothing=smoothing).eval()
    z = torch.randn(1, 7, 9, 8)
    codes = quantizer.fit(z).encode(z)
    for end in (1, 2):
        dropped = torch.where(torch.arange(3) < end, codes, -1)
        assert torch.equal(quantizer.decode(dropped), quantizer.decode(codes[..., :end]))
    if not smoothing:  # which carries values over the edge of a block
        made = quantizer.decode(torch.cat([dropped[:, :, :3], codes[:, :, 3:]], dim=2))
        assert torch.equal(made[:, :, :3], quantizer.decode(dropped)[:, :, :3])
        assert torch.equal(made[:, :, 3:], quantizer.decode(codes)[:, :, 3:])
