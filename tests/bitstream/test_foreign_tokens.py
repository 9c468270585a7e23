"""Tokens of other codecs: their layouts become frames and back, random ones cannot be compressed, real ones can."""

import pytest
import torch

from vqkit import RVQ
from vqkit.bitstream import token_frames, token_rates
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models import load_codec

ENCODEC = {"sample_rate": 24000, "hop_samples": 320}


def test_layouts():
    encodec = torch.arange(2 * 8 * 75).view(1, 1, 16, 75)
    assert torch.equal(token_frames(encodec), encodec[0, 0].T)
    snac = [torch.tensor([[0, 1]]), torch.tensor([[10, 11, 12, 13]]), torch.tensor([20, 21, 22, 23, 24, 25, 26, 27])]
    assert token_frames(snac).tolist() == [[0, 10, 11, 20, 21, 22, 23], [1, 12, 13, 24, 25, 26, 27]]


def test_random_tokens_need_their_nominal_rate():
    torch.manual_seed(0)
    sounds = [token_frames(torch.randint(0, 1024, (1, 8, 1500))) for _ in range(2)]
    rate = token_rates(sounds[:1], (1024,) * 8, fit_to=sounds[1:], classes=4, **ENCODEC)
    assert rate.nominal_kbps == pytest.approx(6.0)
    for found in (rate.plain_kbps, rate.static_kbps, rate.context_kbps):
        assert found > 6.0
    assert rate.plain_kbps < 6.3
    assert rate.seconds == pytest.approx(20.0)


def test_constant_tokens_need_next_to_nothing():
    sounds = [torch.full((1500, 8), 7)] * 2
    rate = token_rates(sounds[:1], (1024,) * 8, fit_to=sounds[1:], classes=2, **ENCODEC)
    assert rate.context_kbps < rate.static_kbps < 1 < 6 < rate.plain_kbps


def test_real_tokens_need_less():
    """What a residual quantizer of 32 codes makes of a shipped codec's latents of speech."""
    torch.manual_seed(0)
    codec = load_codec("vqkit-codec-16khz")
    clips = list_clips(sample_folder() / "speech", "train")[:8]
    latents = [codec.analyze(read_audio(clip.path, codec.sample_rate, 1).samples[None])[0] for clip in clips]
    quantizer = RVQ(48, 32, 2).fit(torch.cat(latents)).eval()
    sounds = [token_frames(quantizer.encode(z[None]).transpose(1, 2)) for z in latents]
    rate = token_rates(sounds[::4], (32, 32), sample_rate=16000, hop_samples=320, fit_to=sounds[1::2], classes=8)
    assert rate.nominal_kbps == pytest.approx(0.5)
    assert rate.context_kbps < rate.plain_kbps  # although a file of six seconds names its tables, in 40 bytes


def test_bad_input_is_named():
    with pytest.raises(TypeError, match=r"tokens must be integers, got torch.float32"):
        token_frames(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match=r"tokens must be of one sound, \(…, codes, frames\), got shape \(2, 2, 3\)"):
        token_frames(torch.zeros(2, 2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"multiples of the first one's, got \[2, 3\]"):
        token_frames([torch.tensor([1, 2]), torch.tensor([1, 2, 3])])
    codes = torch.zeros(4, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"sounds must be \(frames, 3 codes\), got shape \(4, 2\)"):
        token_rates([codes], (8, 8, 8), fit_to=[codes], **ENCODEC)
    with pytest.raises(ValueError, match="sounds and fit_to need one sound each"):
        token_rates([codes], (8, 8), fit_to=[], **ENCODEC)
    with pytest.raises(ValueError, match="9"):
        token_rates([codes + 9], (8, 8), fit_to=[codes], **ENCODEC)
