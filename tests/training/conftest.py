import numpy as np
import pytest
import torch

from vqkit.data import write_audio


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
