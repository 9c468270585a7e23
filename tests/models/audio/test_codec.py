import warnings

import numpy as np
import pytest
import soxr
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecConfig, EncodecModel
from transformers.utils import logging

from vqkit import FSQ, IVQ, LFQ, PVQ, RVQ, VQ, LooC, ResidualFSQ, ResidualLFQ
from vqkit.models import AudioCodec

QUANTIZERS = [
    lambda: VQ(12, 16),
    lambda: RVQ(12, 16, 3),
    lambda: RVQ(12, 16, 3, update="ema"),
    lambda: PVQ(12, 16, 3),
    lambda: FSQ(12, [5, 3]),
    lambda: LFQ(12, 6),
    lambda: ResidualFSQ(12, [5, 3], 2),
    lambda: ResidualLFQ(12, 4, 2),
    lambda: IVQ(12),
    lambda: IVQ(12, variant="bottom-up"),
    lambda: LooC(12, 16, 3),
]
SHAPES = [
    {"causal": causal, "norm": norm, "channels": channels}
    for causal, norm, channels in [
        (True, "weight_norm", 1),
        (False, "weight_norm", 2),
        (False, "time_group_norm", 2),
        (True, "time_group_norm", 1),
    ]
]


def small(quantizer=None, **options):
    torch.manual_seed(0)
    plain = {"update": "gradient", "init": "uniform", "revive": "none"}  # two calls in training give the same
    quantizer = RVQ(12, 16, 3, **plain) if quantizer is None else quantizer
    settings = {"sample_rate": 8000, "num_filters": 4, "strides": (2, 3)} | options
    return AudioCodec(quantizer, **settings).eval()


def sound(*shape):
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, 5, 6, 601])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_bit_equality(shape, samples):
    codec = small(**shape)
    wav = sound(2, shape["channels"], samples)
    output, codes = codec(wav), codec.encode(wav)
    frames = -(-samples // 6)
    assert output.wav.shape == wav.shape
    assert output.latent.shape == output.quantized.z_q.shape == (2, frames, 12)
    assert codes.shape == (2, 3, frames)
    assert torch.equal(codes, output.quantized.codes.transpose(1, 2))
    assert torch.equal(codec.decode(codes, samples), output.wav)
    assert codec.decode(codes).shape[-1] == 6 * frames


@pytest.mark.parametrize("make", QUANTIZERS)
def test_decode_of_encode_is_forward_for_every_quantizer(make):
    codec = small(make())
    wav, lengths = sound(3, 1, 400), torch.tensor([400, 100, 395])
    assert torch.equal(codec.decode(codec.encode(wav), 400), codec(wav).wav)
    padded, codes = codec(wav, lengths), codec.encode(wav, lengths=lengths)
    assert torch.equal(codes, padded.quantized.codes.transpose(1, 2))
    assert (codes[1, :, 17:] == -1).all()
    decoded = codec.decode(codes, 400)
    for item, length in enumerate(lengths):
        assert torch.equal(decoded[item, :, :length], padded.wav[item, :, :length])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codec.decode(codec.encode(wav), 400), codec(wav).wav)


@pytest.mark.parametrize("shape", SHAPES)
def test_items_of_a_padded_batch_are_as_alone(shape):
    codec = small(**shape)
    wav, lengths = sound(3, shape["channels"], 400), torch.tensor([31, 400, 222])
    batch = codec(wav, lengths)
    assert batch.mask.sum(dim=1).tolist() == [6, 67, 37]
    for item, length in enumerate(lengths.tolist()):
        alone = codec(wav[item, None, :, :length])
        assert torch.equal(batch.wav[item, :, :length], alone.wav[0])
        assert not batch.wav[item, :, length:].any()
        assert torch.equal(batch.quantized.codes[item, : alone.latent.shape[1]], alone.quantized.codes[0])


