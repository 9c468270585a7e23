"""The adapter, called as the benchmark calls a codec."""

import io

import numpy as np
import pytest
import torch

from vqkit import RVQ
from vqkit.bitstream import VqkReader
from vqkit.evaluate.superb import SuperbCodec
from vqkit.models import AudioCodec, SpectralCodec


@pytest.fixture(scope="module")
def codec():
    return SuperbCodec(kbps=2)


def item(seconds=1.3, rate=16000, hertz=300, **more):
    time = np.arange(round(seconds * rate)) / rate
    return {"id": "a", "audio": {"array": 0.3 * np.sin(2 * np.pi * hertz * time), "sampling_rate": rate}, **more}


def test_units_are_the_codes_of_the_file(codec):
    data = item()
    found = codec.extract_unit(data)
    whole = AudioCodec.from_pretrained()
    wav = torch.from_numpy(data["audio"]["array"]).float()[None]
    file = whole.compress(wav, 16000, 2, plain=True)
    assert torch.equal(found.unit.T, VqkReader(io.BytesIO(file)).read())
    assert torch.equal(torch.from_numpy(codec.decode_unit(found.stuff_for_synth)), whole.decompress(file)[0])


def test_what_is_decoded_depends_on_the_units_and_the_length_alone(codec):
    found = codec.extract_unit(item())
    assert codec.decode_unit((found.unit, 20000)).shape == (1, 20000)
    other = codec.decode_unit((torch.zeros_like(found.unit), 20800))
    assert not np.allclose(other, codec.decode_unit(found.stuff_for_synth), atol=0.01)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_an_item_comes_back_at_its_rate_and_length(codec, rate):
    data = item(rate=rate, label="kept")
    kept = data["audio"]["array"].copy()
    made = codec.synth(data, local_save=False)
    assert made["label"] == "kept"
    assert made["audio"]["sampling_rate"] == rate
    assert made["audio"]["array"].shape == (1, len(kept))
    assert made["unit"].shape == (4, 65)
    assert np.array_equal(data["audio"]["array"], kept)  # an item may be used for several codecs
    assert "unit" not in data
    spectrum = np.abs(np.fft.rfft(made["audio"]["array"][0]))
    assert np.argmax(spectrum) * rate / len(kept) == pytest.approx(300, abs=2)


def test_several_are_each_alone(codec):
    items = [item(), item(0.4, hertz=500)]
    found = codec.batch_extract_unit(items)
    assert found.batch_size == 2
    assert all(map(torch.equal, found.units, [codec.extract_unit(one).unit for one in items]))
    decoded = codec.batch_decode_unit(found)
    assert [one.shape for one in decoded] == [(1, 20800), (1, 6400)]
    assert [one["audio"]["array"].shape for one in codec.batch_synth(items)] == [(1, 20800), (1, 6400)]


def test_it_says_what_it_is(codec, tmp_path):
    assert (codec.sampling_rate, codec.kbps, codec.setting) == (16000, 2.0, "vqkit_shipped_2kbps")
    assert codec.supports_decode
    assert not codec.is_1d()
    assert SuperbCodec(kbps=0.5).is_1d()
    assert SuperbCodec().extract_unit(item(0.2)).unit.shape[0] == 12
    SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval().save_pretrained(tmp_path / "mine")
    assert SuperbCodec(tmp_path / "mine").setting == "vqkit_mine_1.2kbps"


def test_bad_input_is_named(codec, tmp_path):
    with pytest.raises(ValueError, match=r"wav must be mono, \(1, samples\), got shape \(2, 50\)"):
        codec.extract_unit({"audio": {"array": np.zeros((2, 50)), "sampling_rate": 16000}})
    with pytest.raises(ValueError, match="local_save is not supported"):
        codec.synth(item(), local_save=True)
    stereo = SpectralCodec(RVQ(16, 64, 4), channels=2, encoder_width=16, decoder_width=16).eval()
    stereo.save_pretrained(tmp_path / "stereo")
    with pytest.raises(ValueError, match="items are mono, this codec has 2 channels"):
        SuperbCodec(tmp_path / "stereo")
