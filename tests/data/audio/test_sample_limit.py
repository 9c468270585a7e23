import io

import numpy as np
import pytest
import soundfile

from vqkit.data import AudioBlocks, read_audio

RATE = 8000


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_as_many_samples_as_allowed_and_not_one_more(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, np.zeros((RATE, 2), np.float32), RATE)
    count = read_audio(path).samples.numel()
    assert read_audio(path, max_samples=count).samples.shape[1] == count // 2
    with AudioBlocks(path, max_samples=count) as source:
        assert sum(block.numel() for block in source) == count
    message = rf"{name} has \d+ samples or more in each of 2 channels; max_samples allows {count - 1} in all"
    with pytest.raises(ValueError, match=message):
        read_audio(path, max_samples=count - 1)
    with pytest.raises(ValueError, match=message), AudioBlocks(path, max_samples=count - 1) as source:
        list(source)


def test_a_part_counts_for_itself_and_at_the_rate_it_is_wanted(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    assert read_audio(path, offset_seconds=0.5, seconds=0.25, max_samples=2000).samples.shape == (1, 2000)
    with pytest.raises(ValueError, match="has 16000 samples or more in one channel; max_samples allows 8000"):
        read_audio(path, sample_rate=16000, max_samples=8000)


def test_a_stated_length_is_refused_before_anything_is_decoded(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    with pytest.raises(ValueError, match="max_samples allows 10"):
        AudioBlocks(path, max_samples=10)


def test_a_pipe_is_counted_as_it_comes(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(RATE, np.float32), RATE, format="WAV")
    with (
        pytest.raises(ValueError, match="max_samples allows 7999"),
        AudioBlocks(io.BytesIO(file.getvalue()), max_samples=RATE - 1) as source,
    ):
        list(source)


def test_the_limit_is_checked(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8), RATE)
    with pytest.raises(ValueError, match="max_samples is 0, it must be at least 1"):
        AudioBlocks(tmp_path / "a.wav", max_samples=0)
