import numpy as np
import pytest
import soundfile
import torch

from vqkit import RVQ
from vqkit.models import AudioCodec

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