def test_items_of_one_number_of_frames_run_together():
    codec = small()
    wav, lengths = sound(2, 1, 400), torch.tensor([400, 398])
    batch = codec(wav, lengths)
    assert torch.equal(codec.decode(codec.encode(wav, lengths=lengths), 400)[1, :, :398], batch.wav[1, :, :398])
    torch.testing.assert_close(batch.wav[1, :, :398], codec(wav[1:, :, :398]).wav[0], atol=1e-6, rtol=0)


def test_padding_in_training_reaches_no_loss_and_no_real_sample_of_a_causal_codec():
    codec = small().train()
    wav, lengths = sound(2, 1, 400), torch.tensor([400, 120])
    spoilt = wav.clone()
    spoilt[1, :, 120:] = 9.0
    first, second = codec(wav, lengths), codec(spoilt, lengths)
    assert torch.equal(first.wav, second.wav)
    assert torch.equal(first.quantized.loss, second.quantized.loss)
    alone = codec(wav[1:, :, :120])
    torch.testing.assert_close(first.wav[1, :, :120], alone.wav[0], atol=1e-6, rtol=0)
    assert (first.quantized.codes[1, 20:] == -1).all()


def test_gradient_reaches_encoder_in_training_and_wav_in_evaluation():
    codec = small().train()
    codec(sound(1, 1, 300)).wav.square().mean().backward()
    assert all(parameter.grad is not None for parameter in codec.encoder.parameters())
    wav = sound(1, 1, 300).requires_grad_()
    codec.eval()(wav).wav.square().mean().backward()
    assert wav.grad.abs().sum() > 0
    assert not codec(wav.detach()).wav.requires_grad


def test_rates_and_stages():
    codec = small(RVQ(12, 16, 3), sample_rate=6000)
    assert codec.frame_rate == 1000
    assert codec.rates_kbps == (4.0, 8.0, 12.0)
    assert codec.bitrate_kbps() == 12.0
    wav = sound(1, 1, 300)
    whole = codec.encode(wav)
    for kbps, stages in [(4, 1), (7.99, 1), (8.0, 2), (12, 3), (99, 3)]:
        assert torch.equal(codec.encode(wav, kbps), whole[:, :stages])
    assert codec.decode(whole[:, :1]).shape == (1, 1, 300)
    with pytest.raises(ValueError, match="kbps=3.9 is below the first stage; this codec has the rates 4, 8, 12 kbit/s"):
        codec.encode(wav, 3.9)


