"""Exported codecs against PyTorch, on shipped speech, at lengths and batches other than the example's."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from vqkit import IVQ, RVQ
from vqkit.cli import main
from vqkit.data import AudioClips, list_clips, sample_folder
from vqkit.models import AudioCodec, DacCodec, SpectralCodec, command
from vqkit.models.export.codec import export_onnx
from vqkit.models.export.layers import PaddedConv1d, exportable
from vqkit.models.identity import weight_hash


def with_gains(codec: SpectralCodec) -> SpectralCodec:
    """The codec with a pitch filter that does something."""
    torch.nn.init.normal_(codec.decoder.pitch_filter.leave.weight, std=0.05)
    return codec


CODECS = {
    "causal": lambda: AudioCodec(RVQ(12, 64, 2), sample_rate=8000, num_filters=4, strides=(4, 5), num_lstm_layers=1),
    "future": lambda: AudioCodec(
        IVQ(12), sample_rate=8000, num_filters=4, strides=(3,), channels=2, causal=False, norm="time_group_norm"
    ),
    "dac": lambda: DacCodec(RVQ(12, 64, 2), sample_rate=8000, num_filters=4, decoder_filters=16, strides=(5,)),
    "spectral": lambda: SpectralCodec(
        RVQ(12, 64, 2),
        sample_rate=8000,
        hop_samples=20,
        channels=2,
        encoder_width=8,
        encoder_blocks=1,
        decoder_width=8,
        decoder_blocks=1,
    ),
    "filtered": lambda: with_gains(
        SpectralCodec(
            RVQ(12, 64, 2),
            sample_rate=8000,
            hop_samples=20,
            encoder_width=8,
            encoder_blocks=1,
            decoder_width=8,
            decoder_blocks=1,
            pitch_filter_width=8,
        )
    ),
}
SAMPLES = [1, 19, 20, 21, 47, 16000, 19853]


@pytest.fixture(scope="module")
def speech():
    return [*AudioClips(list_clips(sample_folder(), "test", "speech")[:3], 8000, 1, max_seconds=3)]


@pytest.fixture(scope="module", params=CODECS)
def exported(request, tmp_path_factory, speech):
    """The codec, fitted to the speech, and a session each of its encoder and decoder."""
    torch.manual_seed(0)
    codec = CODECS[request.param]().eval()
    wav = torch.stack([clip[:, :16000].expand(codec.channels, -1) for clip in speech])
    if not isinstance(codec, DacCodec):
        codec.initialize(wav)
    codec.quantizer.fit(codec.analyze(wav).flatten(0, 1), iterations=2)
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    paths = export_onnx(codec.eval(), tmp_path_factory.mktemp(request.param) / "onnx")
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())
    codec(wav)  # its layers are still its own
    return codec, *(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in paths)


@pytest.mark.parametrize("samples", SAMPLES)
def test_codes_and_waveforms_are_those_of_pytorch(exported, speech, samples):
    """Codes may differ at near-ties, where another library's rounding decides: at most 2 of 1000 (none did when this was written)."""
    codec, encoder, decoder = exported
    wav = torch.stack([clip[:, -samples:].expand(codec.channels, -1) for clip in speech])
    codes = codec.encode(wav)
    (found,) = encoder.run(["codes"], {"wav": wav.numpy()})
    assert found.dtype == np.int64
    assert found.shape == codes.shape
    assert (found != codes.numpy()).mean() <= 0.002
    (sound,) = decoder.run(["wav"], {"codes": codes.numpy()})
    np.testing.assert_allclose(sound, codec.decode(codes).numpy(), rtol=0, atol=1e-4)
    (alone,) = decoder.run(["wav"], {"codes": codes[:1].numpy()})
    np.testing.assert_allclose(alone, sound[:1], rtol=0, atol=1e-5)


def test_last_stages_that_are_left_out_are_minus_one(exported, speech):
    codec, _, decoder = exported
    if codec.quantizer.num_stages == 1:
        pytest.skip("one stage")
    codes = codec.encode(speech[0][None].expand(-1, codec.channels, -1))
    first = codec.quantizer.codes_per_stage[0]
    (sound,) = decoder.run(
        ["wav"], {"codes": torch.where(torch.arange(codes.shape[1])[:, None] < first, codes, -1).numpy()}
    )
    np.testing.assert_allclose(sound, codec.decode(codes[:, :first]).numpy(), rtol=0, atol=1e-4)


def test_metadata_says_what_the_numbers_mean(exported):
    codec, encoder, decoder = exported
    notes = encoder.get_modelmeta().custom_metadata_map
    assert notes == decoder.get_modelmeta().custom_metadata_map
    assert (notes["sample_rate"], notes["channels"]) == ("8000", str(codec.channels))
    assert int(notes["hop_samples"]) == codec.hop_samples
    assert json.loads(notes["code_sizes"]) == list(codec.quantizer.code_sizes)
    assert int(notes["num_codes"]) == len(codec.quantizer.code_sizes)
    assert json.loads(notes["codes_per_stage"]) == list(codec.quantizer.codes_per_stage)
    assert json.loads(notes["rates_kbps"]) == pytest.approx(codec.rates_kbps)
    assert (notes["model"], notes["model_hash"]) == (type(codec).__name__, weight_hash(codec))


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_that_of_encodec_at_every_length(causal, mode):
    torch.manual_seed(0)
    codec = AudioCodec(
        RVQ(12, 16, 2), sample_rate=8000, num_filters=4, strides=(3, 4), causal=causal, layers={"pad_mode": mode}
    ).eval()
    twin = exportable(codec.encoder)
    assert any(isinstance(layer, PaddedConv1d) for layer in twin.modules())
    pairs = [
        (own, other)
        for own, other in zip(codec.encoder.layers, twin.layers, strict=True)
        if isinstance(other, PaddedConv1d)
    ]
    for own, other in pairs:
        for samples in (1, 2, 3, 5, 6, 7, 8, 30):
            x = torch.randn(2, own.conv.in_channels, samples)
            torch.testing.assert_close(other(x), own(x), rtol=1e-6, atol=1e-6)


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="only an LSTM of one direction with biases, time first, can be exported"):
        exportable(torch.nn.Sequential(torch.nn.LSTM(3, 3, bidirectional=True)))
    codec = AudioCodec(RVQ(12, 16, 2), num_filters=4, layers={"pad_mode": "circular"})
    with pytest.raises(ValueError, match="pad_mode 'circular' cannot be exported; allowed: 'reflect'"):
        exportable(codec)


def test_command(tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    codec = CODECS["dac"]()
    codec.save_pretrained(tmp_path / "codec")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "decoder.onnx").write_text("mine")
    words = ["export", str(tmp_path / "codec"), str(tmp_path / "onnx")]
    assert main(words) == 2
    assert "decoder.onnx exists; -f overwrites it" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        assert main([*words, "-f"]) == 2
    assert "onnxscript is not installed: pip install 'vqkit[export]'" in capsys.readouterr().err
    given = []

    def written(codec, folder):  # the export itself takes long, and is tested above
        given.append(weight_hash(codec))
        return (folder / "decoder.onnx",)

    monkeypatch.setattr(command, "export_onnx", written)
    assert main([*words, "-f"]) == 0
    assert "decoder.onnx: 4 bytes" in capsys.readouterr().out
    assert given == [weight_hash(codec)]
