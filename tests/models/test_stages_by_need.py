"""Models that spend stages where they help: codes, streams and files agree, and what cannot choose is refused."""

import io
import math

import pytest
import torch

from vqkit import FSQ, LFQ, RVQ, VQ, GroupedRVQ, Interpolated, Multiscale, Projected, Residual, Rotated
from vqkit.bitstream import VqkReader, fit_contexts
from vqkit.models import AudioCodec, ConvBackbone, FrameCodec, ImageTokenizer, VideoTokenizer
from vqkit.models.vqk_files import check_variable_stages


@pytest.fixture(scope="module")
def codec():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = AudioCodec(RVQ(12, 64, 4), sample_rate=8000, num_filters=4, strides=(4, 5)).eval()
        noise = 0.3 * torch.randn(1, 1, 24000)
        made.initialize(noise)
        made.quantizer.fit(made.analyze(noise))
    return made


@pytest.fixture(scope="module")
def wav():
    generator = torch.Generator().manual_seed(1)
    return 0.3 * torch.randn(1, 12000, generator=generator) * torch.linspace(0, 1, 12000)  # louder and louder


def counts(codes):
    return (codes >= 0).sum(dim=1)


def weight_of(model, signal):
    """λ at which about half of the stages are kept."""
    z = model.analyze(signal)
    return next(
        weight
        for weight in (2.0**n for n in range(-16, 16))
        if (model.quantizer.encode(z, rate_weight=weight) >= 0).float().mean() < 0.6
    )


@pytest.mark.parametrize("prior", [False, True])
def test_sound(codec, wav, prior, monkeypatch):
    weight = weight_of(codec, wav[None])
    if prior:
        monkeypatch.setattr(codec, "prior", fit_contexts((64,) * 4, [codec.encode(wav[None])[0].T], classes=2))
    codes = codec.encode(wav[None], rate_weight=weight)
    assert 1 <= counts(codes).min() < counts(codes).max() <= 4
    assert torch.equal(codes, codec.quantizer.encode(codec.analyze(wav[None]), rate_weight=weight).movedim(-1, 1))
    data = codec.compress(wav, 8000, rate_weight=weight)
    assert torch.equal(VqkReader(io.BytesIO(data), entropy_model=codec.prior).read(), codes[0].T)
    assert torch.equal(codec.decompress(data)[0], codec.decode(codes, 12000)[0])
    assert len(data) < len(codec.compress(wav, 8000))
    two = codec.compress(wav, 8000, codec.rates_kbps[1], rate_weight=weight)
    assert torch.equal(VqkReader(io.BytesIO(two), entropy_model=codec.prior).read(), codes[0].T[:, :2])


@pytest.mark.parametrize("size", [331, 12000])
def test_a_stream_gives_the_codes_of_the_whole(codec, wav, size):
    weight = weight_of(codec, wav[None])
    with codec.streaming(rate_weight=weight) as stream:
        codes = torch.cat(list(stream.encode_blocks(wav[None, :, :2000].split(size, dim=-1))), dim=-1)
    whole = codec.encode(wav[None, :, :2000], rate_weight=weight)
    assert codes.shape == whole.shape
    assert (codes == whole).float().mean() > 0.99  # but where two choices lie equally near within rounding


def test_image():
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(ConvBackbone(dim=8, width=8), RVQ(8, 16, 3)).eval()
    image = torch.rand(3, 60, 80) * torch.linspace(0, 1, 80)
    tokenizer.quantizer.fit(tokenizer.analyze(image[None]))
    weight = weight_of(tokenizer, image[None])
    codes = tokenizer.encode(image[None], rate_weight=weight)
    assert counts(codes).unique().numel() > 1
    data = tokenizer.compress(image, rate_weight=weight)
    assert torch.equal(VqkReader(io.BytesIO(data)).read(), codes[0].flatten(1).T)
    assert torch.equal(tokenizer.decompress(data), tokenizer.decode(codes, (60, 80))[0])
    assert torch.equal(tokenizer.encode(image[None], tokenizer.rates(60, 80)[1], rate_weight=weight), codes[:, :2])


def test_video():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(RVQ(8, 16, 3), width=8, residual_width=4).eval()
    video = torch.rand(3, 8, 16, 24) * torch.linspace(0, 1, 24)
    tokenizer.quantizer.fit(tokenizer.analyze(video[None]))
    weight = weight_of(tokenizer, video[None])
    codes = tokenizer.encode(video[None], rate_weight=weight)
    data = tokenizer.compress(video, rate_weight=weight)
    assert torch.equal(VqkReader(io.BytesIO(data)).read(), codes[0].flatten(1).T)
    assert torch.equal(tokenizer.decompress(data)[0], tokenizer.decode(codes, (8, 16, 24))[0])


@pytest.mark.parametrize(
    "quantizer",
    [RVQ(8, 16, 3), Rotated(RVQ(8, 16, 3)), Projected(8, RVQ(4, 16, 3)), Residual([LFQ(8, 4), GroupedRVQ(8, 4, 2, 2)])],
)
def test_what_can_choose(quantizer):
    check_variable_stages(quantizer)


@pytest.mark.parametrize(
    ("quantizer", "message"),
    [
        (VQ(8, 16), "VQ has no stages to leave out: rate_weight needs a Residual"),
        (FSQ(8, [5, 5]), "FSQ has no stages to leave out"),
        (Interpolated(RVQ(8, 16, 2), scale=2, spatial_dims=1), "Interpolated has no stages to leave out"),
        (Multiscale([VQ(8, 16), VQ(8, 16)], sizes=(1, 2)), "Multiscale has no stages to leave out"),
        (GroupedRVQ(8, 4, 2, 2), "GroupedRVQ chooses the stages of every piece of a vector by themselves"),
        (Rotated(GroupedRVQ(8, 4, 2, 2)), "Rotated chooses the stages of every piece of a vector by themselves"),
    ],
)
def test_what_cannot_choose_is_refused_before_a_file_is_begun(quantizer, message):
    with pytest.raises(ValueError, match=message):
        check_variable_stages(quantizer)


def test_a_codec_of_pieces_refuses_the_file_and_not_the_codes(wav):
    codec = FrameCodec(GroupedRVQ(40, 4, 2, 2), sample_rate=8000).fit([wav[0]])
    assert (codec.encode(wav[None], rate_weight=0.5) < 0).any()
    with pytest.raises(ValueError, match="chooses the stages of every piece"):
        codec.compress(wav, 8000, rate_weight=0.5)
    with pytest.raises(ValueError, match="rate_weight must be at least 0 and finite, got nan"):
        codec.compress(wav, 8000, rate_weight=math.nan)
