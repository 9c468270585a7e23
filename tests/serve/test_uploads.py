"""What the page takes: size, duration and contents of uploads."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqkit.serve.uploads import Limits, read_sound, read_vqk

LIMITS = Limits(max_megabytes=0.5, max_seconds=2)


def sound(path: Path, seconds: float, rate: int = 8000, channels: int = 1) -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path


def test_sound_comes_at_its_own_rate(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", 2.0, channels=2)
    wave = read_sound(path, LIMITS)
    assert wave.sample_rate == 8000
    assert torch.equal(wave.samples, torch.from_numpy(soundfile.read(path, dtype="float32")[0].T))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_too_long_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="the sound lasts (2.1 s; at most 2 s|more than the 2 s)"):
        read_sound(sound(tmp_path / f"a.{suffix}", 2.1), LIMITS)


def test_too_big_empty_gone_and_no_sound_are_refused_without_naming_the_file(tmp_path: Path) -> None:
    big, empty, text = (tmp_path / name for name in ("big.wav", "empty.wav", "text.wav"))
    big.write_bytes(bytes(1 << 20))
    empty.touch()
    text.write_text("no sound at all")
    for path, message in (
        (big, "the file has 1.0 MB; at most 0.5 MB are taken here"),
        (empty, "the file is empty (0 bytes)"),
        (text, "the file is not audio that soundfile or PyAV can read"),
        (tmp_path / "gone.wav", "the uploaded file is gone: drop it again"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            read_sound(path, LIMITS)
    for path in (big, empty):
        with pytest.raises(ValueError, match="the file"):
            read_vqk(path, LIMITS)


def test_many_channels_and_high_rates_are_refused(tmp_path: Path) -> None:
    for rate, channels in ((8000, 9), (200_000, 1)):
        with pytest.raises(ValueError, match=f"the file has {channels} channels at {rate} Hz; at most 8 at 192000"):
            read_sound(sound(tmp_path / "a.wav", 0.01, rate, channels), LIMITS)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_are_positive(value: float) -> None:
    with pytest.raises(ValueError, match="max_megabytes must be a number above 0"):
        Limits(max_megabytes=value)
    with pytest.raises(ValueError, match="max_seconds must be a number above 0"):
        Limits(max_seconds=value)
