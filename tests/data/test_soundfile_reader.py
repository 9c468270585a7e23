import numpy as np
import pytest
import soundfile

from vqkit.data.soundfile_reader import SoundfileReader


def test_reads_parts_and_stops_at_the_end(tmp_path):
    path = tmp_path / "a.wav"
    values = np.arange(-50, 50).astype(np.int16)
    soundfile.write(path, values, 8000)
    reader = SoundfileReader(path)
    assert (reader.sample_rate, reader.channels, reader.num_samples) == (8000, 1, 100)
    np.testing.assert_array_equal(reader.read(90, 50)[:, 0] * 2**15, values[90:])
    np.testing.assert_array_equal(reader.read(10, 5)[:, 0] * 2**15, values[10:15])
    assert reader.read(100, None).shape == (0, 1)
    assert reader.read(500, 3).shape == (0, 1)
    reader.close()


def test_mp3_is_left_to_ffmpeg(tmp_path):
    path = tmp_path / "hidden.wav"
    soundfile.write(path, np.zeros(8000), 8000, format="MP3")
    with pytest.raises(ValueError, match=r"hidden\.wav cannot be read exactly by soundfile"):
        SoundfileReader(path)


def test_headerless_suffixes_are_refused(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r"a\.raw cannot be read by soundfile"):
        SoundfileReader(path)