def test_other_sample_rates_are_resampled():
    codec = small()
    wav, lengths = sound(2, 1, 4410), torch.tensor([4410, 2205])
    turned = torch.from_numpy(np.stack([soxr.resample(row[0].numpy(), 44100, 8000, "VHQ") for row in wav]))[:, None]
    assert torch.equal(codec.encode(wav, sample_rate=44100), codec.encode(turned))
    alone = torch.from_numpy(soxr.resample(wav[1, 0, :2205].numpy(), 44100, 8000, "VHQ"))[None, None]
    codes = codec.encode(wav, lengths=lengths, sample_rate=44100)
    assert torch.equal(codes[1:, :, : -(-alone.shape[-1] // 6)], codec.encode(alone))
    assert torch.equal(codec.encode(wav, sample_rate=8000), codec.encode(wav))


def test_saved_codec_is_the_same(tmp_path):
    codec = small(RVQ(12, 16, 2, update="ema", init="kmeans"), channels=2, layers={"num_residual_layers": 2}).train()
    codec(sound(2, 2, 300))
    codec.eval().save_pretrained(tmp_path / "codec")
    assert sorted(path.name for path in (tmp_path / "codec").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = AudioCodec.from_pretrained(tmp_path / "codec")
    wav = sound(1, 2, 300)
    assert not again.training
    assert again.quantizer.num_stages == 2
    assert torch.equal(again(wav).wav, codec(wav).wav)
    again.train()(wav)  # k-means does not run again
    assert torch.equal(again.quantizer.quantizer.stages[0].codebook.initialized, torch.tensor(True))


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is neither a folder nor a name on the hub"):
        AudioCodec.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a saved model: config.json is missing"):
        AudioCodec.from_pretrained(tmp_path)
    small().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace('"num_filters": 4', '"num_filters": 8')
    )
    with pytest.raises(ValueError, match="do not fit its config"):
        AudioCodec.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"filters": 4}')
    with pytest.raises(ValueError, match="is not the config of AudioCodec; its keys are quantizer, sample_rate"):
        AudioCodec.from_pretrained(tmp_path)


@pytest.fixture
def published(tmp_path):
    """A small EnCodec checkpoint as transformers publishes them."""
    logging.disable_progress_bar()
    torch.manual_seed(3)
    sizes = {"num_filters": 4, "upsampling_ratios": [3, 2], "hidden_size": 12, "codebook_size": 16, "audio_channels": 2}
    config = EncodecConfig(
        **sizes, use_causal_conv=False, norm_type="time_group_norm", sampling_rate=8000, target_bandwidths=[10.0]
    )
    model = EncodecModel(config).eval()
    model.save_pretrained(tmp_path / "encodec")
    return tmp_path / "encodec", model


def test_published_encodec_checkpoint_takes_another_quantizer(published):
    folder, model = published
    codec = AudioCodec.from_encodec(folder, IVQ(12))
    wav, latent = sound(1, 2, 300), sound(1, 12, 50)
    with torch.no_grad():
        assert torch.equal(codec.encoder(wav), model.encoder(wav))
        assert torch.equal(codec.decoder(latent), model.decoder(latent))
    assert (codec.hop_samples, codec.sample_rate, codec.channels) == (6, 8000, 2)
    fresh = small(channels=2, causal=False, norm="time_group_norm", strides=(2, 3)).load_encodec_weights(folder)
    with torch.no_grad():
        assert torch.equal(fresh.encoder(wav), model.encoder(wav))


def test_older_names_of_weight_norm_are_understood(tmp_path):
    logging.disable_progress_bar()
    config = EncodecConfig(
        num_filters=4, upsampling_ratios=[2], hidden_size=12, codebook_size=16, target_bandwidths=[99.0]
    )
    model = EncodecModel(config).eval()
    model.save_pretrained(tmp_path)
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    weights = load_file(tmp_path / "model.safetensors")
    for new, name in old.items():
        weights = {key.replace(new, name): value for key, value in weights.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    wav = sound(1, 1, 300)
    with torch.no_grad():
        assert torch.equal(AudioCodec.from_encodec(tmp_path, VQ(12, 16)).encoder(wav), model.encoder(wav))


def test_unfit_encodec_checkpoints_are_refused(published, tmp_path):
    folder, _ = published
    with pytest.raises(ValueError, match="the latents of .* have dim 12, the quantizer has 24"):
        AudioCodec.from_encodec(folder, IVQ(24))
    with pytest.raises(ValueError, match="has other layers than this codec; audio_channels: 1, 2 there"):
        small().load_encodec_weights(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"normalize": false', '"normalize": true'))
    with pytest.warns(UserWarning, match="not carried over from .*: normalize=True"):
        AudioCodec.from_encodec(folder, IVQ(12))
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match="is not an EnCodec checkpoint in safetensors: no file named model.safetensors"
    ):
        AudioCodec.from_encodec(folder, IVQ(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be at least 1 Hz, at most 1048576 and whole, got 0"),
        ({"channels": 3}, "channels must be 1 or 2, got 3"),
        ({"strides": ()}, "strides must be positive integers, at least one"),
        ({"norm": "batch"}, "norm must be 'weight_norm' or 'time_group_norm', got 'batch'"),
        ({"layers": {"hidden_size": 3}}, "layers holds hidden_size; allowed: num_residual_layers, kernel_size"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_bad_input_is_named():
    codec, wav = small(), sound(2, 1, 100)
    for lengths, error, message in [
        (torch.tensor([100.0, 50.0]), TypeError, "lengths must be 2 integers, got torch.float32"),
        (torch.tensor([100]), TypeError, "lengths must be 2 integers"),
        (torch.tensor([100, 0]), ValueError, "lengths must be in 1 … 100 samples, got \\[100, 0\\]"),
        (torch.tensor([101, 5]), ValueError, "lengths must be in 1 … 100 samples"),
    ]:
        with pytest.raises(error, match=message):
            codec(wav, lengths)
    with pytest.raises(ValueError, match="wav must be \\(batch, 1 channels, samples\\), got shape \\(2, 2, 100\\)"):
        codec(sound(2, 2, 100))
    with pytest.raises(TypeError, match="wav must be floating, got torch.int64"):
        codec(wav.long())
    codes = codec.encode(wav)
    with pytest.raises(ValueError, match="samples must be in 1 … 102, got 103"):
        codec.decode(codes, 103)
    with pytest.raises(ValueError, match="codes must be \\(batch, num_codes, frames\\)"):
        codec.decode(codes[0])
    with pytest.raises(TypeError, match="codes must be integers"):
        codec.decode(codes.float())


def test_lost_frames_and_empty_items_decode_as_zero_latents():
    codec = small()
    codes = codec.encode(sound(2, 1, 120))
    codes[0, :, 3] = -1
    codes[1] = -1
    decoded = codec.decode(codes)
    assert decoded.isfinite().all()
    assert not decoded[1].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.decode(codes[:1]).shape == (1, 1, 120)


@pytest.mark.parametrize("shape", SHAPES)
def test_initialized_codec_neither_fades_nor_swells(shape):
    codec, wav = small(**shape), sound(4, shape["channels"], 1200)
    assert not codec.initialized
    codec.initialize(wav)
    assert codec.initialized
    with torch.no_grad():
        latent = codec.encoder(wav)
        assert latent.std().item() == pytest.approx(1, rel=0.05)
        assert latent.std(dim=(0, 2)).square().mean().sqrt() > 0.5  # it varies: it is not a constant of that size
        assert codec.decoder(latent).std().item() == pytest.approx(wav.std().item(), rel=0.05)
    with pytest.raises(ValueError, match="is it silent"):
        small().initialize(torch.zeros(1, 1, 100))


def test_loaded_codecs_count_as_initialized(published, tmp_path):
    assert AudioCodec.from_encodec(published[0], IVQ(12)).initialized
    codec = small()
    codec.initialize(sound(1, 1, 600))
    codec.save_pretrained(tmp_path / "codec")
    assert AudioCodec.from_pretrained(tmp_path / "codec").initialized


def test_a_rotated_latent_changes_nothing_but_the_latent():
    torch.manual_seed(0)
    codec = AudioCodec(RVQ(12, 8, 2), sample_rate=8000, num_filters=4, strides=(2, 4)).eval()
    wav = torch.randn(2, 1, 800)
    rotation = torch.linalg.qr(torch.randn(12, 12))[0]
    first = codec.autoencode(wav)
    before, latent = first.signal, first.latent
    codec.rotate_latent(rotation)
    second = codec.autoencode(wav)
    after, turned = second.signal, second.latent
    assert torch.allclose(turned, latent @ rotation, atol=1e-6)
    assert torch.allclose(after, before, atol=1e-6)
    with pytest.raises(ValueError, match=r"rotation must be orthonormal and \(12, 12\), got shape \(12, 12\)"):
        codec.rotate_latent(2 * rotation)
    grouped = AudioCodec(RVQ(12, 8, 2), num_filters=4, norm="time_group_norm", causal=False)
    with pytest.raises(
        ValueError, match="only the latent of a weight_norm codec can be rotated, this one has time_group_norm"
    ):
        grouped.rotate_latent(rotation)
