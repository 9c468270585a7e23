import numpy as np
import pytest
import torch

from vqkit.data import write_audio, write_image


@pytest.fixture(scope="session")
def noise_clips(tmp_path_factory):
    """A folder of half-second clips of filtered noise, three to train on and one to validate with."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("valid", 1)):
        (folder / split).mkdir()
        for index in range(count):
            noise = torch.from_numpy(0.3 * random.standard_normal((1, 4000)).astype(np.float32))
            write_audio(folder / split / f"{index}.wav", noise.cumsum(1).div(20).clamp(-1, 1), 8000)
    return folder


@pytest.fixture(scope="session")
def blob_images(tmp_path_factory):
    """A folder of small pictures of soft blobs, five to train on and three to validate with."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 5), ("valid", 3)):
        (folder / split).mkdir()
        for index in range(count):
            small = torch.rand(1, 3, 4, 5, generator=generator)
            large = torch.nn.functional.interpolate(small, (20, 24), mode="bicubic").clamp(0, 1)
            write_image(folder / split / f"{index}.png", large[0])
    return folder
