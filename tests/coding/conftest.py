import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vqkit import RVQ
from vqkit.data.video.writer import video_bytes
from vqkit.models import AudioCodec, ConvBackbone, ImageTokenizer, VideoTokenizer

RATE = 8000


def make_codec(**options):
    """Untrained, but its codes use the whole codebook."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = AudioCodec(
            RVQ(12, 64, 4), **{"sample_rate": RATE, "num_filters": 4, "strides": (4, 5)} | options
        ).eval()
        noise = 0.3 * torch.randn(1, codec.channels, 5 * RATE)
        if codec.encodec.norm_type == "weight_norm":
            codec.initialize(noise)
        codec.quantizer.fit(codec.analyze(noise))
    return codec


@pytest.fixture(scope="session")
def codec():
    return make_codec()


@pytest.fixture(scope="session")
def model(codec, tmp_path_factory):
    """Folder of the saved codec."""
    folder = tmp_path_factory.mktemp("model")
    codec.save_pretrained(folder)
    return folder


@pytest.fixture
def sound():
    """Writes noise to a file, and returns the path."""

    def write(path, seconds=2.0, rate=RATE, channels=1, seed=0, **options):
        noise = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels)) * 0.1
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".opus":
            options = {"format": "OGG", "subtype": "OPUS"}
        soundfile.write(path, noise, rate, **options)
        return path

    return write


@pytest.fixture
def codec_of():
    return make_codec


def make_tokenizer(channels=3):
    """Untrained, but its codes use the whole codebook."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = ConvBackbone(dim=8, channels=channels, width=4, residual_width=2, residual_blocks=1)
        tokenizer = ImageTokenizer(backbone, RVQ(8, 32, 3)).eval()
        images = torch.rand(1, channels, 64, 64)
        tokenizer.initialize(images)
        tokenizer.quantizer.fit(tokenizer.analyze(images))
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def gray_tokenizer():
    return make_tokenizer(channels=1)


@pytest.fixture(scope="session")
def image_model(tokenizer, tmp_path_factory):
    """Folder of the saved tokenizer."""
    folder = tmp_path_factory.mktemp("image_model")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def picture():
    """Writes an image file of noise, and returns the path."""

    def write(path, size=(60, 83), mode="RGB", seed=0, **options):
        random = np.random.default_rng(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == "I;16":
            image = Image.fromarray(random.integers(0, 65536, size, dtype=np.uint16))
        else:
            planes = 1 if mode in ("L", "1") else 3
            pixels = random.integers(0, 256, (*size, planes), dtype=np.uint8)
            image = Image.fromarray(pixels[..., 0] if planes == 1 else pixels).convert(mode)
        image.save(path, **options)
        return path

    return write


@pytest.fixture(scope="session")
def video_tokenizer():
    """Untrained, but its codes use the whole codebook."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = VideoTokenizer(RVQ(8, 32, 3), width=8, residual_width=4, residual_blocks=1).eval()
        clips = torch.rand(1, 3, 8, 32, 32)
        tokenizer.initialize(clips)
        tokenizer.quantizer.fit(tokenizer.analyze(clips))
    return tokenizer


@pytest.fixture(scope="session")
def video_model(video_tokenizer, tmp_path_factory):
    """Folder of the saved tokenizer of video."""
    folder = tmp_path_factory.mktemp("video_model")
    video_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def film():
    """Writes a silent video of a moving gradient, and returns the path."""

    def write(path, frames=7, size=(20, 30), rate=12.5):
        rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
        clip = torch.stack([((rows + columns) / 2 + k / 10) % 1 for k in range(frames)])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video_bytes(clip[None].repeat(3, 1, 1, 1), rate))
        return path

    return write
