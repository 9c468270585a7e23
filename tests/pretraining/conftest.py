import pytest
import torch

from vqkit import RVQ
from vqkit.data import write_audio
from vqkit.models import Bridle
from vqkit.models.bridle import Stack


def tone(kind, index, rate=8000, seconds=0.6):
    """A low hum, a high beep, or noise."""
    generator = torch.Generator().manual_seed(100 * index + len(kind))
    time = torch.arange(int(rate * seconds)) / rate
    noise = torch.randn(len(time), generator=generator)
    hz = {"hum": 200, "beep": 2000, "hiss": 0}[kind] * (1 + 0.05 * torch.rand(1, generator=generator))
    return (0.3 * torch.sin(2 * torch.pi * hz * time) * bool(hz) + (0.01 if hz else 0.2) * noise)[None]


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder of three classes of sound, eight each, without splits."""
    folder = tmp_path_factory.mktemp("sounds")
    for kind in ("hum", "beep", "hiss"):
        (folder / kind).mkdir()
        for index in range(8):
            write_audio(folder / kind / f"{index}.wav", tone(kind, index), 8000)
    return folder


def tiny(modality="audio"):
    torch.manual_seed(0)
    sizes = {"encoder": Stack(16, 1, 2), "predictor": Stack(16, 1, 2), "estimator": Stack(16, 1, 2)}
    shapes = {
        "audio": {"size": (48, 16), "patch": (8, 8), "sample_rate": 8000},
        "image": {"size": (16, 16), "patch": (4, 4), "channels": 3},
        "video": {"size": (4, 16, 16), "patch": (2, 8, 8), "channels": 3},
    }
    return Bridle(modality, quantizer=RVQ(8, 8, 2, revive="none"), **sizes, **shapes[modality]).eval()


@pytest.fixture
def bridle():
    """A function that builds a small model of a modality."""
    return tiny
