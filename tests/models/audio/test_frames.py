import pytest
import torch
from scipy.fft import dct

from vqkit import IVQ, RVQ, VQ, LooC
from vqkit.models.audio.frames import FrameCodec


def wave(seconds: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, int(24000 * seconds), generator=generator)
    return 0.1 * torch.nn.functional.avg_pool1d(noise, 9, stride=1, padding=4)  # coloured, as sound is


def test_the_transform_is_the_mdct_by_its_definition():
    """Against the DCT-IV of the folded, windowed frame (SciPy)."""
    codec = FrameCodec(VQ(64, 2), whitening=0.0, rotate=False)
    x = wave(0.1)
    z = codec.analyze(x)[0]
    padded = torch.nn.functional.pad(x[0, 0], (64, 128)).double()
    frame = (padded[5 * 64 : 5 * 64 + 128] * codec.window.double()).numpy()
    a, b, c, d = frame[:32], frame[32:64], frame[64:96], frame[96:]
    folded = [*(-c[::-1] - d), *(a - b[::-1])]
    mdct = dct(folded, type=4, norm="ortho")
    torch.testing.assert_close(z[5].double(), torch.from_numpy(mdct), atol=1e-5, rtol=1e-4)
    rotated = FrameCodec(VQ(64, 2), whitening=0.0).analyze(x)[0, 5].double()
    torch.testing.assert_close(rotated, torch.from_numpy(dct(mdct, type=2, norm="ortho")), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [1, 239, 240, 241, 24000, 12345])
