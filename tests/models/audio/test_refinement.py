"""Codes that are found by listening: nearer for the ear, of the same model, and the same in blocks as of the whole."""

import copy
import io

import numpy as np
import pytest
import soundfile
import torch

from vqkit import RVQ, VQ, Multiscale
from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.data import sample_folder
from vqkit.losses import LoudnessDisturbance, LowWave
from vqkit.models import AudioCodec, SpectralCodec
from vqkit.models.audio.compression import codes_of
from vqkit.models.audio.latent_search import _Adam
from vqkit.models.audio.level_matching import match_levels
from vqkit.models.audio.refinement import LatentRefinement


def made_codec(channels: int = 1, **options) -> SpectralCodec:
    torch.manual_seed(0)
    quantizer = RVQ(16, 64, 4)
    made = SpectralCodec(quantizer, channels=channels, encoder_width=16, decoder_width=16, **options).eval()
    made.quantizer.fit(made.analyze(0.1 * torch.randn(1, channels, 48000)).flatten(end_dim=-2))
    return made


@pytest.fixture(scope="module")
def codec() -> SpectralCodec:
    return made_codec()


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    path = sorted((sample_folder() / "speech").rglob("*.*"))[0]
    wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 16000
    return torch.from_numpy(wav.T[:1, :32000].copy())


def noise(samples: int, channels: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))


def test_speech_is_nearer_for_the_ear(speech):
    codec = AudioCodec.from_pretrained()
    distances = (LoudnessDisturbance(16000), LowWave(16000))

    def heard(steps):
        codes = LatentRefinement(codec, 6, steps).whole(speech)
        made = codec.decode(codes.T[None], speech.shape[-1])
        return [distance(made, speech[None]).item() for distance in distances]

    plain, few, many = heard(0), heard(2), heard(8)
    assert few[0] < plain[0]
    assert few[1] < 0.99 * plain[1]
    assert many[0] < 0.95 * few[0]
    assert many[1] < few[1]


@pytest.mark.parametrize("samples", [1, 319, 4000, 70400, 70401, 145000])
@pytest.mark.parametrize("rounds", [0, 1])
def test_blocks_give_bit_for_bit_what_the_whole_gives(codec, samples, rounds):
    wav = noise(samples)
    whole = LatentRefinement(codec, 3, 1, rounds).whole(wav)
    blocks = list(LatentRefinement(codec, 3, 1, rounds).through(wav.split(17003, dim=-1)))
    assert whole.shape == (-(-samples // 320), 3)
    assert torch.equal(torch.cat(blocks), whole)


def test_its_adam_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.arange(6.0)) for _ in range(2))
    mine, reference = _Adam(ours), torch.optim.Adam([theirs], betas=(0.5, 0.9))
    for rate in (0.1, 0.05, 0.02):
        theirs.grad = torch.randn(6)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        mine.step(theirs.grad, rate)
    torch.testing.assert_close(ours, theirs)


def test_without_steps_codes_are_those_of_the_encoder(codec):
    wav = noise(100000)
    assert torch.equal(LatentRefinement(codec, 2, 0).whole(wav), codec.encode(wav[None], 0.6)[0].T)
    matched = match_levels(codec, wav, 2, 2)
    assert torch.equal(LatentRefinement(codec, 2, 0, 2).whole(wav), codec.encode(matched[None], 0.6)[0].T)


def test_it_is_never_further_from_the_goal_than_where_it_began(codec, monkeypatch):
    """Steps of any length: the best place counts, and the first is one of them."""
    monkeypatch.setattr("vqkit.models.audio.latent_search._RATE", 1e6)
    wav = noise(16000)
    assert torch.equal(LatentRefinement(codec, None, 2).whole(wav), codec.encode(wav[None])[0].T)


def test_the_context_before_a_segment_keeps_its_codes(codec, monkeypatch):
    """What is decoded before a segment is what was written, not what the search of now would choose there."""
    seen = []
    synthesize = SpectralCodec.synthesize

    def watched(self, z, *arguments, **options):
        seen.append(z.detach())
        return synthesize(self, z, *arguments, **options)

    monkeypatch.setattr(SpectralCodec, "synthesize", watched)
    codes = LatentRefinement(codec, None, 2).whole(noise(100000))
    written = codec.quantizer.decode(codes[None, 192:200])
    assert len(seen) == 6  # two segments, two steps and a last look
    assert all(torch.equal(z[:, :8], written) for z in seen[3:])


