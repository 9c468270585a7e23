"""The codec at one frame rate: exact coding, streams, its linear start, rotation."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from vqkit import RVQ
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models import SpectralCodec
from vqkit.nn import balanced_rotation
from vqkit.training.reconstruction.quantizer_start import fit_quantizer

RATE = 16000


def small(dim: int = 16, **arguments: object) -> SpectralCodec:
    torch.manual_seed(0)
    settings = {"encoder_width": 16, "encoder_blocks": 2, "decoder_width": 16, "decoder_blocks": 2} | arguments
    return SpectralCodec(RVQ(dim, 32, 3), sample_rate=RATE, **settings).eval()


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    clip = next(clip for clip in list_clips(sample_folder(), None, "speech"))
    return read_audio(clip.path, RATE, 1).samples[None, :, : 2 * RATE]


def snr_db(estimate: torch.Tensor, reference: torch.Tensor) -> float:
    return (10 * (reference.square().sum() / (estimate - reference).square().sum()).log10()).item()


def test_decoded_codes_are_the_forward_pass_bit_for_bit(speech: torch.Tensor) -> None:
    codec = small()
    wav = speech[..., :12345]
    assert torch.equal(codec.decode(codec.encode(wav), samples=12345), codec(wav).wav)


def test_prefixes_of_stages_decode() -> None:
    codec, wav = small(), torch.randn(1, 1, 3200)
    codes = codec.encode(wav)
    assert torch.equal(codec.encode(wav, kbps=codec.rates_kbps[1]), codes[:, :2])
    assert codec.decode(codes[:, :1]).shape == (1, 1, 3200)


def test_items_of_different_lengths_equal_themselves_alone() -> None:
    codec, wav = small(), torch.randn(2, 1, 4000)
    together = codec.encode(wav, lengths=torch.tensor([4000, 1500]))
    assert torch.equal(together[:1], codec.encode(wav[:1]))
    assert torch.equal(together[1:, :, :5], codec.encode(wav[1:, :, :1500]))
    assert (together[1, :, 5:] == -1).all()


def filtered(**arguments: object) -> SpectralCodec:
    """A codec whose pitch filter does something."""
    codec = small(pitch_filter_width=8, **arguments)
    nn.init.normal_(codec.decoder.pitch_filter.leave.weight, std=0.1)
    return codec


@pytest.mark.parametrize("make", [small, filtered, lambda **arguments: small(causal=True, **arguments)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_gives_what_the_whole_gives(make: Callable[..., SpectralCodec], channels: int) -> None:
    codec = make(channels=channels)
    wav = torch.randn(1, channels, 9000)
    whole = codec.encode(wav)
    decoded = codec.decode(whole, samples=9000)
    streamed = []
    for sizes in ([1] * 50 + [8950], [4000, 0, 5000], [9000]):
        with codec.streaming() as stream:
            codes = torch.cat(list(stream.encode_blocks(wav.split(sizes, dim=-1))), dim=-1)
            back = torch.cat(list(stream.decode_blocks(codes.split(3, dim=-1), samples=9000)), dim=-1)
        streamed.append((codes, back))
    for codes, back in streamed:
        assert torch.equal(codes, streamed[0][0])
        assert torch.equal(back, streamed[0][1])
        assert (codes != whole).float().mean() < 0.02  # near-ties that float rounding decides
    assert torch.allclose(
        codec.streaming_decoder().push(codec.quantizer.decode(whole.mT).mT, last=True)[..., :9000], decoded, atol=1e-4
    )


def test_a_pitch_filter_changes_what_is_decoded_and_no_code(speech: torch.Tensor) -> None:
    codec, plain = filtered(refine_steps=2, level_rounds=1), small(refine_steps=2, level_rounds=1)
    plain.load_state_dict(codec.state_dict(), strict=False)
    codes = codec.coded(speech[0]).codes
    assert torch.equal(codes, plain.coded(speech[0]).codes)
    found = codec.quantizer.decode(codes[None]).mT
    expected = codec.decoder.pitch_filter(plain.decoder(found))
    torch.testing.assert_close(codec.decoder(found), expected, rtol=0, atol=1e-6)
    assert (expected - plain.decoder(found)).abs().max() > 0.01
    assert codec.for_search().decoder.pitch_filter is None
    assert codec.decoder.pitch_filter is not None


def test_a_pitch_filter_is_saved_and_loaded(tmp_path: Path, speech: torch.Tensor) -> None:
    codec = filtered()
    codec.save_pretrained(tmp_path)
    assert torch.equal(SpectralCodec.from_pretrained(tmp_path)(speech).wav, codec(speech).wav)


def test_a_causal_codec_has_no_pitch_filter() -> None:
    for arguments in ({"causal": True, "pitch_filter_width": 8}, {"pitch_filter_width": -1}):
        with pytest.raises(ValueError, match=f"looks ahead, got {arguments['pitch_filter_width']}"):
            small(**arguments)


def test_latency_is_what_the_layers_see() -> None:
    # one frame of waiting; the analysis looks half a frame ahead, which comes with the next whole one; 2 · 3 frames of the encoder's
    # blocks and as many of the decoder's; half a frame of overlap in the synthesis
    assert small().streaming().latency_samples == 320 + 320 + 12 * 320 + 160
    assert small(causal=True).streaming().latency_samples == 320 + 320 + 160


def test_the_start_is_a_transform_codec(speech: torch.Tensor) -> None:
    codec = small(dim=160)
    codec.initialize(speech)
    assert codec.initialized
    nn.init.zeros_(codec.encoder.leave.weight)
    nn.init.zeros_(codec.encoder.leave.bias)
    nn.init.constant_(codec.decoder.leave.bias[:321], -100.0)  # levels: the networks are silent
    nn.init.zeros_(codec.decoder.leave.weight[:321])
    inner = slice(160, -160)
    # half of the principal components of a cosine transform carry nearly all of speech
    assert snr_db(codec.autoencode(speech).signal[..., inner], speech[..., inner]) > 20


def test_all_components_give_the_waveform_back(speech: torch.Tensor) -> None:
    codec = small(dim=320)
    nn.init.zeros_(codec.encoder.leave.weight)
    nn.init.zeros_(codec.encoder.leave.bias)
    nn.init.zeros_(codec.decoder.leave.weight[:321])
    nn.init.constant_(codec.decoder.leave.bias[:321], -100.0)
    inner = slice(320, -320)
    # but for the rounding of root and square near zero: 1e-4 under them is 40 dB below one
    assert snr_db(codec.autoencode(10 * speech).signal[..., inner], 10 * speech[..., inner]) > 30


def test_a_rotation_changes_the_latent_and_not_the_sound() -> None:
    codec, wav = small(), torch.randn(1, 1, 8000)
    first = codec.autoencode(wav)
    before, latent = first.signal, first.latent
    rotation = balanced_rotation(torch.randn(100, 16))
    codec.rotate_latent(rotation)
    second = codec.autoencode(wav)
    after, rotated = second.signal, second.latent
    assert torch.allclose(after, before, atol=1e-4)
    assert torch.allclose(rotated, latent @ rotation, atol=1e-4)


def test_rotations_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be orthonormal and \(16, 16\), got shape \(16, 16\)"):
        small().rotate_latent(torch.ones(16, 16))


def test_fitting_the_quantizer_balances_the_latent() -> None:
    codec = small()
    fit_quantizer(codec, WaveformSet(torch.randn(20, 1, 3200)), vectors=200)
    latent = codec.analyze(torch.randn(8, 1, 3200)).flatten(end_dim=1)
    off_diagonal = torch.corrcoef(latent.T).fill_diagonal_(0).abs().mean()
    assert off_diagonal < 0.2
    assert codec.quantizer.encode(latent).unique().numel() > 16


class WaveformSet(TensorDataset):
    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        return super().__getitem__(index)[0]


def test_gradients_reach_every_parameter() -> None:
    codec = small().train()
    codec(torch.randn(2, 1, 3200)).wav.square().mean().backward()
    silent = [name for name, p in codec.named_parameters() if p.grad is None and not name.startswith("quantizer")]
    assert silent == []


def test_saved_and_loaded_it_gives_the_same(tmp_path: object) -> None:
    codec, wav = small(causal=True), torch.randn(1, 1, 3200)
    codec.save_pretrained(tmp_path)
    assert torch.equal(SpectralCodec.from_pretrained(tmp_path)(wav).wav, codec(wav).wav)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hop_samples": 321}, "hop_samples must be even and at least 2, got 321"),
        ({"channels": 3}, "channels must be 1 or 2, got 3"),
        ({"decoder_blocks": 0}, "decoder_blocks must be at least 1, got 0"),
        ({"hop_samples": 8}, "the quantizer's dim must be at most 8, got 16"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_silence_cannot_start_it() -> None:
    with pytest.raises(ValueError, match="silence"):
        small().initialize(torch.zeros(1, 1, 3200))


def test_the_quantizer_is_fitted_in_full_precision_whatever_training_runs_in() -> None:
    fitted = []
    for mixed in (False, True):
        codec = small()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            fit_quantizer(codec, WaveformSet(torch.randn(20, 1, 3200, generator=torch.manual_seed(1))), vectors=200)
        fitted.append(codec.state_dict())
    assert all(torch.equal(fitted[0][name], value) for name, value in fitted[1].items())
