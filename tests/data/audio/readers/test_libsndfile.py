import numpy as np
import pytest
import soundfile

from vqkit.data.audio.readers.libsndfile import SoundfileReader, Undecodable


def test_reads_parts_and_stops_at_the_end(tmp_path):
    path = tmp_path / "a.wav"
    values = np.arange(-50, 50).astype(np.int16)
    soundfile.write(path, values, 8000)
    reader = SoundfileReader(path)
    assert (reader.sample_rate, reader.channels, reader.num_samples) == (8000, 1, 100)
    for start in (0, 10, 90):
        got = np.concatenate([piece.samples for piece in SoundfileReader(path).pieces(start)])
        np.testing.assert_array_equal(got[:, 0] * 2**15, values[start:])
    assert not list(reader.pieces(100))
    assert not list(SoundfileReader(path).pieces(500))
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


def test_damage_is_said_with_the_first_sample_that_is_not_given(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 200_000), 8000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    reader = SoundfileReader(path)
    given = []
    with pytest.raises(Undecodable) as damage:
        given.extend(len(piece.samples) for piece in reader.pieces(0))
    assert damage.value.position == sum(given) > 50_000
    reader.close()
