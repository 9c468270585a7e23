import pickle

import pytest
import torch

from vqkit.data import write_audio
from vqkit.data.audio.cache import AudioCache


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        write_audio(path, torch.full((1, 1000 * (i + 1)), 0.1 * i), 8000)
    return paths  # 4, 8, 12 and 16 kB as float32


def test_the_least_recently_used_leaves(files):
    cache = AudioCache(8000, 1, megabytes=0.024)
    held = [cache.read(path) for path in files[:3]]
    assert [len(samples[0]) for samples in held] == [1000, 2000, 3000]
    assert cache.read(files[0]) is held[0]
    cache.read(files[3])  # 16 kB beside 4 kB: the other two leave
    assert len(cache) == 2
    assert cache.read(files[0]) is held[0]
    assert cache.read(files[1]) is not held[1]


def test_a_file_over_the_budget_is_read_but_not_held(files):
    cache = AudioCache(8000, 1, megabytes=0.005)
    cache.read(files[0])
    assert cache.read(files[3]).shape == (1, 4000)
    assert len(cache) == 1
    assert cache.fits(0.15)
    assert not cache.fits(0.17)


def test_a_copy_starts_empty(files):
    cache = AudioCache(8000, 2, megabytes=1)
    cache.read(files[0])
    copy = pickle.loads(pickle.dumps(cache))  # noqa: S301
    assert (len(copy), copy.sample_rate, copy.channels, copy.megabytes) == (0, 8000, 2, 1)