@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_perfect_reconstruction_without_quantization(samples, whitening):
    codec = FrameCodec(VQ(240, 2), whitening=whitening)
    codec.set_deviation(torch.randn(100, 240) * torch.linspace(1, 0.01, 240))
    x = wave()[..., :samples]
    z = codec.analyze(x)
    assert z.shape[1] == -(-samples // 240) + 1
    torch.testing.assert_close(codec.synthesize(z, samples), x, atol=1e-5, rtol=0)


def test_orthonormal_without_whitening():
    codec = FrameCodec(VQ(240, 2), whitening=0.0)
    x = wave()
    assert codec.analyze(x).square().sum().item() == pytest.approx(x.square().sum().item(), rel=1e-5)


def test_full_whitening_gives_unit_deviation():
    codec = FrameCodec(VQ(240, 64), whitening=1.0, rotate=False).fit([wave(3)[0, 0]])
    assert codec.analyze(wave(3)).square().mean(dim=(0, 1)).sqrt() == pytest.approx(torch.ones(240), rel=1e-3)


def test_fit_makes_a_codec_that_improves_with_stages():
    codec = FrameCodec(RVQ(240, 64, 8)).fit([wave(8)[0, 0]])
    x = wave(2, seed=1)
    codes = codec.encode(x)
    errors = []
    for stages in (1, 2, 4, 8):
        back = codec.decode(codes[:, :stages], samples=x.shape[-1])
        assert back.shape == x.shape
        errors.append((back - x).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.8 * errors[0]


def test_bitrate_chooses_the_stages():
    codec = FrameCodec(RVQ(240, 64, 4))
    assert codec.rates_kbps == (0.6, 1.2, 1.8, 2.4)
    assert codec.encode(wave(), kbps=1.3).shape[1] == 2
    with pytest.raises(ValueError, match=r"kbps=0\.5 is below the first stage; this codec has the rates 0\.6, 1\.2"):
        codec.encode(wave(), kbps=0.5)


def test_rotation_lets_pieces_share_a_codebook():
    """On coloured sound the bands differ by far; rotated, every piece of an IVQ sees the same mixture."""
    errors = []
    for rotate in (False, True):
        codec = FrameCodec(IVQ(240), rotate=rotate).fit([wave(8)[0, 0]])
        x = wave(2, seed=1)
        errors.append((codec.decode(codec.encode(x), samples=x.shape[-1]) - x).square().mean().item())
    assert errors[1] < 0.95 * errors[0]


def test_structured_rates():
    assert FrameCodec(IVQ(240, variant="bottom-up")).rates_kbps == (0.6, 1.2, 1.8, 2.4)


def test_decode_of_encode_of_a_padded_batch():
    torch.manual_seed(0)
    codec = FrameCodec(LooC(240, 16, 10, scale=2, spatial_dims=1)).fit([wave(2)[0, 0]])
    lengths = torch.tensor([24000, 10000])
    x = torch.cat([wave(), wave(seed=2)])
    x[1, :, 10000:] = 0
    z = codec.analyze(x)
    mask = codec.frame_mask(lengths, z.shape[1])
    assert mask.sum(dim=1).tolist() == [101, 43]
    alone = codec.encode(x[1:, :, :10000])
    batched = codec.quantizer.encode(z, mask).transpose(1, 2)[1:, :, :43]
    assert (alone == batched).float().mean() > 0.999


def test_save_and_load(tmp_path):
    codec = FrameCodec(RVQ(120, 16, 2), sample_rate=16000, whitening=0.7).fit([wave()[0, 0]])
    codec.save_pretrained(tmp_path)
    other = FrameCodec.from_pretrained(tmp_path)
    assert (other.sample_rate, other.whitening) == (16000, 0.7)
    assert torch.equal(other.encode(wave()), codec.encode(wave()))
    assert torch.equal(other.decode(other.encode(wave())), codec.decode(codec.encode(wave())))


@pytest.mark.parametrize("shape", [(24000,), (1, 2, 100), (1, 1, 0)])
def test_wrong_waveforms_are_refused(shape):
    with pytest.raises(ValueError, match=r"wav must be \(batch, 1 channels, samples\), got shape"):
        FrameCodec(VQ(240, 2)).encode(torch.zeros(shape))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"whitening must be in 0 … 1, got 2"):
        FrameCodec(VQ(240, 2), whitening=2)
    with pytest.raises(ValueError, match="sample_rate must be at least 1 Hz"):
        FrameCodec(VQ(240, 2), sample_rate=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_bands_without_sound_are_finite_in_half_precision(dtype):
    time = torch.arange(8000) / 8000
    wave = 1e-5 * torch.sin(2 * torch.pi * 440 * time)  # most bands are below the least number of float16
    codec = FrameCodec(VQ(16, 8), sample_rate=8000, whitening=1.0).fit([wave], iterations=2).to(dtype)
    assert (codec.deviation == 0).any() == (dtype == torch.float16)
    decoded = codec.decode(codec.encode(wave[None, None]), 8000)
    assert decoded.dtype == dtype
    assert decoded.isfinite().all()
    assert (decoded[0, 0] - wave).square().mean() < 0.2 * wave.square().mean()


def test_frames_of_padding_are_masked():
    codec = FrameCodec(RVQ(240, 16, 2)).fit([wave(2)[0, 0]])
    batch = torch.cat([wave(seed=1), wave(seed=2)])
    batch[0, :, 10000:] = 1.0  # what stands there must not matter
    lengths = torch.tensor([10000, 24000])
    out = codec(batch, lengths)
    codes = codec.encode(batch, lengths=lengths)
    assert torch.equal(out.codes.movedim(-1, 1), codes)
    real = -(-10000 // 240) + 1
    assert torch.equal(codes[0, :, :real], codec.encode(batch[:1, :, :10000])[0])
    assert (codes[0, :, real:] == -1).all()
    assert (out.signal[0, :, 10000:] == 0).all()


def test_what_is_lost_of_a_file_is_silent_and_the_rest_is_not_touched():
    codec = FrameCodec(RVQ(240, 16, 2)).fit([wave(2)[0, 0]])
    whole = codec.compress(wave(20)[0], 24000)
    cut = whole[: len(whole) * 2 // 3]
    with pytest.warns(UserWarning, match="the file is cut off after"):
        found, rate = codec.decompress(cut)
    expected, _ = codec.decompress(whole)
    assert rate == 24000
    assert found.shape[1] % 240 == 0
    assert found.shape[1] > 5 * 24000
    assert torch.equal(found[:, :-240], expected[:, : found.shape[1] - 240])
    lost = torch.zeros(101, dtype=torch.bool)
    lost[50] = True
    assert codec.touched(lost).nonzero().flatten().tolist() == list(range(49 * 240, 51 * 240))


def test_training_starts_at_the_deviations_of_a_batch():
    codec, other = FrameCodec(VQ(240, 4)), FrameCodec(VQ(240, 4))
    assert not codec.initialized
    codec.initialize(wave(3))
    assert codec.initialized
    assert codec.autoencode(wave()).signal.shape == wave().shape
    assert torch.allclose(codec.deviation, other.fit([wave(3)[0, 0]]).deviation)
