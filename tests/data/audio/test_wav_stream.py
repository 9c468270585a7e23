import io
import wave

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import AudioBlocks, WavStream, write_audio


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_programs_read_it(tmp_path, known, channels):
    samples = torch.randn(channels, 5000, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    stream = WavStream(file, 22050, channels, num_samples=5000 if known else None)
    for block in samples.split(999, dim=-1):
        stream.write(block)
    write_audio(tmp_path / "b.wav", samples, 22050)
    expected = soundfile.read(tmp_path / "b.wav", dtype="int16", always_2d=True)[0]
    found, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="int16", always_2d=True)
    assert rate == 22050
    assert np.array_equal(found, expected)
    with AudioBlocks(io.BytesIO(file.getvalue())) as source:  # FFmpeg
        assert np.array_equal((torch.cat(list(source), dim=-1).T * 32768).short().numpy(), expected)
    if known:
        with wave.open(io.BytesIO(file.getvalue())) as plain:
            assert plain.getparams()[:4] == (channels, 2, 22050, 5000)
            assert plain.readframes(9999) == expected.tobytes()


def test_what_is_no_waveform_is_refused():
    stream = WavStream(io.BytesIO(), 8000, 1)
    with pytest.raises(ValueError, match="cannot write the stream: samples hold NaN"):
        stream.write(torch.tensor([[float("nan")]]))
