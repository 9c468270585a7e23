"""What a tokenizer of video has of its own: volumes of codes, rates in kbit/s, files with a frame rate."""

import dataclasses
import io

import pytest
import torch

from vqkit import FSQ, RVQ, VQ, LooC
from vqkit.bitstream import BitstreamError, VqkReader, VqkWriter
from vqkit.modality import VIDEO
from vqkit.models import VideoTokenizer
from vqkit.models.loading import load_tokenizer, saved_modality
from vqkit.models.video.compression import _checked_size


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    made = VideoTokenizer(RVQ(6, 16, 2), width=8, residual_width=4, residual_blocks=1, frame_rate=10.0).eval()
    made.quantizer.fit(made.analyze(torch.rand(8, 3, 8, 16, 16)))
    return made


@pytest.fixture(scope="module")
def clip():
    return torch.rand(3, 7, 18, 22, generator=torch.Generator().manual_seed(1))


def test_a_latent_vector_stands_for_a_tubelet(tokenizer):
    assert tokenizer.tubelet == (2, 4, 4)
    assert tokenizer.grid(7, 18, 22) == (4, 5, 6)
    video = torch.rand(1, 3, 16, 32, 32)
    changed = video.clone()
    changed[..., 9, 18, 14] += 0.5  # frame 9, row 18, column 14: tubelet (4, 4, 3)
    moved = (tokenizer.analyze(changed) - tokenizer.analyze(video)).abs().sum(-1)[0]
    assert moved[4, 4, 3] > 0
    # what sees a tubelet are those up to three cells away: strided convolutions, one 3×3×3, one residual block
    seen = moved.nonzero()
    assert seen.min(0).values.tolist() >= [1, 1, 0]
    assert moved.nonzero().max(0).values.tolist() <= [7, 7, 6]


def test_layers_of_time_and_space(tokenizer):
    still = VideoTokenizer(VQ(6, 8), width=8, downsamples=3, time_downsamples=0)
    assert still.tubelet == (1, 8, 8)
    assert still.encode(torch.rand(2, 3, 3, 8, 16)).shape == (2, 1, 3, 1, 2)
    slow = VideoTokenizer(VQ(6, 8), width=8, downsamples=1, time_downsamples=1, channels=1)
    assert slow.encode(torch.rand(1, 1, 4, 6, 6)).shape == (1, 1, 2, 3, 3)
    assert slow(torch.rand(1, 1, 4, 6, 6)).signal.shape == (1, 1, 4, 6, 6)


def test_rates_are_those_of_the_frame_rate(tokenizer, clip):
    # 5 × 6 cells, two frames each, ten frames a second, four bits a stage: 0.6 kbit/s a stage
    assert tokenizer.rates(18, 22) == (0.6, 1.2)
    assert tokenizer.encode(clip[None], kbps=0.7).shape[1] == 1
    with pytest.raises(ValueError, match=r"kbps.*0\.5.*0\.6"):
        tokenizer.encode(clip[None], kbps=0.5)
    # at twice the frame rate a stage takes 1.2 kbit/s
    with VqkReader(io.BytesIO(tokenizer.compress(clip, frame_rate=20.0, kbps=1.3))) as reader:
        assert reader.header.num_codes == 1
        assert reader.header.rates_kbps == (1.2,)
        assert reader.header.modality is VIDEO
    coded = tokenizer.coded(clip)
    assert coded.codes.shape == (4 * 5 * 6, 2)
    assert coded.extent == 700  # milliseconds


def test_a_file_keeps_video_and_frame_rate(tokenizer, clip):
    back, rate = tokenizer.decompress(tokenizer.compress(clip, frame_rate=29.97))
    assert rate == 29.97
    assert torch.equal(back, tokenizer.decode(tokenizer.encode(clip[None]), (7, 18, 22))[0])
    assert tokenizer.decompress(tokenizer.compress(clip))[1] == 10.0


