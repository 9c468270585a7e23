import pytest
import torch
from transformers import BertConfig, BertModel, DacConfig, DacModel, EncodecConfig, EncodecModel

from vqkit import RVQ, GroupedRVQ
from vqkit.models.transformers_quantizer import replace_quantizer


def encodec(**options):
    torch.manual_seed(0)
    settings = {
        "sampling_rate": 8000,
        "num_filters": 4,
        "hidden_size": 16,
        "codebook_dim": 16,
        "upsampling_ratios": [5, 4],
    }
    return EncodecModel(EncodecConfig(**settings | options)).eval()


def dac(**options):
    torch.manual_seed(0)
    settings = {
        "encoder_hidden_size": 4,
        "decoder_hidden_size": 16,
        "downsampling_ratios": [2, 4],
        "sampling_rate": 8000,
    }
    return DacModel(DacConfig(**settings | options)).eval()


@pytest.mark.parametrize("quantizer", [RVQ(16, 64, 4), GroupedRVQ(16, 64, 2, 2)], ids=["RVQ", "GroupedRVQ"])
def test_encodec_keeps_its_methods_and_shapes(quantizer):
    before = encodec()
    wav = torch.randn(2, 1, 1990)
    expected = before(wav, bandwidth=24.0)
    model = replace_quantizer(encodec(), quantizer.eval())
    rates = model.config.target_bandwidths
    assert rates == pytest.approx([6 * 0.4 * n * quantizer.codes_per_stage[0] for n in range(1, len(rates) + 1)])
    for stages, bandwidth in enumerate(rates, start=1):
        encoded = model.encode(wav, bandwidth=bandwidth)
        codes = encoded.audio_codes
        num_codes = sum(quantizer.codes_per_stage[:stages])
        assert codes.shape == (1, 2, num_codes, expected.audio_codes.shape[-1])
        z = model.encoder(wav).transpose(1, 2)
        assert torch.equal(codes[0].transpose(1, 2), quantizer.encode(z)[..., :num_codes])
        decoded = model.decode(codes, encoded.audio_scales).audio_values
        whole = model(wav, bandwidth=bandwidth)
        assert torch.equal(whole.audio_codes, codes)
        assert torch.equal(whole.audio_values, decoded[..., :1990])
        assert whole.audio_values.shape == expected.audio_values.shape
    assert torch.equal(model.encode(wav).audio_codes, model.encode(wav, bandwidth=rates[0]).audio_codes)
    with pytest.raises(ValueError, match="doesn't support the bandwidth 24.0"):
        model.encode(wav, bandwidth=24.0)


def test_encodec_in_chunks_with_scales():
    model = replace_quantizer(encodec(chunk_length_s=0.1, overlap=0.01, normalize=True), RVQ(16, 64, 4).eval())
    wav = torch.randn(2, 1, 2400)
    out = model(wav, bandwidth=model.config.target_bandwidths[-1])
    assert out.audio_codes.shape[1:] == (2, 4, 40)
    assert out.audio_values.shape == wav.shape


def test_dac_keeps_its_methods_and_shapes():
    before, quantizer = dac(), RVQ(16, 64, 4).eval()
    wav = torch.randn(2, 1, 800)
    expected = before(wav)
    model = replace_quantizer(dac(), quantizer)
    out = model(wav)
    assert out.audio_codes.shape == (2, 4, expected.audio_codes.shape[-1])
    assert out.audio_values.shape == expected.audio_values.shape
    assert out.quantized_representation.shape == expected.quantized_representation.shape
    z = model.encoder(wav).transpose(1, 2)
    torch.testing.assert_close(out.loss, quantizer(z).loss)
    assert torch.equal(out.audio_codes, quantizer.encode(z).transpose(1, 2))
    assert torch.equal(model.decode(audio_codes=out.audio_codes).audio_values[..., :800], out.audio_values)
    fewer = model.encode(wav, n_quantizers=2)
    assert torch.equal(fewer.audio_codes, out.audio_codes[:, :2])
    again = model.decode(audio_codes=fewer.audio_codes).audio_values
    torch.testing.assert_close(again, model.decode(fewer.quantized_representation).audio_values, rtol=1e-5, atol=1e-5)
    z_q, codebook_latents = model.quantizer.from_latents(out.projected_latents)
    assert torch.equal(z_q, out.quantized_representation)
    assert torch.equal(codebook_latents, z_q)
    with pytest.raises(ValueError, match="n_quantizers must be at least 1, got 0"):
        model.encode(wav, n_quantizers=0)


def test_dac_learns_with_it():
    model = replace_quantizer(dac(), RVQ(16, 64, 4)).train()
    model.apply_weight_norm()
    wav = torch.randn(2, 1, 800)
    out = model(wav)
    ((out.audio_values - wav[:, 0, : out.audio_values.shape[-1]]).square().mean() + out.loss).backward()
    assert all(value.grad is not None for value in model.encoder.parameters())


def test_others_are_refused():
    with pytest.raises(ValueError, match="the latents of this model have dim 16, the quantizer has 12"):
        replace_quantizer(dac(), RVQ(12, 64, 4))
    other = BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    )
    with pytest.raises(TypeError, match="must be a transformers EncodecModel or DacModel, got BertModel"):
        replace_quantizer(other, RVQ(8, 64, 4))
