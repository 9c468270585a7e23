import copy

import pytest
import torch
from transformers import BertConfig, BertModel, DacConfig, DacModel, EncodecConfig, EncodecModel

from vqkit import FSQ, RVQ, VQ, GroupedRVQ, Residual
from vqkit.models import AudioCodec
from vqkit.models.peers.transformers_quantizer import replace_quantizer, restore_quantizer


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
    for refuse in (lambda: restore_quantizer(other), lambda: replace_quantizer(other, RVQ(8, 64, 4))):
        with pytest.raises(TypeError, match="must be a transformers EncodecModel or DacModel, got BertModel"):
            refuse()


MIXED = lambda: Residual([VQ(16, 32), VQ(16, 300), VQ(16, 5)])  # noqa: E731
QUANTIZERS = {
    "RVQ": (lambda: RVQ(16, 64, 4), 64, 4),
    "larger": (lambda: RVQ(16, 4096, 2), 4096, 2),
    "pieces": (lambda: GroupedRVQ(16, 64, 3, 2), 64, 6),
    "FSQ": (lambda: FSQ(16, (7, 5, 5)), 175, 1),
    "of several sizes": (MIXED, 300, 3),
}


def fitted(name):
    make, *said = QUANTIZERS[name]
    return make().fit(torch.randn(5000, 16), iterations=1).eval(), *said


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_config_says_what_is_true(name):
    quantizer, size, num_codes = fitted(name)
    wav = torch.randn(2, 1, 1990)
    model = replace_quantizer(encodec(), quantizer)
    config = model.config
    codes = model.encode(wav, bandwidth=config.target_bandwidths[-1]).audio_codes
    assert (config.codebook_size, config.num_quantizers, config.codebook_dim) == (size, num_codes, 16)
    assert codes.shape[2] == config.num_quantizers
    assert int(codes.max()) < config.codebook_size
    assert 2 ** (model.bits_per_codebook - 1) < size <= 2**model.bits_per_codebook
    model = replace_quantizer(dac(), quantizer)
    config, codes = model.config, model.encode(wav).audio_codes
    assert (config.codebook_size, config.n_codebooks, config.codebook_dim) == (size, num_codes, 16)
    assert codes.shape[1] == config.n_codebooks
    assert int(codes.max()) < config.codebook_size
    assert config.quantizer_dropout == 0


def test_another_model_of_the_same_config_is_not_touched():
    config = encodec().config
    one, other = EncodecModel(config).eval(), EncodecModel(config).eval()
    before = config.to_dict()
    replace_quantizer(one, RVQ(16, 64, 2).eval())
    assert other.config.to_dict() == before
    assert one.config.codebook_size == 64


@pytest.mark.parametrize("make", [encodec, lambda: dac(quantizer_dropout=0.5)], ids=["EnCodec", "DAC"])
def test_back_again_to_the_bit(make):
    model, wav = make(), torch.randn(2, 1, 800)
    own, config, names, before = model.quantizer, model.config.to_dict(), list(model.state_dict()), model(wav)
    weights, bits = {id(value) for value in own.parameters()}, model.bits_per_codebook
    first, second = RVQ(16, 64, 2), FSQ(16, (7, 5, 5))
    replace_quantizer(replace_quantizer(model, first), second)
    assert not weights & {id(value) for value in model.parameters()}
    assert not model.quantizer.training
    copied = copy.deepcopy(model)
    assert restore_quantizer(model) is model
    assert model.quantizer is own
    assert list(model.state_dict()) == names
    for back in (model, restore_quantizer(model), restore_quantizer(copied)):
        assert (back.config.to_dict(), type(back.config)) == (config, type(make().config))
        assert back.bits_per_codebook == bits
        after = back(wav)
        for key in before:
            if torch.is_tensor(before[key]):
                assert torch.equal(after[key], before[key]), key


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("cast_quantizer", [False, True])
def test_other_precisions(dtype, cast_quantizer):
    wav = torch.randn(1, 1, 800).to(dtype)
    for make in (encodec, dac):
        model, quantizer = make().to(dtype), RVQ(16, 64, 2).eval()
        model = replace_quantizer(model, quantizer)
        assert quantizer.dtype == torch.float32
        if cast_quantizer:
            model = model.to(dtype)
        more = {"bandwidth": model.config.target_bandwidths[-1]} if make is encodec else {}
        out, encoded = model(wav, **more), model.encode(wav, **more)
        assert out.audio_values.dtype == dtype
        again = (
            model.decode(encoded.audio_codes, encoded.audio_scales)
            if make is encodec
            else model.decode(audio_codes=encoded.audio_codes)
        )
        assert again.audio_values.dtype == dtype
        assert torch.equal(again.audio_values[..., : out.audio_values.shape[-1]], out.audio_values)
        restored = restore_quantizer(model)
        assert all(value.dtype == dtype for value in restored.quantizer.parameters())
        assert restored(wav, **({"bandwidth": 24.0} if make is encodec else {})).audio_values.dtype == dtype


@pytest.mark.parametrize("ours", [False, True])
def test_encodec_s_call_gives_its_encoder_no_gradient_and_our_codec_does(tmp_path, ours):
    model = encodec().train()
    model.save_pretrained(tmp_path)
    if ours:
        replace_quantizer(model, RVQ(16, 64, 2))
    wav = torch.randn(2, 1, 800)
    model(wav, bandwidth=model.config.target_bandwidths[-1]).audio_values.square().mean().backward()
    assert all(value.grad is None for value in model.encoder.parameters())
    assert all(value.grad is not None for value in model.decoder.parameters())
    codec = AudioCodec.from_encodec(tmp_path, RVQ(16, 64, 2)).train()
    codec(wav).wav.square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in codec.encoder.parameters())
