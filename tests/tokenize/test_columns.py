"""A column of ``datasets`` becomes codes by ``map``: those that the model makes."""

import pickle

import datasets
import pytest

from vqkit.data import read_audio, sample_folder
from vqkit.models import load_codec
from vqkit.tokenize import TokenizeColumn

PATH = sample_folder() / "music/stereo/test/freedoom_countd.flac"


def test_every_form_of_a_row():
    column = pickle.loads(pickle.dumps(TokenizeColumn("audio", stages=2)))  # noqa: S301  # our own
    wave = read_audio(PATH)
    forms = {
        "path": str(PATH),
        "bytes": PATH.read_bytes(),
        "row": {"bytes": PATH.read_bytes(), "path": None},
        "array": {"array": wave.samples.numpy(), "sampling_rate": wave.sample_rate},
    }
    found = {name: column({"audio": [form]}) for name, form in forms.items()}
    codec = load_codec()
    expected = codec.encode(read_audio(PATH, codec.sample_rate, 1).samples[None], codec.rates_kbps[1])[0].T
    for name in ("path", "bytes", "row"):
        assert found[name]["shape"] == [list(expected.shape)]
        assert found[name]["codes"][0].tolist() == found["path"]["codes"][0].tolist()
    agreement = (found["array"]["codes"][0] == found["path"]["codes"][0]).mean()
    assert agreement > 0.9  # another resampler: in one piece


def test_map_of_datasets():
    data = datasets.Dataset.from_dict({"audio": [str(PATH)] * 2, "id": [1, 2]})
    found = data.map(TokenizeColumn("audio", stages=1), batched=True, remove_columns=["audio"])
    assert found["id"] == [1, 2]
    assert found[0]["shape"] == [100, 1]
    assert len(found[0]["codes"]) == 100


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="kind must be 'sound' or 'images', got 'film'"):
        TokenizeColumn("audio", kind="film")
    with pytest.raises(KeyError, match="no column 'audio'; there are id"):
        TokenizeColumn("audio")({"id": [1]})
    with pytest.raises(ValueError, match="row 0 of column 'audio': neither bytes nor a file: 'nowhere.wav'"):
        TokenizeColumn("audio")({"audio": ["nowhere.wav"]})
