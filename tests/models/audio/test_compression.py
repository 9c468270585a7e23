import io

import pytest
import torch

from vqkit import IVQ, RVQ
from vqkit.bitstream import BitstreamError, VqkReader, thin
from vqkit.models import AudioCodec
from vqkit.models.identity import weight_hash


def codec(quantizer=None, **options):
    torch.manual_seed(0)
    return AudioCodec(
        quantizer or RVQ(12, 64, 4), **{"sample_rate": 8000, "num_filters": 4, "strides": (4, 5)} | options
    ).eval()


@pytest.mark.parametrize("quantizer", [lambda: RVQ(12, 64, 4), lambda: IVQ(12)])
@pytest.mark.parametrize("samples", [1, 399, 20000])
def test_what_comes_back_is_what_the_codec_makes_of_it(quantizer, samples):
    model = codec(quantizer())
    wav = torch.randn(1, samples)
    back, sample_rate = model.decompress(model.compress(wav, 8000))
    assert sample_rate == 8000
    assert torch.equal(back, model.decode(model.encode(wav[None]), samples)[0])


def test_size_follows_the_rate_asked_for():
    model = codec()
    wav = torch.randn(1, 80000)
    sizes = [len(model.compress(wav, 8000, kbps)) * 8 / 10 / 1000 for kbps in model.rates_kbps]
    assert sizes == pytest.approx(model.rates_kbps, rel=0.12)  # headers of ten chunks
    back, _ = model.decompress(model.compress(wav, 8000, model.rates_kbps[1]))
    assert torch.equal(back, model.decode(model.encode(wav[None], model.rates_kbps[1]), 80000)[0])


def test_a_thinned_file_is_the_file_of_the_lower_rate(tmp_path):
    model = codec()
    wav = torch.randn(1, 20000)
    (tmp_path / "full.vqk").write_bytes(model.compress(wav, 8000))
    thin(tmp_path / "full.vqk", tmp_path / "thin.vqk", stages=2)
    back, _ = model.decompress((tmp_path / "thin.vqk").read_bytes())
    assert torch.equal(back, model.decode(model.encode(wav[None], model.rates_kbps[1]), 20000)[0])


@pytest.mark.parametrize(("channels", "given"), [(1, 2), (2, 1), (2, 2)])
def test_other_rates_and_channels_are_converted(channels, given):
    model = codec(channels=channels)
    back, sample_rate = model.decompress(model.compress(torch.randn(given, 22050), 22050))
    assert sample_rate == 8000
    assert back.shape == (channels, 8000)


def test_damage_is_silent_and_named_and_the_rest_is_whole():
    model = codec()
    wav = torch.randn(1, 40000)
    data = bytearray(model.compress(wav, 8000))
    whole, _ = model.decompress(bytes(data))
    data[len(data) // 2] ^= 255
    with pytest.warns(UserWarning, match=r"frames 800 to 1199 are lost; silence stands for them"):
        back, _ = model.decompress(bytes(data))
    gap = slice(800 * 20, 1200 * 20)
    assert (back[:, gap] == 0).all()
    assert torch.equal(back[:, : gap.start], whole[:, : gap.start])  # causal: what follows hears the gap for a while
    assert back.shape == whole.shape
    with pytest.warns(UserWarning, match="the file is cut off after 400 frames"):
        start, _ = model.decompress(bytes(data[: len(data) // 3]))
    assert torch.allclose(start, whole[:, :8000], atol=1e-6)  # another length, another rounding


def test_other_weights_and_other_files_are_refused():
    model, other = codec(), codec()
    torch.nn.init.normal_(next(other.parameters()))
    data = model.compress(torch.randn(1, 4000), 8000)
    with pytest.raises(BitstreamError, match="weights"):
        other.decompress(data)
    with pytest.raises(BitstreamError, match="not a vqk file"):
        model.decompress(b"RIFF" + data)
    assert VqkReader(io.BytesIO(data)).header.model_hash == weight_hash(model)


def test_bad_waveforms_are_named():
    model = codec()
    with pytest.raises(ValueError, match=r"wav must be \(channels, samples\), got shape \(1, 1, 8\)"):
        model.compress(torch.randn(1, 1, 8), 8000)
    with pytest.raises(ValueError, match="wav has 3 channels, this codec takes 2; only mono is converted"):
        codec(channels=2).compress(torch.randn(3, 80), 8000)
    with pytest.raises(ValueError, match="kbps=0.1 is below the first stage"):
        model.compress(torch.randn(1, 80), 8000, kbps=0.1)