def test_what_is_lost_is_gray(tokenizer, clip):
    long = clip.repeat(1, 3, 1, 1)[:, :20]  # 300 cells in chunks of a second, which are 150 cells or 10 frames
    file = tokenizer.compress(long)
    whole, _ = tokenizer.decompress(file)
    with pytest.warns(UserWarning, match="ends after 150 of 300 cells; the others are gray"):
        found, _ = tokenizer.decompress(file[: len(file) * 7 // 10])
    assert (found[:, 10:] == 0.5).all()
    assert not (whole[:, 10:] == 0.5).all()
    assert torch.equal(found[:, :4], whole[:, :4])  # beyond what the decoder sees of a lost cell


def test_files_that_do_not_fit_are_refused(tokenizer, clip):
    with VqkReader(io.BytesIO(tokenizer.compress(clip))) as reader:
        header, codes = reader.header, reader.read()

    def file(**changes):
        made = io.BytesIO()
        with VqkWriter(made, dataclasses.replace(header, **changes)) as writer:
            writer.write(codes)
        return made.getvalue()

    assert tokenizer.decompress(file())[0].shape == clip.shape
    with pytest.raises(BitstreamError, match="it holds no video: its image size"):
        tokenizer.decompress(file(sample_rate=0, hop_samples=0, length=None))
    with pytest.raises(BitstreamError, match="are not this tokenizer's"):
        tokenizer.decompress(file(grid=(6, 5)))
    with pytest.raises(ValueError, match="allowed are 256 megapixels in all"):
        _checked_size(tokenizer, dataclasses.replace(header, length=1000 * 10**6), 256.0)  # no writer would write it


def test_interpolation_over_volumes(clip):
    torch.manual_seed(0)
    made = VideoTokenizer(LooC(8, 16, 4, scale=2, spatial_dims=3), width=8, residual_blocks=1).eval()
    made.quantizer.fit(made.analyze(torch.rand(4, 3, 8, 16, 16)))
    codes = made.encode(clip[None])
    assert codes.shape == (1, 2 * 8, 4, 5, 6)
    back, _ = made.decompress(made.compress(clip))
    assert torch.equal(back, made.decode(codes, (7, 18, 22))[0])
    assert len(codes.unique()) > 8


def test_a_saved_model_is_one_of_video(tokenizer, clip, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert saved_modality(tmp_path) is VIDEO
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, VideoTokenizer)
    assert torch.equal(loaded.encode(clip[None]), tokenizer.encode(clip[None]))


def test_what_is_allowed(tokenizer):
    for arguments, message in [
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"time_downsamples": 3}, r"time_downsamples must be 0 … 2, got 3"),
        ({"frame_rate": 0.0}, "frame_rate must be 0.001"),
        ({"downsamples": 0}, "downsamples 1 … 8"),
    ]:
        with pytest.raises(ValueError, match=message):
            VideoTokenizer(VQ(4, 4), **arguments)
    with pytest.raises(ValueError, match=r"\(batch, num_codes, times, rows, columns\), got shape \(1, 2, 4, 5\)"):
        tokenizer.decode(torch.zeros(1, 2, 4, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"size must be within \(1, 1, 1\) … \(8, 20, 24\), got \(9, 18, 22\)"):
        tokenizer.decode(torch.zeros(1, 2, 4, 5, 6, dtype=torch.long), (9, 18, 22))
    with pytest.raises(ValueError, match="looks like \\(frames, channels, height, width\\)"):
        tokenizer.compress(torch.rand(8, 3, 16, 16))
    with pytest.raises(ValueError, match="frame_rate must be 0.001 … 1000, got 0"):
        tokenizer.compress(torch.rand(3, 8, 16, 16), frame_rate=0)


def test_a_turned_latent_changes_nothing_without_quantizer():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(FSQ(6, [5, 5]), width=8, downsamples=1).eval()
    video, rotation = torch.rand(1, 3, 4, 8, 8), torch.linalg.qr(torch.randn(6, 6)).Q
    with torch.no_grad():
        z = tokenizer.analyze(video)
        before = tokenizer.synthesize(z)
        tokenizer.rotate_latent(rotation)
        assert tokenizer.rotatable
        assert torch.allclose(tokenizer.analyze(video), z @ rotation, atol=1e-5)
        assert torch.allclose(tokenizer.synthesize(tokenizer.analyze(video)), before, atol=1e-5)
    with pytest.raises(ValueError, match="rotation must be orthonormal"):
        tokenizer.rotate_latent(2 * rotation)
