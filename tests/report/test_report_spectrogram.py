from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from vqkit.report.spectrogram import draw_spectrogram, mel_power_db, read_audio, spectrogram_png

RATE = 16000


def _sine(hz, seconds=1.0, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hz / RATE * np.arange(int(seconds * RATE)))[:, None]


@pytest.mark.parametrize("hz", [250.0, 1000.0, 5000.0])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(hz):
    bands = mel_power_db(_sine(hz), RATE)
    mels = 2595 * np.log10(1 + np.array([hz, RATE / 2]) / 700)
    assert bands.shape[0] == 80
    assert abs(bands.mean(axis=1).argmax() - (mels[0] / mels[1] * 81 - 1)) <= 1


def test_levels():
    loud, soft = mel_power_db(_sine(1000, amplitude=0.5), RATE), mel_power_db(_sine(1000, amplitude=0.05), RATE)
    assert loud.max() - soft.max() == pytest.approx(20, abs=1e-3)
    assert mel_power_db(np.zeros((RATE, 1)), RATE).max() == -100
    stereo = np.concatenate([_sine(1000), np.zeros((RATE, 1))], axis=1)
    assert mel_power_db(_sine(1000), RATE).max() - mel_power_db(stereo, RATE).max() == pytest.approx(
        10 * np.log10(2), abs=1e-3
    )


@pytest.mark.parametrize("samples", [0, 10, RATE, 60 * RATE])
def test_any_length(samples):
    assert 1 <= mel_power_db(np.zeros((samples, 1), dtype=np.float32), RATE).shape[1] <= 501


def test_png_has_one_size_and_follows_the_range(tmp_path):
    for name, amplitude in (("loud", 0.5), ("soft", 0.05)):
        soundfile.write(tmp_path / f"{name}.wav", _sine(1000, amplitude=amplitude), RATE)
    pictures = [spectrogram_png(tmp_path / f"{name}.wav", peak_db=-6.0) for name in ("loud", "soft")]
    images = [Image.open(BytesIO(picture)).convert("RGB") for picture in pictures]
    assert [image.size for image in images] == [(440, 187)] * 2
    bright = [
        np.sort(np.asarray(image).astype(int).sum(axis=2)[10:150, 60:420].ravel())[-2000:].mean() for image in images
    ]
    assert bright[0] > bright[1]  # the same sound, softer, is darker when both share the range


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.flac does not exist"):
        read_audio(tmp_path / "gone.flac")
    (tmp_path / "text.flac").write_text("no audio")
    with pytest.raises(ValueError, match=r"text\.flac is not readable as audio"):
        read_audio(tmp_path / "text.flac")
    with pytest.raises(ValueError, match="range_db is 0, must be positive"):
        draw_spectrogram(np.zeros((1600, 1), np.float32), 16000, range_db=0)
