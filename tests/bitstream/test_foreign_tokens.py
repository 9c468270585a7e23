"""Tokens of other codecs: their layouts become frames and back, random ones cannot be compressed, real ones can."""

import pytest
import torch
import transformers

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


# what each paper states: codes a frame of each rate, alphabet, sample rate and samples a frame of the slowest, kbit/s
PUBLISHED = {
    "encodec_24khz": ([8], 1024, 24000, 320, 6.0),
    "dac_44khz": ([9], 1024, 44100, 512, 7.75),
    "snac_24khz": ([1, 2, 4], 4096, 24000, 2048, 0.98),
    "mimi": ([8], 2048, 24000, 1920, 1.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_random_tokens_of_each_layout_need_the_rate_that_its_paper_states(name):
    generator = torch.Generator().manual_seed(0)
    counts, size, sample_rate, hop, kbps = PUBLISHED[name]
    frames = 10 * sample_rate // hop

    def sound():
        if len(counts) == 1:
            return token_frames(torch.randint(0, size, (1, counts[0], frames), generator=generator))
        return token_frames([torch.randint(0, size, (1, frames * count), generator=generator) for count in counts])

    rate = token_rates(
        [sound()], (size,) * sum(counts), sample_rate=sample_rate, hop_samples=hop, fit_to=[sound()], classes=1
    )
    assert rate.nominal_kbps == pytest.approx(kbps, rel=0.01)
    # nothing can be saved; header, and marks and checksums of the chunks come on top, some 300 bytes in ten seconds
    assert rate.nominal_kbps < rate.plain_kbps < rate.nominal_kbps + 0.3
    assert min(rate.static_kbps, rate.context_kbps) > rate.nominal_kbps


def published_layers(name):
    """The networks of `transformers`, small and untrained: their codes have the layout, if not the meaning, of the published ones."""
    torch.manual_seed(0)
    if name == "encodec":
        config = transformers.EncodecConfig(
            num_filters=4,
            hidden_size=16,
            codebook_dim=16,
            codebook_size=64,
            upsampling_ratios=[8, 5, 4, 2],
            target_bandwidths=[1.8],
        )
        return transformers.EncodecModel(config).eval(), 64, 320
    if name == "dac":
        config = transformers.DacConfig(
            encoder_hidden_size=4,
            decoder_hidden_size=16,
            downsampling_ratios=[4, 8, 10],
            codebook_size=64,
            n_codebooks=3,
        )
        return transformers.DacModel(config).eval(), 64, 320
    config = transformers.MimiConfig(
        num_filters=4,
        hidden_size=16,
        codebook_dim=8,
        codebook_size=64,
        vector_quantization_hidden_dimension=8,
        num_quantizers=4,
        num_hidden_layers=1,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        upsample_groups=16,
    )
    return transformers.MimiModel(config).eval(), 64, 1920


@pytest.mark.parametrize("name", ["encodec", "dac", "mimi"])
@torch.no_grad()
def test_what_their_encoders_return_is_taken_as_it_is(name):
    """Real streams: speech through the layers that `transformers` has for these codecs."""
    model, size, hop = published_layers(name)
    for module in model.modules():  # codebooks of zeros, as untrained ones are, would give one code
        for key, buffer in module.named_buffers(recurse=False):
            if "embed" in key and buffer.ndim == 2:
                buffer.normal_()
    clips = list_clips(sample_folder() / "speech", "train")[:4]
    sounds = []
    for clip in clips:
        wav = read_audio(clip.path, 24000, 1).samples[None, :, :48000]
        given = model.encode(wav).audio_codes
        frames = token_frames(given)
        assert frames.shape == (given.shape[-1], given.shape[-2])
        assert torch.equal(frames.T, given.reshape(given.shape[-2:]))
        assert len(frames) == pytest.approx(wav.shape[-1] / hop, abs=2)
        sounds.append(frames)
    codes = sounds[0].shape[1]
    rate = token_rates(sounds[:2], (size,) * codes, sample_rate=24000, hop_samples=hop, fit_to=sounds[2:], classes=4)
    assert rate.nominal_kbps == pytest.approx(codes * 6 * 24 / hop)
    assert rate.seconds == pytest.approx(sum(map(len, sounds[:2])) * hop / 24000)
    assert rate.static_kbps > 0 < rate.context_kbps


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
