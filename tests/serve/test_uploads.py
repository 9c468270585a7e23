"""What the page takes: size, duration and contents of uploads."""

import re
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vqkit.data import AudioBlocks, read_image
from vqkit.models import ImageTokenizer
from vqkit.models.audio.resampling import resample
from vqkit.serve import uploads
from vqkit.serve.uploads import Limits, read_picture, read_sound, read_vqk

LIMITS = Limits(max_megabytes=0.5, max_seconds=2)


def sound(path: Path, seconds: float, rate: int = 8000, channels: int = 1) -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path


@pytest.mark.parametrize(("channels", "taken"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)])
def test_sound_comes_at_the_codecs_rate_and_with_its_channels(tmp_path: Path, channels: int, taken: int) -> None:
    path = sound(tmp_path / "a.wav", 1.7, channels=channels)
    read = read_sound(path, LIMITS, 16000, taken)
    whole = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T)
    mixed = whole if channels in (1, taken) else whole.mean(dim=0, keepdim=True)
    assert read.signal.ndim == 2
    assert torch.equal(read.signal, resample(mixed[None], 8000, 16000)[0].expand(taken, -1))
    assert read.warnings == ()


def test_what_the_reader_warns_of_is_kept_without_the_files_name(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", 1.0)
    path.write_bytes(path.read_bytes()[:-8000])
    found = read_sound(path, LIMITS, 8000, 1).warnings
    assert len(found) == 1
    assert found[0].startswith("cut short, the file ends within the sound: the header promises 1.000 s")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_too_long_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="the sound lasts (2.1 s; at most 2 s|more than the 2 s)"):
        read_sound(sound(tmp_path / f"a.{suffix}", 2.1), LIMITS, 8000, 1)


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
            read_sound(path, LIMITS, 8000, 1)
    for path in (big, empty):
        with pytest.raises(ValueError, match="the file"):
            read_vqk(path, LIMITS)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 9), (200_000, 1), (96_000, 5), (192_000, 3)])
def test_many_samples_a_second_are_refused_before_any_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, channels: int
) -> None:
    monkeypatch.setattr(AudioBlocks, "__iter__", lambda _: pytest.fail("it was decoded"))
    path = sound(tmp_path / "a.flac" if channels < 9 else tmp_path / "a.wav", 0.01, rate, channels)
    line = f"the file has {channels} channels at {rate} Hz; at most 8 channels, 192000 Hz, and 384000 samples a second"
    with pytest.raises(ValueError, match=f"^{line} of all channels are taken$"):
        read_sound(path, LIMITS, 8000, 1)


def test_the_most_that_is_taken_is_never_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a small file expands to: of its 24 MB no more than two blocks of a second live at a time."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros((48_000 * 16, 8), np.int16), 48_000)
    assert path.stat().st_size < 100_000
    living, most = weakref.WeakSet(), 0

    class Watched(AudioBlocks):
        def __iter__(self) -> Iterator[torch.Tensor]:
            nonlocal most
            for block in super().__iter__():
                living.add(block)
                most = max(most, sum(each.nbytes for each in living))
                yield block

    monkeypatch.setattr(uploads, "AudioBlocks", Watched)
    read = read_sound(path, Limits(max_seconds=20), 16000, 1)
    assert read.signal.shape == (1, 16000 * 16)
    assert most <= 2 * 48_000 * 8 * 4


def test_too_short_for_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((1, 1)), 192_000)
    with pytest.raises(ValueError, match="the sound is shorter than one sample at 8000 Hz"):
        read_sound(path, LIMITS, 8000, 1)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_are_positive(value: float) -> None:
    with pytest.raises(ValueError, match="max_megabytes must be a number above 0"):
        Limits(max_megabytes=value)
    with pytest.raises(ValueError, match="max_seconds must be a number above 0"):
        Limits(max_seconds=value)
    with pytest.raises(ValueError, match="job_seconds must be a number above 0"):
        Limits(job_seconds=value)
    with pytest.raises(ValueError, match="disk_megabytes must be a number above 0"):
        Limits(disk_megabytes=value)


def test_the_disk_holds_at_least_one_file() -> None:
    with pytest.raises(ValueError, match="disk_megabytes is 10, it must be at least max_megabytes, 25"):
        Limits(disk_megabytes=10)


def test_images_come_upright_with_the_tokenizers_channels(image_model: Path, photograph: Path, tmp_path: Path) -> None:
    tokenizer = ImageTokenizer.from_pretrained(image_model)
    assert torch.equal(read_picture(photograph, LIMITS, tokenizer).signal, read_image(photograph))
    Image.open(photograph).convert("L").save(tmp_path / "gray.png")
    assert read_picture(tmp_path / "gray.png", LIMITS, tokenizer).signal.shape == (3, 30, 45)


def test_images_that_are_too_large_are_refused_before_they_are_decoded(
    image_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = ImageTokenizer.from_pretrained(image_model)
    Image.new("RGB", (4000, 4000)).save(tmp_path / "bomb.png")  # 50 kB, and 48 MB of pixels
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it is decoded"))
    with pytest.raises(ValueError, match="megapixels") as error:
        read_picture(tmp_path / "bomb.png", LIMITS, tokenizer)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_image_is_refused_without_naming_the_file(image_model: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "<b>.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="file|image") as error:
        read_picture(path, LIMITS, ImageTokenizer.from_pretrained(image_model))
    assert "<b>" not in str(error.value)
    assert "\n" not in str(error.value)
