import pytest
import torch
from transformers import DacConfig, DacModel

from vqkit import FSQ, RVQ
from vqkit.models import AudioCodec, DacCodec, load_codec

STRIDES = [(2, 4), (3, 4), (5, 3)]


def small(quantizer=None, strides=(2, 4), **options):
    torch.manual_seed(0)
    quantizer = RVQ(12, 16, 3) if quantizer is None else quantizer
    settings = {"sample_rate": 8000, "num_filters": 4, "decoder_filters": 16} | options
    return DacCodec(quantizer, strides=strides, **settings).eval()


def saved_model(folder, strides=(2, 4), **options):
    torch.manual_seed(1)
    config = DacConfig(
        encoder_hidden_size=4,
        decoder_hidden_size=16,
        downsampling_ratios=list(strides),
        n_codebooks=2,
        codebook_size=16,
        codebook_dim=4,
        sampling_rate=8000,
    )
    model = DacModel(config).eval()
    with torch.no_grad():  # its own start gives almost silence
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("samples", [1, 7, 8, 15, 601])
def test_shapes_and_bit_equality(strides, samples):
    codec = small(strides=strides)
    hop = strides[0] * strides[1]
    wav = 0.3 * torch.randn(2, 1, samples)
    frames = -(-samples // hop)
    codes, output = codec.encode(wav), codec(wav)
    assert (codec.hop_samples, codec.frame_rate) == (hop, 8000 / hop)
    assert codes.shape == (2, 3, frames)
    assert codec.decode(codes).shape == (2, 1, frames * hop)
    assert torch.equal(codec.decode(codes, samples), output.wav)


@pytest.mark.parametrize("strides", STRIDES)
def test_a_checkpoints_networks_are_those_of_transformers(tmp_path, strides):
    model = saved_model(tmp_path, strides)
    codec = DacCodec.from_dac(tmp_path, RVQ(16, 16, 2))
    hop = strides[0] * strides[1]
    wav = 0.3 * torch.randn(2, 1, 50 * hop)
    with torch.no_grad():
        latent = model.encoder(wav)
        torch.testing.assert_close(codec.analyze(wav), latent.transpose(1, 2))
        sound = model.decoder(latent)
    ours = codec.synthesize(latent.transpose(1, 2))
    torch.testing.assert_close(ours[..., : sound.shape[-1]], sound)
    assert (ours[..., sound.shape[-1] :] == 0).all()
    assert ours.shape[-1] - sound.shape[-1] < 2 * hop
    assert codec.sample_rate == 8000


@pytest.mark.parametrize("make", [lambda: RVQ(16, 16, 2), lambda: FSQ(16, [5, 3])])
def test_files_and_saving(tmp_path, make):
    saved_model(tmp_path / "dac")
    codec = DacCodec.from_dac(tmp_path / "dac", make())
    wav = 0.3 * torch.randn(1, 5001)
    data = codec.compress(wav, 8000)
    back, _ = codec.decompress(data)
    assert torch.equal(back, codec.decode(codec.encode(wav[None]), 5001)[0])
    codec.save_pretrained(tmp_path / "ours")
    for loaded in (DacCodec.from_pretrained(tmp_path / "ours"), load_codec(tmp_path / "ours")):
        assert isinstance(loaded, DacCodec)
        assert loaded.compress(wav, 8000) == data
    with pytest.raises(ValueError, match="is the config of a DacCodec, not of AudioCodec"):
        AudioCodec.from_folder(tmp_path / "ours")


def test_it_learns():
    codec = small(strides=(2, 3)).train()
    wav = 0.3 * torch.randn(2, 1, 240)
    output = codec(wav)
    ((output.wav - wav).square().mean() + output.quantized.loss).backward()
    missing = [name for name, value in codec.named_parameters() if value.requires_grad and value.grad is None]
    assert not missing


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"strides must be integers from 2 on, at least one, got \(2, 1\)"):
        small(strides=(2, 1))
    with pytest.raises(ValueError, match="decoder_filters must be a multiple of 4, got 18"):
        small(decoder_filters=18)
    with pytest.raises(ValueError, match="sample_rate must be at least 1 Hz, at most 1048576 and whole, got 0"):
        small(sample_rate=0)
    with pytest.raises(ValueError, match="nowhere is not a DAC checkpoint in safetensors"):
        DacCodec.from_dac(tmp_path / "nowhere", RVQ(16, 16, 2))
    saved_model(tmp_path)
    with pytest.raises(ValueError, match="have dim 16, the quantizer has 12"):
        DacCodec.from_dac(tmp_path, RVQ(12, 16, 2))
    with pytest.raises(ValueError, match="cannot be streamed"):
        small().streaming()