def test_nothing_of_the_codec_or_of_the_caller_changes(codec):
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    codes = LatentRefinement(codec, None, 2).whole(noise(16000))
    assert torch.equal(torch.randn(4), expected)
    assert all(torch.equal(before[name], value) for name, value in codec.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in codec.parameters())
    with torch.inference_mode():
        assert torch.equal(LatentRefinement(codec, None, 2).whole(noise(16000)), codes)


def test_other_codecs_too():
    stereo = made_codec(channels=2)
    assert LatentRefinement(stereo, None, 1, 1).whole(noise(9000, 2)).shape == (29, 4)
    torch.manual_seed(0)
    convolutional = AudioCodec(RVQ(12, 64, 4), sample_rate=16000, num_filters=4).eval()
    codes = LatentRefinement(convolutional, 2, 1).whole(noise(9000))
    assert codes.shape == (29, 2)
    with pytest.raises(ValueError, match="codes of several scales cannot be refined"):
        LatentRefinement(SpectralCodec(Multiscale([VQ(16, 64), VQ(16, 64)], sizes=(1, 2))), None, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_codecs_of_other_precision_search_in_single(codec, dtype):
    wav, expected = noise(16000), LatentRefinement(codec, None, 3).whole(noise(16000))
    found = LatentRefinement(copy.deepcopy(codec).to(dtype), None, 3).whole(wav)
    assert (found[:, 0] == expected[:, 0]).float().mean() > 0.9
    assert not torch.equal(found, codec.encode(wav[None])[0].T)


def test_frames_may_keep_only_what_is_worth_its_bits(codec):
    codes = LatentRefinement(codec, None, 1, rate_weight=0.05).whole(noise(16000))
    kept = (codes >= 0).sum(dim=1)
    assert 1 <= kept.min() < kept.max() <= 4 or kept.unique().numel() > 1
    assert torch.equal(codes[0, : kept[0]] >= 0, torch.ones(int(kept[0]), dtype=torch.bool))


def test_files_hold_the_refined_codes(codec, tmp_path):
    wav = noise(48000)
    soundfile.write(tmp_path / "a.wav", wav[0].numpy().astype(np.float32), 16000, subtype="FLOAT")

    def codes(file):
        return VqkReader(io.BytesIO(file)).read()

    refined = codec.compress(wav, 16000, 0.6, refine_steps=2)
    assert torch.equal(codes(refined), LatentRefinement(codec, 2, 2).whole(wav))
    assert torch.equal(codes(refined).T[None], codes_of(codec, wav, 2, 0, 2))
    plain = codec.compress(wav, 16000, 0.6)
    assert not torch.equal(codes(refined), codes(plain))
    codec.save_pretrained(tmp_path / "codec")
    words = [str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), "--model", str(tmp_path / "codec"), "--kbps", "0.6"]
    for steps, expected in (("2", refined), ("0", plain)):
        assert main(["encode", *words, "-f", "--quiet", "--refine-steps", steps]) == 0
        assert torch.equal(codes((tmp_path / "a.vqk").read_bytes()), codes(expected))


def test_a_codec_names_its_own_steps_and_keeps_them(codec, tmp_path):
    own = made_codec(refine_steps=2)
    own.save_pretrained(tmp_path)
    again = SpectralCodec.from_pretrained(tmp_path)
    wav = noise(16000)
    assert again.refine_steps == 2
    assert again.compress(wav, 16000) == codec.compress(wav, 16000, refine_steps=2) != codec.compress(wav, 16000)
    assert torch.equal(again.coded(wav).codes, VqkReader(io.BytesIO(again.compress(wav, 16000))).read())


def test_other_numbers_are_refused(codec, tmp_path, capsys):
    for wrong in (-1, 1001, 1.5, True):
        with pytest.raises(ValueError, match=f"refine_steps must be an integer in 0 … 1000, got {wrong}"):
            codec.compress(torch.zeros(1, 16000), 16000, refine_steps=wrong)
        with pytest.raises(ValueError, match=f"refine_steps must be an integer in 0 … 1000, got {wrong}"):
            SpectralCodec(RVQ(16, 64, 4), refine_steps=wrong)
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), "--refine-steps", "-1"]) == 2
    assert "--refine-steps is -1, it must be in 0 … 1000" in capsys.readouterr().err
