import io

import pytest
import torch

from vqkit.bitstream import VqkHeader, VqkWriter

SIZES = (16, 4375, 1, 300)


@pytest.fixture
def header():
    """Three stages, ten frames a second."""
    return VqkHeader(SIZES, (1, 2, 1), sample_rate=1000, hop_samples=100, channels=1, model="test", model_hash="ab" * 8)


@pytest.fixture
def codes():
    """Fifty-three frames: five chunks and a part."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randint(0, size, (53,), generator=generator) for size in SIZES], dim=1)


@pytest.fixture
def data(header, codes):
    """The bytes of a file of these codes; its last frame has 60 samples."""
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        writer.write(codes)
        writer.close(length=5260)
    return file.getvalue()
